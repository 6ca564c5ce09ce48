"""
The log of one upstream, and the counters of what the sidecar decided itself.

A log line contains no header, query or body: only names from the settings, numbers and
fixed sentences.
"""

import traceback
from pathlib import PurePath
from typing import Any, Literal

from sidecar.core.access.explain import EXPLAIN_401, explain_403
from sidecar.core.access.operations import Operation
from sidecar.errors import STATUS, Code, Refused
from sidecar.metrics.hot import UpstreamStats

UNAUTHORIZED = 401
FORBIDDEN = 403
SERVER_ERROR = 500


class AccessLog:
    """
    Logs and counts what happens to the calls of one upstream.

    Args:
        log: Bound to the upstream's name.
        level: `errors` leaves out successful calls, `off` also failed ones. Internal
            errors and keys in the wrong place are always logged.
        stats: Counts rejections and masked keys.
    """

    def __init__(
        self, log: Any, level: Literal["off", "errors", "all"], stats: UpstreamStats
    ) -> None:
        self._log = log
        self._errors = level != "off"
        self._stats = stats
        self.all = level == "all"
        self.disconnecting = False
        """The sidecar itself disconnects the clients now, at the end of the drain."""

    def answered(
        self, operation: Operation, method: bytes, status: int, seconds: float
    ) -> None:
        """Log a response of the API; explain a 401 and a 403."""
        if not self._errors:
            return
        fields = {
            "method": method.decode("ascii", "replace"),
            "operation": operation.label,
            "status": status,
            "seconds": round(seconds, 6),
        }
        if status == UNAUTHORIZED:
            self._log.warning("api_unauthorized", explanation=EXPLAIN_401, **fields)
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

    def client_disconnected(
        self, operation: Operation, method: bytes, seconds: float
    ) -> None:
        """Log that the client closed the connection before its response was complete."""
        if self._errors and not self.disconnecting:
            self._log.info(
                "client_disconnected",
                method=method.decode("ascii", "replace"),
                operation=operation.label,
                seconds=round(seconds, 6),
            )

    def drain_cut(self) -> None:
        """Log that the drain is over although calls are in flight."""
        if self._stats.inflight:
            self._log.warning(
                "drain_cut",
                calls=self._stats.inflight,
                explanation="Calls in flight were cut: drain.timeout_seconds is over",
            )

    def rejected(self, refused: Refused, operation: str, method: bytes) -> None:
        """Count and log a call that the sidecar answers itself."""
        self._stats.rejections[refused.code] += 1
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
        """Count and log a response that had begun and could not be completed."""
        self._stats.rejections[code] += 1
        if self._errors:
            self._log.warning(
                "answer_cut",
                code=str(code),
                method=method.decode("ascii", "replace"),
                operation=operation,
                status=status,
                explanation="The service saw an incomplete answer",
            )

    def redacted(self, hits: int, operation: str) -> None:
        """Count and log keys in a response that were masked."""
        self._stats.redactions += hits
        self._log.warning(
            "key_reflected",
            hits=hits,
            operation=operation,
            explanation="The API's answer contained the API key; it was masked",
        )

    def tripwire(self, operation: str, method: bytes) -> None:
        """Count and log a request that contains the key, and was allowed to pass."""
        self._stats.rejections[Code.TRIPWIRE] += 1
        self._log.warning(
            "tripwire",
            method=method.decode("ascii", "replace"),
            operation=operation,
            explanation="The service itself sent the API key: find out where it got the "
            "key from, and rotate it",
        )

    def internal_error(self, error: Exception) -> Refused:
        """
        Log the place of a bug in the sidecar; return the answer to the call.

        The message and the values are left out: they may contain a key.
        """
        frames = traceback.extract_tb(error.__traceback__)
        self._log.error(
            "internal_error",
            type=type(error).__name__,
            where=[f"{PurePath(f.filename).name}:{f.lineno}" for f in frames][-5:],
        )
        return Refused(
            Code.INTERNAL, "The sidecar has a bug; its log names the place of it"
        )
