"""
Keys from AWS Secrets Manager.

botocore runs in one thread of its own, so the event loop never blocks on it. A call is
made once and ends within seconds: the credential manager decides when to try again.

Every GetSecretValue names a stage: without one, some emulators return an old version.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sidecar.aws.client import SOURCE, secrets_manager_client
from sidecar.aws.errors import failure_of
from sidecar.aws.worker import Worker
from sidecar.core.keylife.messages import VersionStage
from sidecar.credential.sources.base import Fetched, Versions
from sidecar.errors import RefreshResult, SourceFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

T = TypeVar("T")

SERVICE: Final = "secretsmanager"

_GARBAGE: Final = (
    RefreshResult.UNREACHABLE,
    "AWS gave an unreadable answer",
    "see what stands between here and AWS; the sidecar tries again",
)


class SecretsManagerSource:
    """
    One secret of AWS Secrets Manager.

    Args:
        secret_id: Name or ARN.
        region: None: the region of the environment or of the profile.
        endpoint_url: For emulators and VPC endpoints.
        now: Wall clock, Unix seconds; shows whether the clock is wrong.
        on_call: Called after each call with service, operation, and `ok` or the failure.
    """

    kind = "secrets_manager"
    poll_seconds: float | None = None

    def __init__(
        self,
        secret_id: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        now: Callable[[], float],
        on_call: Callable[[str, str, str], None],
    ) -> None:
        self._secret_id = secret_id
        self._region = region
        self._endpoint_url = endpoint_url
        self._now = now
        self._on_call = on_call
        self._worker = Worker("sidecar-aws")
        self._client: SecretsManagerClient | None = None

    def __repr__(self) -> str:
        return f"SecretsManagerSource({self._secret_id!r})"

    async def describe(self) -> Versions:
        """Ask with DescribeSecret, which costs no KMS call. Raises `SourceFailed`."""
        answer = await self._call("DescribeSecret", self._describe)
        return _versions(answer)

    async def fetch(self, stage: str) -> Fetched:
        """Call GetSecretValue. Raises `SourceFailed`."""
        answer = await self._call("GetSecretValue", partial(self._fetch, stage))
        return _fetched(answer)

    async def moved(self) -> bool:
        """Return False: Secrets Manager announces no change."""
        return False

    async def close(self) -> None:
        """End the thread."""
        self._worker.close()

    def _describe(self, client: "SecretsManagerClient") -> Mapping[str, Any]:
        return client.describe_secret(SecretId=self._secret_id)

    def _fetch(self, stage: str, client: "SecretsManagerClient") -> Mapping[str, Any]:
        return client.get_secret_value(SecretId=self._secret_id, VersionStage=stage)

    async def _call(
        self,
        operation: str,
        call: Callable[["SecretsManagerClient"], Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Make one call in the thread. Raises `SourceFailed`."""
        answer = await self._worker.run(partial(self._attempt, operation, call))
        if isinstance(answer, SourceFailed):
            self._on_call(SERVICE, operation, answer.result)
            raise answer
        self._on_call(SERVICE, operation, "ok")
        return answer

    def _attempt(
        self,
        operation: str,
        call: Callable[["SecretsManagerClient"], Mapping[str, Any]],
    ) -> Mapping[str, Any] | SourceFailed:
        """Make one call; in the thread. Never raises."""
        # Failures are returned, not raised: a traceback would keep botocore's frames,
        # and with them what was sent, for as long as the failure is remembered.
        try:
            if self._client is None:
                self._client = secrets_manager_client(
                    self._region, self._endpoint_url, SOURCE
                )
            return call(self._client)
        except Exception as error:  # noqa: BLE001 - botocore raises many kinds
            failure = failure_of(error, operation, self._now())
        if failure.result is RefreshResult.DENIED:
            # A client keeps the credentials that it began with, and their absence.
            # The next call begins anew: files are read and roles assumed again.
            self._client = None
        return failure


def _versions(answer: Mapping[str, Any]) -> Versions:
    """Read the answer of DescribeSecret. Raises `SourceFailed`."""
    if answer.get("DeletedDate") is not None:
        raise SourceFailed(
            RefreshResult.NOT_FOUND,
            "the secret is scheduled for deletion",
            "restore it: aws secretsmanager restore-secret",
        )
    stages = answer.get("VersionIdsToStages")
    at: dict[str, str] = {}
    if isinstance(stages, dict):
        at = {stage: version for version, names in stages.items() for stage in names}
    elif "ARN" not in answer:
        raise SourceFailed(*_GARBAGE)
    if VersionStage.CURRENT not in at:
        raise SourceFailed(
            RefreshResult.NOT_FOUND,
            "the secret has no version labelled AWSCURRENT",
            "store the key: aws secretsmanager put-secret-value",
        )
    tags = answer.get("Tags") or []
    return Versions(
        current=at[VersionStage.CURRENT],
        previous=at.get(VersionStage.PREVIOUS),
        pending=at.get(VersionStage.PENDING),
        tags={tag.get("Key", ""): tag.get("Value", "") for tag in tags},
        changed=_seconds(answer.get("LastChangedDate")),
    )


def _fetched(answer: Mapping[str, Any]) -> Fetched:
    """Read the answer of GetSecretValue. Raises `SourceFailed`."""
    version = answer.get("VersionId")
    raw = answer.get("SecretString", answer.get("SecretBinary"))
    if not isinstance(version, str) or not isinstance(raw, str | bytes):
        raise SourceFailed(*_GARBAGE)
    return Fetched(raw, version, _seconds(answer.get("CreatedDate")))


def _seconds(date: object) -> float | None:
    """Return Unix seconds of a date, if it is one."""
    return date.timestamp() if isinstance(date, datetime) else None
