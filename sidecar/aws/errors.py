"""
The meaning of AWS errors: result, reason and remedy, for every caller of AWS.

An error is classified by its code, never by its text: emulators differ in it. The
status decides only if the code is unknown. An exception of botocore holds the request
and the endpoint, so callers must not keep it, not even as the context of their own.
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
"""AWS refuses signatures that are 5 min off; a smaller skew is not the reason."""

ALLOW: Final = "allow secretsmanager:{} on this secret to the role of this job"
RENEW: Final = "renew the AWS credentials: see `aws sts get-caller-identity`"
KMS: Final = "allow kms:Decrypt on the secret's key to the role of this job"
WAIT: Final = "nothing to do: the sidecar tries again with growing pauses"
STATUS: Final = "see the AWS health page; the sidecar tries again"
NETWORK: Final = "check DNS, routes, security groups and the VPC endpoint"

Meaning = tuple[RefreshResult, str, str]

# By the error code; `{}` is the operation.
CODES: Final[Mapping[str, Meaning]] = MappingProxyType(
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
                "ProvisionedThroughputExceededException",
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
            (INVALID, "AWS rejects the parameters of {}", "check secret_id"),
        ),
    }
)

# By the name of a botocore exception, or of one that it derives from.
EXCEPTIONS: Final[Mapping[str, Meaning]] = MappingProxyType(
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
            "check AWS_CA_BUNDLE, proxies and firewalls on the way to AWS",
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
# Only a code of this form appears in a message.
_WORD: Final = re.compile(r"[A-Za-z0-9.]{1,64}")


def meaning_of(error: Exception) -> Meaning | None:
    """Return the entry of the table for an error of botocore; None = unknown."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    if response:
        return CODES.get(code_of(error))
    kinds = (kind.__name__ for kind in type(error).__mro__)
    return next((EXCEPTIONS[kind] for kind in kinds if kind in EXCEPTIONS), None)


def code_of(error: Exception) -> str:
    """Return the error code of an answer; without an answer the name of the class."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    code = response.get("Error", {}).get("Code", "")
    return str(code) if response else type(error).__name__


def failure_of(error: Exception, operation: str, now: float) -> SourceFailed:
    """Return an error of botocore as ours; `now` is Unix seconds."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    if response:
        meaning = _of_response(meaning_of(error), code_of(error), response, now)
    else:
        unknown = f"the call to AWS failed ({type(error).__name__})"
        meaning = meaning_of(error) or (UNREACHABLE, unknown, STATUS)
    result, reason, remedy = meaning
    return SourceFailed(result, reason.format(operation), remedy.format(operation))


def _of_response(
    meaning: Meaning | None, code: str, response: Mapping[str, Any], now: float
) -> Meaning:
    """Classify an error answer by its code, else by its status."""
    about = response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    if meaning is not None:
        if meaning == CODES["SignatureDoesNotMatch"]:
            return _with_skew(meaning, about.get("HTTPHeaders", {}).get("date"), now)
        return meaning
    if status >= _SERVER_ERROR:
        return UNREACHABLE, f"AWS answered with a server error ({status})", STATUS
    if status == _TOO_MANY:
        return CODES["Throttling"]
    name = code if _WORD.fullmatch(code) else "unknown"
    return DENIED, f"AWS refuses {{}} ({name})", "see this code in the AWS reference"


def _with_skew(meaning: Meaning, date: str | None, now: float) -> Meaning:
    """Return the clock as the reason if it is wrong."""
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
