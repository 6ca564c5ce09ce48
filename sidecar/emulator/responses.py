"""Responses that several handlers of the emulated API share."""

import json
from typing import Final

from aiohttp import web

from sidecar.emulator.key_ring import SENTENCES, KeyFault
from sidecar.emulator.state import ApiState

ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
STATE: Final = web.AppKey("STATE", ApiState)


class Rejected(Exception):
    """The API refuses a call: status, code and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> web.Response:
        """Make the answer that says so."""
        error = {"code": self.code, "message": self.message}
        return json_answer({"error": error}, status=self.status)


class NotFound(Rejected):
    """404: absent and invisible are not distinguished."""

    def __init__(self) -> None:
        super().__init__(404, "not_found", "absent, or not visible to this key")


def json_answer(value: object, *, status: int = 200) -> web.Response:
    """Answer in compact JSON."""
    body = ENCODER.encode(value).encode()
    return web.Response(status=status, body=body, content_type="application/json")


def unauthorized(fault: KeyFault) -> web.Response:
    """Answer 401 with the challenge of RFC 6750, section 3."""
    message = SENTENCES[fault]
    challenge = 'Bearer realm="flownally"'
    # RFC 6750, 3.1: without any credential no error code is given.
    if fault is not KeyFault.MISSING:
        kind = "invalid_request" if fault is KeyFault.MALFORMED else "invalid_token"
        challenge += f', error="{kind}", error_description="{message}"'
    answer = Rejected(401, fault, message).answer()
    answer.headers["WWW-Authenticate"] = challenge
    return answer


def forbidden(scope: str) -> web.Response:
    """Answer 403: known, but not allowed."""
    return json_answer(
        {
            "error": {
                "code": "missing_scope",
                "message": f"the service account lacks the scope {scope}",
                "required_scopes": [scope],
            }
        },
        status=403,
    )
