"""nginx: a header set by `proxy_set_header`, reloaded by a signal."""

import signal
from dataclasses import dataclass
from typing import Final

from benchmarks.lab import BASE, main_config, temporary
from benchmarks.peers.base import Setup
from benchmarks.process import HOST, Running

VERIFY: Final = """proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on;
      proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.2 TLSv1.3;"""


@dataclass(frozen=True)
class Nginx:
    """One worker, upstream connections kept."""

    name: str = "nginx"
    told: str = "nginx"
    needs: tuple[str, ...] = ("nginx",)

    def command(self, setup: Setup) -> list[str]:
        """Write `nginx.conf`."""
        config = setup.directory / "nginx.conf"
        config.write_text(nginx_config(setup))
        return ["nginx", "-e", str(setup.directory / "early.log"), "-c", str(config)]

    def rekey(self, setup: Setup, running: Running) -> None:
        """Write the new key, then `nginx -s reload`."""
        self.command(setup)
        running.send(signal.SIGHUP)


def nginx_config(setup: Setup) -> str:
    """Write the configuration."""
    directory, target = setup.directory, setup.target
    scheme = "https" if target.tls else "http"
    verify = VERIFY.format(ca=target.ca_file) if target.tls else ""
    # nginx cannot let calls wait for a connection: it keeps one for each client.
    kept = setup.connections if setup.crowded else 256
    return f"""{main_config(directory, 2 * setup.connections)}
http {{
  access_log off; client_max_body_size 0;
  keepalive_requests 100000000; keepalive_timeout 600s; {temporary(directory)}
  upstream api {{
    server {HOST}:{target.port};
    keepalive {kept}; keepalive_requests 100000000; keepalive_timeout 600s;
  }}
  server {{
    listen {HOST}:{setup.port} reuseport backlog=8192;
    location / {{
      proxy_pass {scheme}://api{BASE}/;
      proxy_http_version 1.1; proxy_set_header Connection ""; {verify}
      proxy_set_header Authorization "Bearer {setup.key}";
    }}
  }}
}}
"""
