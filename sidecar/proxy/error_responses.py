"""The sidecar's own answers: built from a `Refused`, never from bytes of a peer."""

import json
from functools import cache
from http import HTTPStatus
from typing import Final

from sidecar.errors import RETRY_AFTER_SECONDS, STATUS, Code, Refused

ALLOW: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@cache
def _head(code: Code) -> bytes:
    """Return the part of the head that is the same for each answer with this code."""
    status = STATUS[code]
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        "Cache-Control: no-store",
        f"X-Sidecar-Error: {code}",
    ]
    if code in RETRY_AFTER_SECONDS:
        lines.append(f"Retry-After: {RETRY_AFTER_SECONDS[code]}")
    head = "\r\n".join(lines).encode() + b"\r\n"
    # RFC 9110, 15.5.6: a 405 must list the methods that are allowed.
    return head + ALLOW if code is Code.METHOD_REFUSED else head


def refusal(refused: Refused, *, close: bool, head_only: bool = False) -> bytes:
    """
    Return the complete answer to a refused call.

    Args:
        refused: The code and the message.
        close: Whether the connection ends with this answer.
        head_only: Whether the request was a HEAD: the answer has no body.
    """
    error = {"code": str(refused.code), "message": refused.detail}
    body = json.dumps({"error": error}).encode() + b"\n"
    return b"".join(
        (
            _head(refused.code),
            b"Content-Length: %d\r\n" % len(body),
            b"Connection: close\r\n\r\n" if close else b"\r\n",
            b"" if head_only else body,
        )
    )


def body_too_large(limit: int) -> Refused:
    """Return the refusal of a body over `limits.max_body_bytes`."""
    return Refused(
        Code.BODY_TOO_LARGE, f"The body is larger than limits.max_body_bytes ({limit})"
    )
