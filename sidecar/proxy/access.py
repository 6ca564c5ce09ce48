"""
What the hot path writes to the log: one line per call that somebody will ask about.

No line has a header, a query or a body: only names that the settings know, numbers, and
sentences of ours.
"""

import traceback
from pathlib import PurePath
from typing import Any, Literal

from sidecar.core.access.explain import explain_401, explain_403
from sidecar.core.access.operations import Operation
from sidecar.errors import STATUS, Code, Refused

UNAUTHORIZED = 401
FORBIDDEN = 403
SERVER_ERROR = 500


class AccessLog:
    """
    The log of one upstream.

    Args:
        log: Bound to the upstream's name.
        level: `errors` leaves out calls that ended well, `off` also those that did not;
            bugs and keys found where they must not be are always told.
    """

    def __init__(self, log: Any, level: Literal["off", "errors", "all"]) -> None:
        self._log = log
        self._errors = level != "off"

    def answer(
        self, operation: Operation, method: bytes, status: int, seconds: float
    ) -> None:
        """Tell of an answer of the API; 401 and 403 in plain words."""
        if not self._errors:
            return
        fields = {
            "method": method.decode("ascii", "replace"),
            "operation": operation.label,
            "status": status,
            "seconds": round(seconds, 6),
        }
        if status == UNAUTHORIZED:
            self._log.warning("api_unauthorized", explanation=explain_401(), **fields)
        elif status == FORBIDDEN:
            self._log.warning(
                "api_forbidden",
                explanation=explain_403(operation.label, operation.scopes),
                **fields,
            )
        elif status >= SERVER_ERROR:
            self._log.warning("api_error", **fields)
        else:
            self._log.info("call", **fields)

    def gone(self, operation: Operation, method: bytes, seconds: float) -> None:
        """Tell that the service left before its answer was whole."""
        if self._errors:
            self._log.info(
                "service_left",
                method=method.decode("ascii", "replace"),
                operation=operation.label,
                seconds=round(seconds, 6),
            )

    def drain_cut(self, calls: int) -> None:
        """Tell that the end did not wait any longer."""
        self._log.warning(
            "drain_cut",
            calls=calls,
            explanation="drain.timeout_seconds is over: calls in flight were cut",
        )

    def rejected(self, refused: Refused, operation: str, method: bytes) -> None:
        """Tell of a call that the sidecar answered itself."""
        if self._errors:
            self._log.warning(
                "call_rejected",
                code=str(refused.code),
                status=STATUS[refused.code],
                reason=refused.detail,
                method=method.decode("ascii", "replace")[:16],
                operation=operation,
            )

    def cut(self, code: Code, operation: str, method: bytes, status: int) -> None:
        """Tell of an answer that had begun and could not be ended."""
        if self._errors:
            self._log.warning(
                "answer_cut",
                code=str(code),
                method=method.decode("ascii", "replace"),
                operation=operation,
                status=status,
                explanation="the service saw an incomplete answer",
            )

    def redacted(self, hits: int, operation: str) -> None:
        """Tell that the API sent our key back."""
        self._log.warning(
            "key_reflected",
            hits=hits,
            operation=operation,
            explanation="the API's answer held the API key; it was overwritten",
        )

    def tripwire(self, operation: str, method: bytes) -> None:
        """Tell that the service sent the key, which it must not have."""
        self._log.warning(
            "tripwire",
            method=method.decode("ascii", "replace"),
            operation=operation,
            explanation="the service itself sent the API key: find out where it has it "
            "from, and rotate the key",
        )

    def bug(self, error: Exception) -> None:
        """Tell where a bug of ours is; no message and no value, which could be a key."""
        frames = traceback.extract_tb(error.__traceback__)
        self._log.error(
            "internal_error",
            type=type(error).__name__,
            where=[f"{PurePath(f.filename).name}:{f.lineno}" for f in frames][-5:],
        )
