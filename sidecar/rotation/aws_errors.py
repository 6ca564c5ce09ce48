"""
What AWS's errors mean to a rotation, which writes under conditions.

A condition that does not hold is no failure: somebody else was first. The rest is read
as the sidecar reads it (`sidecar.aws.errors`).
"""

from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sidecar.aws.errors import failure_of
from sidecar.core.rotation.facts import RotationStopped
from sidecar.errors import Exit, RefreshResult, SidecarError

T = TypeVar("T")

ALLOW: Final = "allow it to the rotator's role: see config/iam/rotator.json"
AGAIN: Final = "run again later: the run goes on from here"
# A label is not where the call says, or the version is gone.
MOVED: Final = frozenset({"InvalidParameterException", "InvalidRequestException"})
TOO_MANY: Final = (
    "{}: the secret has as many versions as it may have",
    "AWS removes unlabelled ones after a day; until then none can be stored",
)


class Conflict(SidecarError):
    """Somebody else was first; look again."""


class NotThere(RotationStopped):
    """The secret, or a version's value, does not exist."""


class Denied(RotationStopped):
    """The role may not make this call on this secret, or there is no such secret."""


class Deleted(RotationStopped):
    """The secret is scheduled for deletion: nobody can read it any more."""


class Asker:
    """
    Makes calls to AWS, and translates what they raise.

    Args:
        now: Unix seconds, to tell a wrong clock from a wrong signature.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def ask(self, operation: str, call: Callable[[], T]) -> T:
        """
        Make a call and read its answer.

        Raises:
            Conflict: the condition of a write does not hold (any more).
            NotThere: there is no such secret, version or value.
            Denied: the role may not make it.
            RotationStopped: everything else.
        """
        ours: SidecarError
        try:
            return call()
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", ""))
            ours = self._special(operation, code) or self._usual(operation, exc)
        except (BotoCoreError, ResponseParserError, ValueError) as exc:
            ours = self._usual(operation, exc)
        except KeyError:
            what = f"{operation}: the answer of AWS cannot be read"
            ours = RotationStopped(Exit.CREDENTIAL, what, AGAIN)
        # Outside the handler: botocore's exceptions hold what was sent, so none of
        # them lives on, not even as the context of ours.
        raise ours

    def _special(self, operation: str, code: str) -> SidecarError | None:
        """Find what means something else to a writer than to a reader."""
        moved = operation == "UpdateSecretVersionStage" and code in MOVED
        if moved or code == "ResourceExistsException":
            return Conflict(operation)
        if code == "ResourceNotFoundException":
            return NotThere(
                Exit.CREDENTIAL,
                f"{operation}: there is no such secret, or it has no value",
                "correct secret_id or region; sidecar keys create makes a first key",
            )
        if code == "LimitExceededException":
            what, remedy = TOO_MANY
            return RotationStopped(Exit.CREDENTIAL, what.format(operation), remedy)
        return None

    def _usual(self, operation: str, exc: Exception) -> RotationStopped:
        """Read an error as the sidecar reads it."""
        failure = failure_of(exc, operation, self._now())
        remedy = failure.remedy
        kind = RotationStopped
        if failure.result is RefreshResult.DENIED and "on this secret" in remedy:
            kind, remedy = Denied, ALLOW
        elif failure.result in {RefreshResult.THROTTLED, RefreshResult.UNREACHABLE}:
            remedy = AGAIN
        return kind(Exit.CREDENTIAL, f"{operation}: {failure.reason}", remedy)
