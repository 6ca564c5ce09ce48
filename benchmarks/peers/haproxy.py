"""HAProxy: a header set by `http-request`, reloaded by a signal."""

import signal
from dataclasses import dataclass

from benchmarks.lab import BASE
from benchmarks.peers.base import SPARE, UPSTREAM_CONNECTIONS, Setup
from benchmarks.process import HOST, Running


@dataclass(frozen=True)
class HAProxy:
    """
    One thread, upstream connections shared.

    `reloads` runs it with a master, as a service manager does, so that a signal
    reloads it. The ratios let it keep its connections to the API although clients hold
    most descriptors: by default it closes them then, and every call of 5,000 clients
    pays a handshake (2.4 ms of CPU in place of 26 us).
    """

    name: str = "haproxy"
    told: str = "HAProxy"
    needs: tuple[str, ...] = ("haproxy",)
    reloads: bool = False

    def command(self, setup: Setup) -> list[str]:
        """Write `haproxy.cfg`."""
        config = setup.directory / "haproxy.cfg"
        config.write_text(haproxy_config(setup))
        master = ["-W"] if self.reloads else []
        return ["haproxy", *master, "-f", str(config)]

    def rekey(self, setup: Setup, running: Running) -> None:
        """Write the new key, then reload."""
        self.command(setup)
        running.send(signal.SIGUSR2)


def haproxy_config(setup: Setup) -> str:
    """Write the configuration."""
    target = setup.target
    verify = f"ssl verify required ca-file {target.ca_file} verifyhost localhost"
    bound = f"maxconn {UPSTREAM_CONNECTIONS}" if setup.crowded else ""
    return f"""global
  nbthread 1
  maxconn {int(setup.connections * SPARE)}
  tune.pool-low-fd-ratio 90
  tune.pool-high-fd-ratio 95
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout queue 30s
  timeout http-keep-alive 600s
  http-reuse always
frontend service
  bind {HOST}:{setup.port} backlog 8192
  http-request set-header Authorization "Bearer {setup.key}"
  http-request set-path {BASE}%[path]
  default_backend api
backend api
  server api {HOST}:{target.port} {verify if target.tls else ""} {bound}
"""
