"""
What the errors of AWS mean to a reader of secrets, in words of ours.

An error is judged by its code, never by its text or status: emulators differ in both.
What botocore raises holds what was sent and where, so none of it lives on, not even as
the context of what is raised instead.
"""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

from sidecar.errors import RefreshResult, SourceFailed

DENIED, THROTTLED = RefreshResult.DENIED, RefreshResult.THROTTLED
UNREACHABLE, NOT_FOUND = RefreshResult.UNREACHABLE, RefreshResult.NOT_FOUND
INVALID = RefreshResult.INVALID

SKEW_SECONDS: Final = 240
"""AWS refuses signatures that are 5 min off; less can hardly be the reason."""

ALLOW: Final = "allow secretsmanager:{} on this secret to the role of this job"
RENEW: Final = "renew the AWS credentials: see `aws sts get-caller-identity`"
KMS: Final = "allow kms:Decrypt on the secret's key to the role of this job"
WAIT: Final = "nothing to do: the sidecar tries again, less and less often"
STATUS: Final = "see the AWS health page; the sidecar tries again"
NETWORK: Final = "check DNS, routes, security groups and the VPC endpoint"

_Meaning = tuple[RefreshResult, str, str]

# By the error code; `{}` is the operation.
CODES: Final[Mapping[str, _Meaning]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("AccessDeniedException", "AccessDenied", "NotAuthorized"),
            (DENIED, "AWS denies {}", ALLOW),
        ),
        **dict.fromkeys(
            ("DecryptionFailure", "KMSAccessDeniedException", "KMSAccessDenied"),
            (DENIED, "the secret's KMS key is denied or unusable", KMS),
        ),
        **dict.fromkeys(
            ("ExpiredTokenException", "ExpiredToken"),
            (DENIED, "the AWS credentials have expired", RENEW),
        ),
        **dict.fromkeys(
            (
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                "MissingAuthenticationToken",
                "MissingAuthenticationTokenException",
                "AuthFailure",
            ),
            (DENIED, "AWS does not know the credentials", RENEW),
        ),
        **dict.fromkeys(
            (
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                "IncompleteSignature",
                "IncompleteSignatureException",
                "RequestExpired",
                "RequestTimeTooSkewed",
            ),
            (
                DENIED,
                "AWS refuses the signature",
                "set this machine's clock, or correct the AWS secret access key",
            ),
        ),
        **dict.fromkeys(
            (
                "ThrottlingException",
                "Throttling",
                "ThrottledException",
                "TooManyRequestsException",
                "RequestLimitExceeded",
                "RequestThrottled",
                "RequestThrottledException",
                "LimitExceededException",
                "SlowDown",
            ),
            (THROTTLED, "AWS throttles {}", WAIT),
        ),
        "ResourceNotFoundException": (
            NOT_FOUND,
            "the secret, or the version asked for, does not exist",
            "check secret_id, the region and the account",
        ),
        "InvalidRequestException": (
            NOT_FOUND,
            "the secret is scheduled for deletion, or managed by a service",
            "see `aws secretsmanager describe-secret`, and restore-secret",
        ),
        **dict.fromkeys(
            ("InvalidParameterException", "ValidationException"),
            (INVALID, "AWS does not understand {}", "check secret_id"),
        ),
    }
)

# By the name of a botocore exception, or of one that it derives from.
EXCEPTIONS: Final[Mapping[str, _Meaning]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "NoCredentialsError",
                "PartialCredentialsError",
                "CredentialRetrievalError",
                "TokenRetrievalError",
                "SSOError",
                "LoginError",
            ),
            (
                DENIED,
                "there are no AWS credentials",
                "give the pod a role (Pod Identity or IRSA), or set AWS_PROFILE",
            ),
        ),
        **dict.fromkeys(
            ("ProfileNotFound", "ConfigNotFound", "ConfigParseError"),
            (DENIED, "the AWS profile cannot be read", "check AWS_PROFILE"),
        ),
        "NoRegionError": (UNREACHABLE, "no AWS region is set", "set [aws] region"),
        "SSLError": (
            UNREACHABLE,
            "the TLS connection to AWS failed",
            "check AWS_CA_BUNDLE and what stands between here and AWS",
        ),
        "ProxyConnectionError": (
            UNREACHABLE,
            "the proxy to AWS cannot be reached",
            "check HTTPS_PROXY and NO_PROXY",
        ),
        **dict.fromkeys(
            ("ConnectTimeoutError", "EndpointConnectionError"),
            (UNREACHABLE, "AWS cannot be reached", NETWORK),
        ),
        "ReadTimeoutError": (UNREACHABLE, "AWS did not answer in time", STATUS),
        **dict.fromkeys(
            ("HTTPClientError", "ConnectionError"),
            (UNREACHABLE, "the connection to AWS broke", STATUS),
        ),
        **dict.fromkeys(
            ("ResponseParserError", "IncompleteReadError", "ResponseStreamingError"),
            (UNREACHABLE, "AWS gave an unreadable answer", STATUS),
        ),
        "ParamValidationError": (INVALID, "secret_id is malformed", "check secret_id"),
        **dict.fromkeys(
            ("InvalidRegionError", "EndpointResolutionError", "ValueError"),
            (UNREACHABLE, "the AWS endpoint is malformed", "check [aws] in settings"),
        ),
    }
)

_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
# A code goes into our words only when it is a word itself.
_WORD: Final = re.compile(r"[A-Za-z0-9.]{1,64}")


def failure_of(error: Exception, operation: str, now: float) -> SourceFailed:
    """Return what an error of botocore means; `now` is Unix seconds."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    meaning = _of_response(response, now) if response else _of_exception(error)
    result, reason, remedy = meaning
    return SourceFailed(result, reason.format(operation), remedy.format(operation))


def _of_exception(error: Exception) -> _Meaning:
    """Judge an error that came without an answer, by its nearest known kind."""
    for kind in type(error).__mro__:
        if kind.__name__ in EXCEPTIONS:
            return EXCEPTIONS[kind.__name__]
    return UNREACHABLE, f"AWS could not be asked ({type(error).__name__})", STATUS


def _of_response(response: Mapping[str, Any], now: float) -> _Meaning:
    """Judge an answer that is an error: by its code, else by its status."""
    code = str(response.get("Error", {}).get("Code", ""))
    about = response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    meaning = CODES.get(code)
    if meaning is not None:
        if meaning[1] == CODES["SignatureDoesNotMatch"][1]:
            return _with_skew(meaning, about.get("HTTPHeaders", {}).get("date"), now)
        return meaning
    if status >= _SERVER_ERROR:
        return UNREACHABLE, f"AWS answers with an error of its own ({status})", STATUS
    if status == _TOO_MANY:
        return CODES["Throttling"]
    name = code if _WORD.fullmatch(code) else "unknown"
    return DENIED, f"AWS refuses {{}} ({name})", "see this code in the AWS reference"


def _with_skew(meaning: _Meaning, date: str | None, now: float) -> _Meaning:
    """Name the clock as the reason when it is one."""
    parse: Callable[[str], Any] = parsedate_to_datetime
    try:
        off = now - parse(date or "").timestamp()
    except (ValueError, TypeError):
        return meaning
    if abs(off) < SKEW_SECONDS:
        return meaning
    side = "ahead of" if off > 0 else "behind"
    reason = f"this machine's clock is {abs(off):.0f} s {side} AWS's"
    return DENIED, reason, "set this machine's clock"
