"""Envoy: credential_injector with the key in an SDS file, which it watches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import tools
from benchmarks.lab import BASE
from benchmarks.peers.base import SPARE, UPSTREAM_CONNECTIONS, Setup
from benchmarks.process import HOST, Running

TYPES: Final = "type.googleapis.com/envoy.extensions"


@dataclass(frozen=True)
class Envoy:
    """One worker thread."""

    name: str = "envoy"
    told: str = "Envoy credential_injector"
    needs: tuple[str, ...] = ()

    def command(self, setup: Setup) -> list[str]:
        """Write `envoy.yaml` and the file with the key."""
        write_key(setup)
        config = setup.directory / "envoy.yaml"
        config.write_text(envoy_config(setup))
        options = ["--concurrency", "1", "-l", "error", "--disable-hot-restart"]
        return [tools.envoy(), "-c", str(config), *options]

    def rekey(self, setup: Setup, running: Running) -> None:
        """Rename a new file into place, which Envoy sees by itself."""
        running.must_run()
        write_key(setup)


def key_file(setup: Setup) -> Path:
    """Name the file with the key, alone in its directory."""
    return setup.directory / "sds/token.yaml"


def write_key(setup: Setup) -> None:
    """Write the key and rename it into place."""
    file = key_file(setup)
    file.parent.mkdir(exist_ok=True)
    part = setup.directory / "token.part"
    part.write_text(
        f"""resources:
- "@type": {TYPES}.transport_sockets.tls.v3.Secret
  name: token
  generic_secret: {{ secret: {{ inline_string: "{setup.key}" }} }}
"""
    )
    part.replace(file)


def envoy_config(setup: Setup) -> str:
    """Write the configuration."""
    file, target = key_file(setup), setup.target
    most = int(setup.connections * SPARE)
    upstream = UPSTREAM_CONNECTIONS if setup.crowded else most
    return f"""node: {{ id: bench, cluster: bench }}
static_resources:
  listeners:
  - name: service
    address: {{ socket_address: {{ address: {HOST}, port_value: {setup.port} }} }}
    tcp_backlog_size: 8192
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: service
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: api, prefix_rewrite: "{BASE}/" }}
          http_filters:
          - name: envoy.filters.http.credential_injector
            typed_config:
              "@type": {TYPES}.filters.http.credential_injector.v3.CredentialInjector
              overwrite: true
              credential:
                name: generic
                typed_config:
                  "@type": {TYPES}.http.injected_credentials.generic.v3.Generic
                  header: Authorization
                  header_value_prefix: "Bearer "
                  credential:
                    name: token
                    sds_config:
                      path_config_source:
                        path: {file}
                        watched_directory: {{ path: {file.parent} }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": {TYPES}.filters.http.router.v3.Router
  clusters:
  - name: api
    type: STATIC
    circuit_breakers:
      thresholds:
      - max_connections: {upstream}
        max_pending_requests: {most}
        max_requests: {most}
    load_assignment:
      cluster_name: api
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: {HOST}, port_value: {target.port} }} }}
{transport(setup) if target.tls else ""}"""


def transport(setup: Setup) -> str:
    """Write the part about TLS to the API."""
    return f"""    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": {TYPES}.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {{ tls_maximum_protocol_version: TLSv1_3 }}
          validation_context:
            trusted_ca: {{ filename: {setup.target.ca_file} }}
            match_typed_subject_alt_names:
            - {{ san_type: DNS, matcher: {{ exact: localhost }} }}
"""
