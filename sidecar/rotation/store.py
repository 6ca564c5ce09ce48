"""
A secret in AWS Secrets Manager: versions, labels and tags.

Rule 1: every write is conditional: a token stores one value only, and a label moves
    only from the version that we read. Two runs cannot undo each other's writes.
Rule 2: no exception of botocore leaves this file; it holds the request.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sidecar.aws.errors import failure_of
from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Exit, RefreshResult, SidecarError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import (
        DescribeSecretResponseTypeDef,
        GetSecretValueResponseTypeDef,
        ListSecretVersionIdsResponseTypeDef,
    )

T = TypeVar("T")

ALLOW: Final = "allow it to the role of the rotator: see config/iam/rotator.json"
AGAIN: Final = "run again later: the run continues from here"
# The label is not on the version that the call names, or the version is gone.
MOVED: Final = frozenset({"InvalidParameterException", "InvalidRequestException"})
TOO_MANY: Final = (
    "{}: the secret has the maximum number of versions",
    "wait: AWS removes unlabelled versions after a day",
)

CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"
PREVIOUS: Final = "AWSPREVIOUS"


class Conflict(SidecarError):
    """The condition of a write failed: another run was first."""


class NotThere(RotationStopped):
    """The secret, or a version's value, does not exist."""


class Denied(RotationStopped):
    """The role may not make this call on this secret, or there is no such secret."""


class Deleted(RotationStopped):
    """The secret is scheduled for deletion: its values cannot be read."""


class AwsCaller:
    """
    Makes calls to AWS and translates their errors.

    Args:
        now: Unix seconds; distinguishes a wrong clock from a wrong signature.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def call(self, operation: str, act: Callable[[], T]) -> T:
        """
        Make a call and return its result.

        Raises:
            Conflict: the condition of a write failed.
            NotThere: there is no such secret, version or value.
            Denied: the role lacks the permission.
            RotationStopped: every other error.
        """
        ours: SidecarError
        try:
            return act()
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", ""))
            ours = self._special(operation, code) or self._usual(operation, exc)
        except (BotoCoreError, ResponseParserError, ValueError) as exc:
            ours = self._usual(operation, exc)
        except KeyError:
            what = f"{operation}: the answer of AWS cannot be read"
            ours = RotationStopped(Exit.CREDENTIAL, what, AGAIN)
        # Outside the handler: an exception of botocore holds the request, so it must
        # not become the context of ours.
        raise ours

    def _special(self, operation: str, code: str) -> SidecarError | None:
        """Return the errors that mean something else to a write than to a read."""
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
        """Translate an error by the common table."""
        failure = failure_of(exc, operation, self._now())
        remedy = failure.remedy
        kind = RotationStopped
        if failure.result is RefreshResult.DENIED and "on this secret" in remedy:
            kind, remedy = Denied, ALLOW
        elif failure.result in {RefreshResult.THROTTLED, RefreshResult.UNREACHABLE}:
            remedy = AGAIN
        return kind(Exit.CREDENTIAL, f"{operation}: {failure.reason}", remedy)


@dataclass(frozen=True, slots=True)
class DescribedSecret:
    """The metadata of a secret (AWS DescribeSecret)."""

    arn: str
    labels: Mapping[str, str]
    """Label -> VersionId."""
    changed: float
    """Time of the last change of the secret, in Unix seconds."""
    tags: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    """Scheduled for deletion: its values cannot be read."""
    rotates: bool | None = None
    """AWS rotates it by a Lambda function; None = unknown."""


@dataclass(frozen=True, slots=True)
class Read:
    """The value of a version."""

    raw: Secret
    version_id: str
    created: float
    """Unix seconds."""


class SecretStore:
    """
    One secret in AWS Secrets Manager.

    Args:
        client: a client of botocore.
        secret_id: name or ARN.
        now: Unix seconds.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        secret_id: str,
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._id = secret_id
        self._call = AwsCaller(now).call

    def describe(self) -> DescribedSecret:
        """
        Read labels and tags.

        Raises:
            NotThere: there is no such secret.
            Deleted: the secret is scheduled for deletion.
            RotationStopped: the call failed.
        """
        found = self._call(
            "DescribeSecret",
            lambda: _described(self._client.describe_secret(SecretId=self._id)),
        )
        if found.deleted:
            raise Deleted(
                Exit.CREDENTIAL,
                "the secret is scheduled for deletion",
                "restore it (aws secretsmanager restore-secret), or choose another secret",
            )
        return found

    def read_current(self) -> Secret:
        """
        Read the value of AWSCURRENT.

        Raises:
            NotThere: there is no value.
            RotationStopped: the call failed.
        """
        return self._call(
            "GetSecretValue",
            lambda: _read(
                self._client.get_secret_value(SecretId=self._id, VersionStage=CURRENT)
            ),
        ).raw

    def version_ids(self) -> frozenset[str]:
        """Return the ids of all existing versions, with and without a label."""
        return frozenset(self._version_ids())

    def _version_ids(self) -> Iterator[str]:
        wanted: dict[str, Any] = {"SecretId": self._id, "IncludeDeprecated": True}
        while True:
            ids, token = self._call(
                "ListSecretVersionIds",
                lambda: _page(self._client.list_secret_version_ids(**wanted)),
            )
            yield from ids
            if not token:
                return
            wanted["NextToken"] = token

    def read(self, version_id: str) -> Read | None:
        """
        Read a version; None = it has no value yet, as in a rotation by AWS.

        Raises:
            RotationStopped: the call failed.
        """
        try:
            return self._call(
                "GetSecretValue",
                lambda: _read(
                    self._client.get_secret_value(
                        SecretId=self._id, VersionId=version_id
                    )
                ),
            )
        except NotThere:
            return None

    def put(self, token: str, value: Secret) -> None:
        """
        Store a value as the version `token`, with the label AWSPENDING.

        Raises:
            Conflict: the version holds another value.
            RotationStopped: the call failed; the value may be stored.
        """
        self._call(
            "PutSecretValue",
            lambda: self._client.put_secret_value(
                SecretId=self._id,
                ClientRequestToken=token,
                SecretString=value.reveal(),
                VersionStages=[PENDING],
            ),
        )

    def promote(self, version_id: str, from_version_id: str) -> None:
        """
        Move AWSCURRENT; AWS moves AWSPREVIOUS to the version before.

        Raises:
            Conflict: AWSCURRENT is on another version.
        """
        self._call(
            "UpdateSecretVersionStage",
            lambda: self._client.update_secret_version_stage(
                SecretId=self._id,
                VersionStage=CURRENT,
                MoveToVersionId=version_id,
                RemoveFromVersionId=from_version_id,
            ),
        )

    def unmark(self, version_id: str) -> None:
        """
        Remove AWSPENDING from a version.

        Raises:
            Conflict: the version does not have it.
        """
        self._call(
            "UpdateSecretVersionStage",
            lambda: self._client.update_secret_version_stage(
                SecretId=self._id, VersionStage=PENDING, RemoveFromVersionId=version_id
            ),
        )

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags; other tags stay."""
        self._call(
            "TagResource",
            lambda: self._client.tag_resource(
                SecretId=self._id,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            ),
        )

    def make(self, tags: Mapping[str, str]) -> None:
        """
        Create the secret without a value.

        Raises:
            Conflict: the secret exists.
        """
        self._call(
            "CreateSecret",
            lambda: self._client.create_secret(
                Name=self._id,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            ),
        )


def _described(found: "DescribeSecretResponseTypeDef") -> DescribedSecret:
    """Convert the answer: AWS maps versions to labels, we map labels to versions."""
    stages = found.get("VersionIdsToStages", {})
    labels = {label: version for version in stages for label in stages[version]}
    changed = found.get("LastChangedDate", found["CreatedDate"])
    return DescribedSecret(
        arn=found["ARN"],
        labels=labels,
        changed=_seconds(changed),
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        deleted=found.get("DeletedDate") is not None,
        rotates=found.get("RotationEnabled"),
    )


def _page(found: "ListSecretVersionIdsResponseTypeDef") -> tuple[list[str], str]:
    """Return the ids, and the token of the next page."""
    ids = [version["VersionId"] for version in found["Versions"]]
    return ids, found.get("NextToken", "")


def _read(found: "GetSecretValueResponseTypeDef") -> Read:
    """Return the value; a binary value counts as empty."""
    raw = Secret(found.get("SecretString", ""))
    return Read(raw, found["VersionId"], _seconds(found["CreatedDate"]))


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
