"""
The errors of the sidecar.

- SidecarError
  - SettingsInvalid: the settings cannot be used; lists every problem
  - SecretRejected: a value from a source breaks a rule for keys
  - SourceFailed: a source returned no key
  - Refused: the sidecar answers a call or delivery itself, with a `Code`

A message names rules and settings, never the value of a secret. `STATUS` maps every code
to an HTTP status. It has no 401 and no 403: every 401 and 403 that the service sees comes
from the API.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final


class Exit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CREDENTIAL = 3
    API = 4
    TIMED_OUT = 5


class Code(StrEnum):
    """Codes of the sidecar's own responses: body, `X-Sidecar-Error` and metric label."""

    BAD_REQUEST = "bad_request"
    BAD_TARGET = "bad_target"
    BAD_HEADER = "bad_header"
    BROWSER_REQUEST = "browser_request"
    FORWARDED_REQUEST = "forwarded_request"
    OPERATION_DENIED = "operation_denied"
    TRIPWIRE = "tripwire"
    METHOD_REFUSED = "method_refused"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    TARGET_TOO_LONG = "target_too_long"
    EXPECTATION_FAILED = "expectation_failed"
    WRONG_HOST = "wrong_host"
    HEAD_TOO_LARGE = "head_too_large"
    UPGRADE_UNSUPPORTED = "upgrade_unsupported"
    CODING_UNSUPPORTED = "coding_unsupported"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TLS = "upstream_tls"
    UPSTREAM_PROTOCOL = "upstream_protocol"
    REFLECTION_BLOCKED = "reflection_blocked"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    CREDENTIAL_EXPIRED = "credential_expired"
    UPSTREAM_BUSY = "upstream_busy"
    DRAINING = "draining"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    VERSION_UNSUPPORTED = "version_unsupported"
    INTERNAL = "internal"


STATUS: Final = MappingProxyType(
    {
        Code.BAD_REQUEST: 400,
        Code.BAD_TARGET: 400,
        Code.BAD_HEADER: 400,
        Code.BROWSER_REQUEST: 400,
        Code.FORWARDED_REQUEST: 400,
        Code.OPERATION_DENIED: 400,
        Code.TRIPWIRE: 400,
        Code.METHOD_REFUSED: 405,
        Code.REQUEST_TIMEOUT: 408,
        Code.BODY_TOO_LARGE: 413,
        Code.TARGET_TOO_LONG: 414,
        Code.EXPECTATION_FAILED: 417,
        Code.WRONG_HOST: 421,
        Code.HEAD_TOO_LARGE: 431,
        Code.INTERNAL: 500,
        Code.UPGRADE_UNSUPPORTED: 501,
        Code.CODING_UNSUPPORTED: 501,
        Code.UPSTREAM_UNREACHABLE: 502,
        Code.UPSTREAM_TLS: 502,
        Code.UPSTREAM_PROTOCOL: 502,
        Code.REFLECTION_BLOCKED: 502,
        Code.CREDENTIAL_UNAVAILABLE: 503,
        Code.CREDENTIAL_EXPIRED: 503,
        Code.UPSTREAM_BUSY: 503,
        Code.DRAINING: 503,
        Code.UPSTREAM_TIMEOUT: 504,
        Code.VERSION_UNSUPPORTED: 505,
    }
)

RETRY_AFTER_SECONDS: Final = MappingProxyType(
    {
        Code.CREDENTIAL_UNAVAILABLE: 2,
        Code.CREDENTIAL_EXPIRED: 30,
        Code.UPSTREAM_BUSY: 1,
        Code.DRAINING: 1,
    }
)
"""Seconds for `Retry-After` (RFC 9110, 10.2.3) of every 503."""


class RefreshResult(StrEnum):
    """How a refresh ended; the metric label `result`."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    DENIED = "denied"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    NOT_FOUND = "not_found"
    INVALID = "invalid"


class SidecarError(Exception):
    """Base of the sidecar's own exceptions."""


@dataclass(frozen=True)
class Problem:
    """One error in the settings."""

    path: str
    """The setting, as in the TOML file: `upstreams.flownally.listen`."""
    reason: str
    """The broken rule; never the value of a secret."""
    example: str = ""
    """An accepted value."""

    def __str__(self) -> str:
        """Return one line for people."""
        hint = f" (for example: {self.example})" if self.example else ""
        return f"{self.path}: {self.reason}{hint}"


class SettingsInvalid(SidecarError):
    """The settings cannot be used; lists every problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Return one line per problem."""
        return "\n".join(str(problem) for problem in self.problems)


class SecretRejected(SidecarError):
    """A value from a source breaks a rule for keys; the message names the rule."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the rule and its remedy, never the value."""
        return f"{self.rule}; {self.remedy}"


class SourceFailed(SidecarError):
    """A source returned no key."""

    def __init__(self, result: RefreshResult, reason: str, remedy: str = "") -> None:
        super().__init__(result, reason)
        self.result = result
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the reason and its remedy, without text of the source."""
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


class Refused(SidecarError):
    """The sidecar answers a call itself."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        """Return the sentence for the caller."""
        return self.detail
