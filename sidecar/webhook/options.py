"""What a receiver is told: small frozen objects, made from the settings by `app`."""

from dataclasses import dataclass
from typing import Final

from yarl import URL

DYNAMODB: Final = "dynamodb:"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint's deliveries go: a URL, reached by TCP or through a socket."""

    url: URL
    socket: str = ""
    """Path of the app's Unix socket; empty for TCP."""

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read `http://127.0.0.1:3000/hooks` or `unix:/run/app.sock:/hooks`."""
        if text.startswith("unix:"):
            socket, _, path = text.removeprefix("unix:").partition(":")
            # encoded=True: the path leaves as it was written, not as yarl likes it.
            return cls(URL(f"http://localhost{path or '/'}", encoded=True), socket)
        return cls(URL(text, encoded=True))


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """One endpoint: `POST /webhooks/<name>`."""

    name: str
    forward_to: str
    """As in the settings: http to this machine, or `unix:/socket:/path`."""
    tolerance_seconds: float = 300
    dedupe_seconds: float = 345_600
    """Standard Webhooks senders retry for about 75 hours."""
    dedupe: str = "memory"
    """`memory`, or `dynamodb:TABLE`."""
    max_body_bytes: int = 1_048_576
    response_seconds: float = 15
    """For the app to answer; senders give us 15 to 30."""
    refresh_seconds: float = 300
    """Between two looks for new secrets."""
    json_key: str | None = None
    """The secret is a JSON object and the key is this member of it."""

    @property
    def table(self) -> str:
        """The DynamoDB table; empty for `memory`."""
        return self.dedupe.removeprefix(DYNAMODB) if self.dedupe != "memory" else ""

    @property
    def window_seconds(self) -> float:
        """
        How long an id is remembered.

        A stamp from the far side of the tolerance stays fresh for twice as long: an id
        that is forgotten before that could be replayed.
        """
        return max(self.dedupe_seconds, 2 * self.tolerance_seconds)


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """All endpoints, and the bounds of the public port."""

    endpoints: tuple[EndpointOptions, ...]
    job: str
    """Whose receiver it is; the ids of jobs that share a table are kept apart by it."""
    region: str | None = None
    """For DynamoDB."""
    endpoint_url: str | None = None
    """For emulators of DynamoDB."""
    max_connections: int = 512
    """From senders; further ones are answered 503 and closed."""
    max_buffered_bytes: int = 67_108_864
    """All bodies held at once: connections times the largest body would be gigabytes."""
    max_ids: int = 250_000
    """Remembered in memory, of all endpoints together (45 MB)."""
    body_seconds: float = 10
    """For a sender to finish its body."""
    keepalive_seconds: float = 15
    """For a whole head to come: first or next."""
    log_delivered: bool = False
    """Whether what went well has a line too; what did not always has."""
