"""
The demo's webhooks: it sends valid, replayed, altered, old and forged deliveries.

`WebhookApp` is the service's own handler. It verifies nothing and remembers nothing, so
it receives exactly what the sidecar forwards.
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from sidecar.core.webhooks.signing_keys import parse_signing_key
from sidecar.core.webhooks.verification import sign
from sidecar.emulator.http_calls import HttpResponse, call

HOST: Final = "127.0.0.1"
ENDPOINT: Final = "inbox"
SECRET_ID: Final = "dev/flownally/webhook"  # noqa: S105  (the name of a secret)
STALE_SECONDS: Final = 600

_BODY: Final = json.dumps({"type": "contact.created", "data": {"id": "c_1"}}).encode()
_ALTERED: Final = _BODY.replace(b"c_1", b"c_2")


def make_secret() -> str:
    """Return a new signing secret."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class WebhookApp:
    """The service's webhook handler in a thread; a context manager."""

    def __init__(self) -> None:
        received: list[str] = []
        self.received = received
        """The ids of the deliveries, in the order of arrival."""

        class WebhookAppHandler(BaseHTTPRequestHandler):
            """One delivery."""

            def do_POST(self) -> None:
                """Accept every delivery."""
                self.rfile.read(int(self.headers["Content-Length"]))
                received.append(self.headers["Sidecar-Webhook-Id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Write no log."""

        self._server = ThreadingHTTPServer((HOST, 0), WebhookAppHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The value for `forward_to`."""
        return f"http://{HOST}:{self._server.server_address[1]}/hooks/flownally"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one delivery."""

    kind: str
    status: int
    code: str
    """The `X-Sidecar-Error` that the sender got; empty if there was none."""
    delivered: bool
    """Whether this attempt reached the app."""
    expected: tuple[int, bool]

    @property
    def as_expected(self) -> bool:
        """Whether status and delivery are those expected."""
        return (self.status, self.delivered) == self.expected


def send_deliveries(
    address: str,
    secret: str,
    app: WebhookApp,
    now: Callable[[], float] = time.time,
) -> tuple[DeliveryResult, ...]:
    """
    Send a delivery of each kind to a receiver.

    Args:
        address: `host:port` of the webhook listener.
        secret: the secret that the receiver verifies with.
        app: the app that the receiver forwards to.
        now: Unix seconds.
    """
    first, second, third = (f"msg_{secrets.token_hex(8)}" for _ in range(3))

    def send(
        kind: str,
        expected: tuple[int, bool],
        id_: str,
        *,
        age: float = 0,
        body: bytes = _BODY,
        key: str = secret,
    ) -> DeliveryResult:
        at = int(now() - age)
        fields = {
            "webhook-id": id_,
            "webhook-timestamp": str(at),
            # The signature is over the original body, also when another body is sent.
            "webhook-signature": sign(parse_signing_key(key), id_, at, _BODY),
            "Content-Type": "application/json",
        }
        before = len(app.received)
        answer = call(
            address, f"/webhooks/{ENDPOINT}", method="POST", body=body, headers=fields
        )
        delivered = len(app.received) > before
        return DeliveryResult(kind, answer.status, _code(answer), delivered, expected)

    return (
        send("valid", (204, True), first),
        send("the same delivery again", (200, False), first),
        send("altered body", (401, False), second, body=_ALTERED),
        send("signed ten minutes ago", (400, False), second, age=STALE_SECONDS),
        send("signed ten minutes ahead", (400, False), second, age=-STALE_SECONDS),
        send("signed with another secret", (401, False), second, key=make_secret()),
        send("valid, same id as the refused", (204, True), second),
        send("valid", (204, True), third),
    )


def format_results(results: Sequence[DeliveryResult]) -> str:
    """Return one line for each delivery, in columns."""
    width = max(len(one.kind) for one in results)
    return "\n".join(
        f"  {one.kind:{width}}  {one.status}  "
        f"{one.code or ('delivered' if one.delivered else 'duplicate'):14} "
        f"{'-> service' if one.delivered else ''}".rstrip()
        for one in results
    )


def _code(answer: HttpResponse) -> str:
    return answer.headers.get("x-sidecar-error", "")
