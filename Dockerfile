# The sidecar's image. Build:  docker build -t registry.example.com/sidecar:0.1.0 .
# No shell, no package manager and no compiler of the base is used at run time.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# The lock has the hash of every file: what was reviewed is what is installed.
COPY requirements/run.txt /build/run.txt
RUN python -m venv --without-pip /opt/sidecar \
    && python -m pip --python /opt/sidecar/bin/python install \
        --require-hashes --no-deps --only-binary :all: --no-compile -r /build/run.txt
COPY config/image/slim.py /build/slim.py
RUN /opt/sidecar/bin/python -I /build/slim.py
COPY config/image/sidecar /opt/sidecar/bin/sidecar
COPY sidecar /build/sidecar
RUN site="$(/opt/sidecar/bin/python -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -rf /build/sidecar/demo /build/sidecar/emulator \
    && cp -r /build/sidecar "$site/" \
    && /opt/sidecar/bin/python -I -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site"

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="sidecar" \
      org.opencontainers.image.description="Keeps API keys out of application code" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/sidecar /opt/sidecar
# What may not be read may not be dumped or traced from its first instruction on
# (execve(2), PR_SET_DUMPABLE(2const)): its memory is closed before it protects itself.
RUN chmod 0711 "$(readlink -f /opt/sidecar/bin/python)"
# PYTHONDONTWRITEBYTECODE: the root is read-only and everything is compiled.
# MALLOC_ARENA_MAX: the one thread of boto3 would fragment an arena of its own.
# MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ (mallopt(3)): freed memory is used for the
# next piece of a large answer. A third less CPU; at most 4 MiB more memory.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=4194304 \
    MALLOC_MMAP_THRESHOLD_=1048576 \
    PATH=/opt/sidecar/bin:/usr/local/bin:/usr/bin:/bin \
    SIDECAR_CONFIG=/etc/sidecar/sidecar.toml
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
# 8701 health and metrics, 8702 webhooks; the proxy listens on loopback only.
EXPOSE 8701 8702
ENTRYPOINT ["/opt/sidecar/bin/sidecar"]
CMD ["run"]
