"""
The demo's webhooks: good, replayed, tampered, stale, forged; and what became of each.

`WebhookApp` is the service's own handler, as naive as can be: it verifies nothing and
remembers nothing. What it has received is what the sidecar let through.
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
SECRET_ID: Final = "dev/flownally/webhook"  # noqa: S105  (its name, not its value)
STALE_SECONDS: Final = 600

_GOOD: Final = json.dumps({"type": "contact.created", "data": {"id": "c_1"}}).encode()
_BETTER: Final = _GOOD.replace(b"c_1", b"c_2")


def make_secret() -> str:
    """Make a signing secret, as the API's owner would show it once."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class WebhookApp:
    """The service's webhook handler in a thread; a context manager."""

    def __init__(self) -> None:
        received: list[str] = []
        self.received = received
        """The id of each delivery that came, in order."""

        class DemoApp(BaseHTTPRequestHandler):
            """One delivery."""

            def do_POST(self) -> None:
                """Take whatever comes."""
                self.rfile.read(int(self.headers["Content-Length"]))
                received.append(self.headers["Sidecar-Webhook-Id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), DemoApp)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """What `forward_to` is to be."""
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
    """What became of one delivery."""

    what: str
    status: int
    code: str
    """Of the refusal, as the sender sees it; empty when there was none."""
    delivered: bool
    """Whether the app has it from this attempt."""
    expected: tuple[int, bool]

    @property
    def right(self) -> bool:
        """Whether it is what should have become of it."""
        return (self.status, self.delivered) == self.expected


def show(
    address: str,
    secret: str,
    app: WebhookApp,
    now: Callable[[], float] = time.time,
) -> tuple[DeliveryResult, ...]:
    """
    Send one delivery of each kind to a receiver.

    Args:
        address: `host:port` of the webhook listener.
        secret: what the receiver verifies with.
        app: where the receiver delivers to.
        now: Unix seconds.
    """
    first, second, third = (f"msg_{secrets.token_hex(8)}" for _ in range(3))

    def send(
        what: str,
        expected: tuple[int, bool],
        id_: str,
        *,
        age: float = 0,
        body: bytes = _GOOD,
        key: str = secret,
    ) -> DeliveryResult:
        at = int(now() - age)
        fields = {
            "webhook-id": id_,
            "webhook-timestamp": str(at),
            # Of the good body, whatever is sent.
            "webhook-signature": sign(parse_signing_key(key), id_, at, _GOOD),
            "Content-Type": "application/json",
        }
        before = len(app.received)
        answer = call(
            address, f"/webhooks/{ENDPOINT}", method="POST", body=body, headers=fields
        )
        delivered = len(app.received) > before
        return DeliveryResult(what, answer.status, _code(answer), delivered, expected)

    return (
        send("good", (204, True), first),
        send("replayed: the same again", (200, False), first),
        send("tampered: another body", (401, False), second, body=_BETTER),
        send("stale: ten minutes old", (400, False), second, age=STALE_SECONDS),
        send("from the future", (400, False), second, age=-STALE_SECONDS),
        send("forged: another secret", (401, False), second, key=make_secret()),
        send("the same id, now signed", (204, True), second),
        send("good", (204, True), third),
    )


def table(fates: Sequence[DeliveryResult]) -> str:
    """Lay out what became of each, for people."""
    width = max(len(fate.what) for fate in fates)
    return "\n".join(
        f"  {fate.what:{width}}  {fate.status}  "
        f"{fate.code or ('delivered' if fate.delivered else 'known already'):14} "
        f"{'-> the app' if fate.delivered else ''}".rstrip()
        for fate in fates
    )


def _code(answer: HttpResponse) -> str:
    return answer.headers.get("x-sidecar-error", "")
