"""A 401 that overtakes a small body is recovered like any other."""

import http.client
import socket

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import Issued
from tests.support.processes import SECRET_ID, SidecarProcess, wait_until


def test_a_401_before_the_body_is_whole_is_replayed(
    api: EmulatedApi, moto: AwsClient, issued: Issued, running: SidecarProcess
) -> None:
    """A small body that is still on its way when the API refuses belongs to the call."""
    new = api.issue()
    moto.rotate(SECRET_ID, new.key)
    api.revoke(issued.id)
    host, _, port = running.address().rpartition(":")
    body = b'{"tags":["lead"]}'
    head = (
        f"PATCH /contacts/c_00001 HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as service:
        service.sendall(head.encode())
        wait_until(lambda: api.state.counts[issued.id, 401], "a 401")
        service.sendall(body)
        answer = http.client.HTTPResponse(service)
        answer.begin()
        answer.read()

    assert answer.status == 200
    assert running.metrics().value("sidecar_recovered_401_total") == 1
