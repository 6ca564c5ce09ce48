"""The emulated API ends at once, whoever is still connected."""

import gc
import socket
import ssl
from pathlib import Path

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.ca import Certificate


def test_a_client_that_stays_holds_nothing_up(
    tmp_path: Path, certificate: Certificate
) -> None:
    """One that never says good-bye in TLS leaves no open connection behind."""
    with EmulatedApi(tmp_path, certificate=certificate) as api:
        address = ("127.0.0.1", api.port)
        context = certificate.client_context()
        clients: list[ssl.SSLSocket] = []
        for _ in range(8):
            raw = socket.create_connection(address, timeout=10)
            client = context.wrap_socket(raw, server_hostname="localhost")
            client.sendall(b"GET /v1/contacts HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
            clients.append(client)

    gc.collect()  # what was left open would be a warning, and so a failure
    for client in clients:
        client.close()
