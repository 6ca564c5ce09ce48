"""
What AWS's errors mean to a rotation.

botocore's exceptions hold what was sent, so none of them lives on, not even as the
context of another one.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from sidecar.core.rotation_facts import RotationStopped
from sidecar.errors import Exit, SidecarError

T = TypeVar("T")


class Conflict(SidecarError):
    """Somebody else was first; look again."""


class NotThere(RotationStopped):
    """The secret, or a version's value, does not exist."""


AGAIN: Final = "run again later: the run goes on from here"
ALLOW: Final = "allow it to the rotator's role: config/iam/rotator.json"
LOGIN: Final = "see aws sts get-caller-identity, and renew the credentials"
KMS: Final = "allow the KMS key of the secret to the rotator's role"

# code -> what, remedy; `{}` is the operation.
MEANING: Final = MappingProxyType(
    {
        "AccessDeniedException": ("{} is denied", ALLOW),
        "AccessDenied": ("{} is denied", ALLOW),
        "LimitExceededException": (
            "{}: the secret has as many versions as it may have",
            "AWS removes unlabelled ones after a day; until then none can be stored",
        ),
        "InvalidRequestException": (
            "{}: the secret is to be deleted, a replica, or managed by a service",
            "see aws secretsmanager describe-secret",
        ),
        "DecryptionFailure": ("{}: the KMS key cannot decrypt the secret", KMS),
        "EncryptionFailure": ("{}: the KMS key cannot encrypt the secret", KMS),
        "KMSAccessDeniedException": ("{}: the KMS key is denied", KMS),
        "ExpiredTokenException": ("{}: the AWS credentials have expired", LOGIN),
        "ExpiredToken": ("{}: the AWS credentials have expired", LOGIN),
        "UnrecognizedClientException": ("{}: AWS does not know the credentials", LOGIN),
        "InvalidSignatureException": (
            "{}: AWS refuses the signature",
            "set the clock of this machine, or renew the credentials",
        ),
        "ThrottlingException": ("{}: Secrets Manager is throttling", AGAIN),
        "TooManyRequestsException": ("{}: Secrets Manager is throttling", AGAIN),
    }
)
CONDITIONAL: Final = frozenset({"UpdateSecretVersionStage"})


def ask(operation: str, call: Callable[[], T]) -> T:
    """
    Make a call to AWS and read its answer, and translate what that raises.

    Raises:
        Conflict: the condition of a write does not hold (any more).
        NotThere: there is no such secret, version or value.
        RotationStopped: everything else.
    """
    ours: SidecarError
    try:
        return call()
    except ClientError as exc:
        ours = _from_code(operation, exc.response.get("Error", {}).get("Code", ""))
    except BotoCoreError as exc:
        ours = _from_class(operation, exc)
    except (KeyError, ResponseParserError):
        what = f"{operation}: the answer of AWS cannot be read"
        ours = RotationStopped(Exit.CREDENTIAL, what, AGAIN)
    # Outside the handler: no exception of botocore becomes the context of ours.
    raise ours


def _from_code(operation: str, code: str) -> SidecarError:
    """Translate what AWS answered."""
    moved = code == "InvalidParameterException" and operation in CONDITIONAL
    if moved or code == "ResourceExistsException":
        return Conflict(operation)
    if code == "ResourceNotFoundException":
        return NotThere(
            Exit.CREDENTIAL,
            f"{operation}: there is no such secret, or it has no value",
            "correct secret_id or region; sidecar keys create makes a first key",
        )
    what, remedy = MEANING.get(code, ("{}: AWS answered an error", AGAIN))
    named = f" ({code})" if code.isalnum() else ""
    return RotationStopped(Exit.CREDENTIAL, what.format(operation) + named, remedy)


def _from_class(operation: str, exc: BotoCoreError) -> RotationStopped:
    """Translate what kept AWS from answering."""
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        what, remedy = "there are no AWS credentials", LOGIN
    elif isinstance(exc, ConnectTimeoutError | ReadTimeoutError):
        what, remedy = "Secrets Manager did not answer in time", AGAIN
    elif isinstance(exc, HTTPClientError):
        what, remedy = "Secrets Manager could not be reached", AGAIN
    else:
        # The name of the class only: the text may hold what was sent.
        what, remedy = f"boto3 failed ({type(exc).__name__})", "see the AWS settings"
    return RotationStopped(Exit.CREDENTIAL, f"{operation}: {what}", remedy)
