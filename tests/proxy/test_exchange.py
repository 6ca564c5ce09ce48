"""What an exchange shows of itself."""

import pytest

from sidecar.core.http.response_head import ResponseHead
from sidecar.proxy.exchange import HeldResponse
from tests.support.memory_transports import ANSWER, REQUESTS, make


@pytest.mark.parametrize(("name", "method"), [("client", "GET"), ("post", "POST")])
def test_the_repr_shows_phase_method_and_status(name: str, method: str) -> None:
    """It never contains the target, a field or the key."""
    client, connection = make()
    request = REQUESTS[name]
    client.data_received(request)
    exchange = client._exchange
    sent = repr(exchange)
    connection.data_received(ANSWER)

    assert sent == f"<Exchange sent {method} ->"
    assert repr(exchange) == f"<Exchange ended {method} 200>"


def test_a_response_that_is_not_complete_is_relayed() -> None:
    """The phase and the status are those of the relayed head."""
    client, connection = make()
    client.data_received(REQUESTS["bare"])
    connection.data_received(ANSWER[:-1])

    assert repr(client._exchange) == "<Exchange relayed GET 200>"


def test_a_held_401_shows_nothing_of_the_response() -> None:
    """It is not masked yet, and a crash report may print local variables."""
    key = b"fln_live_0123456789abcdef"
    head = ResponseHead(401, b"HTTP/1.1 401 %b\r\n" % key, key, 25, True, b"", key)

    held = HeldResponse(head, key, whole=True)

    assert repr(held) == "HeldResponse(whole=True, awaits_body=False)"
