"""
The API that proxies are measured against: nginx with TLS, which knows one key.

It answers 401 without the key, so that a proxy that injects nothing measures as
broken and not as fast. `/plain` ports serve the same without TLS.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process import HOST, Cpu, Running, free_port, running, wait_answer
from sidecar.emulator.ca import Certificate, make_certificate

KEY: Final = "fln_live_benchsecretvalue0123456789abcdef"
BASE: Final = "/v1"
CONNECTIONS: Final = 2048
"""From clients, and as many to the API: the room there is unless more is asked for."""
SIZES: Final = {
    "1KB": 1000,
    "10KB": 10_000,
    "100KB": 100_000,
    "1MB": 1 << 20,
    "10MB": 10 << 20,
}


@dataclass(frozen=True)
class Target:
    """An API as a proxy is told of it."""

    port: int
    ca_file: Path | None
    """None: without TLS."""

    @property
    def tls(self) -> bool:
        """Whether the API speaks TLS."""
        return self.ca_file is not None

    @property
    def base_url(self) -> str:
        """What a call's path is appended to."""
        # By name: a certificate for an address is checked in another way.
        return (
            f"https://localhost:{self.port}{BASE}"
            if self.tls
            else f"http://{HOST}:{self.port}{BASE}"
        )


@dataclass(frozen=True)
class Lab:
    """A directory for one run, and the API in it."""

    directory: Path
    tls: Target
    plain: Target


@contextlib.contextmanager
def open_lab(connections: int = CONNECTIONS) -> Iterator[Lab]:
    """Start the API in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as name:
        directory = Path(name)
        # nginx's workers are another user, and must find the files.
        directory.chmod(0o755)
        certificate = make_certificate(directory / "ca")
        lab = Lab(
            directory,
            Target(free_port(), certificate.ca_file),
            Target(free_port(), None),
        )
        fill(directory / "root" / BASE.strip("/"))
        config = directory / "api/nginx.conf"
        config.parent.mkdir()
        config.write_text(api_config(lab, certificate, connections))
        command = ["nginx", "-e", str(config.with_name("early.log")), "-c", str(config)]
        with running(command, directory / "api.log", cpu=Cpu.LOAD) as api:
            wait_open(lab.plain.port, api)
            yield lab


def wait_open(port: int, api: Running) -> None:
    """Wait until the API answers, with a page that needs no key."""
    wait_answer(port, "/alive", api)


def fill(root: Path) -> None:
    """Write what the API serves: contacts of 1 KB, and bodies of all sizes."""
    root.mkdir(parents=True)
    contact = '{"id":"c_%05d","name":"Contact %d","channel":"whatsapp","tags":["vip"]}'
    contacts = ",".join(contact % (n, n) for n in range(13))
    (root / "contacts").write_text('{"data":[' + contacts + "]}")
    # Random, in letters: neither compressible by chance nor binary.
    text = os.urandom(1 << 19).hex().encode()
    for name, size in SIZES.items():
        (root / name).write_bytes((text * (size // len(text) + 1))[:size])


def temporary(directory: Path) -> str:
    """Keep nginx's temporary files in a directory that we may write to."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


def main_config(directory: Path, connections: int) -> str:
    """Write what every nginx here begins with."""
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user} worker_processes 1; daemon off;
pid {directory}/pid; error_log {directory}/error.log;
worker_rlimit_nofile {2 * connections};
events {{ worker_connections {connections}; }}
"""


def api_config(lab: Lab, certificate: Certificate, connections: int) -> str:
    """Write the configuration of the API."""
    directory = lab.directory / "api"
    return f"""{main_config(directory, 2 * connections)}
http {{
  access_log off; default_type application/json; client_max_body_size 0;
  keepalive_requests 100000000; keepalive_timeout 600s; {temporary(directory)}
  map_hash_bucket_size 256; open_file_cache max=16; open_file_cache_valid 600s;
  map $http_authorization $ok {{ default 0; "Bearer {KEY}" 1; }}
  server {{
    listen {HOST}:{lab.plain.port} reuseport backlog=8192;
    listen {HOST}:{lab.tls.port} ssl reuseport backlog=8192;
    ssl_certificate {certificate.certificate_file};
    ssl_certificate_key {certificate.key_file};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:4m;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    location = /alive {{ return 200; }}
    location {BASE}/ {{
      if ($ok = 0) {{ return 401; }}
      if ($request_method = POST) {{ return 200 '{{"ok":true}}'; }}
      root {lab.directory}/root;
    }}
  }}
}}
"""
