"""The secret's side, over a stubbed boto3: what is asked, and what answers mean."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Exit
from sidecar.rotation.store import (
    AwsCaller,
    Conflict,
    Denied,
    DescribedSecret,
    NotThere,
    SecretStore,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/crm-AbCdEf"
V1, V2 = "1" * 32, "2" * 32
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CHANGED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(name="client")
def _client() -> "SecretsManagerClient":
    """A real client that never reaches AWS."""
    return boto3.client(
        "secretsmanager",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


@pytest.fixture(name="stub")
def _stub(client: "SecretsManagerClient") -> Iterator[Stubber]:
    """Prepared answers; each must be asked for."""
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture(name="store")
def _store(client: "SecretsManagerClient") -> SecretStore:
    """The store under test."""
    return SecretStore(client, "prod/crm", CHANGED.timestamp)


def describe(stub: Stubber, **more: Any) -> None:
    """Prepare an answer of DescribeSecret."""
    answer = {"ARN": ARN, "Name": "prod/crm", "CreatedDate": CREATED, **more}
    stub.add_response("describe_secret", answer, {"SecretId": "prod/crm"})


def test_labels_are_told_with_their_versions(stub: Stubber, store: SecretStore) -> None:
    """AWS tells it the other way round."""
    describe(
        stub,
        VersionIdsToStages={V1: ["AWSPREVIOUS"], V2: ["AWSCURRENT", "AWSPENDING"]},
        LastChangedDate=CHANGED,
        Tags=[{"Key": "service", "Value": "crm"}],
        RotationEnabled=False,
    )

    assert store.describe() == DescribedSecret(
        arn=ARN,
        labels={"AWSPREVIOUS": V1, "AWSCURRENT": V2, "AWSPENDING": V2},
        changed=CHANGED.timestamp(),
        tags={"service": "crm"},
        rotates=False,
    )


def test_a_secret_without_a_value_has_no_labels(
    stub: Stubber, store: SecretStore
) -> None:
    """As it is made in a console or by Terraform."""
    describe(stub)

    assert store.describe() == DescribedSecret(ARN, {}, CREATED.timestamp())


def test_a_secret_to_be_deleted_is_told(stub: Stubber, store: SecretStore) -> None:
    """With the way back."""
    describe(stub, DeletedDate=CHANGED)

    with pytest.raises(RotationStopped, match="scheduled for deletion") as caught:
        store.describe()

    assert "restore-secret" in caught.value.remedy


def test_every_version_is_listed(stub: Stubber, store: SecretStore) -> None:
    """Also those without a label, page by page."""
    asked = {"SecretId": "prod/crm", "IncludeDeprecated": True}
    for version, token in ((V1, "next"), (V2, "")):
        answer = {"Versions": [{"VersionId": version}]}
        stub.add_response(
            "list_secret_version_ids",
            answer | ({"NextToken": token} if token else {}),
            asked,
        )
        asked = asked | {"NextToken": token}

    assert store.version_ids() == {V1, V2}


def test_a_value_is_read_by_its_version(stub: Stubber, store: SecretStore) -> None:
    """Never by the default: it is not the same everywhere."""
    answer = {"SecretString": "x", "VersionId": V1, "CreatedDate": CREATED}
    stub.add_response(
        "get_secret_value", answer, {"SecretId": "prod/crm", "VersionId": V1}
    )

    read = store.read(V1)

    assert read is not None
    assert read.raw == Secret("x")
    assert read.created == CREATED.timestamp()
    assert "x" not in repr(read.raw)


def test_a_binary_value_tells_nothing(stub: Stubber, store: SecretStore) -> None:
    """It is not ours."""
    answer = {"SecretBinary": b"x", "VersionId": V1, "CreatedDate": CREATED}
    stub.add_response("get_secret_value", answer)

    read = store.read(V1)

    assert read is not None
    assert read.raw == Secret("")


def test_a_version_without_a_value_is_none(stub: Stubber, store: SecretStore) -> None:
    """AWS makes one when it rotates, for the function to fill."""
    stub.add_client_error("get_secret_value", "ResourceNotFoundException")

    assert store.read(V1) is None


def test_a_secret_used_elsewhere_is_read_by_its_label(
    stub: Stubber, store: SecretStore
) -> None:
    """The manager's key."""
    answer = {"SecretString": "x", "VersionId": V1, "CreatedDate": CREATED}
    stub.add_response(
        "get_secret_value",
        answer,
        {"SecretId": "prod/crm", "VersionStage": "AWSCURRENT"},
    )

    assert store.read_current() == Secret("x")


def test_a_value_is_stored_under_a_token_that_is_used_once(
    stub: Stubber, store: SecretStore
) -> None:
    """Two runs that start from the same version have the same token."""
    asked = {
        "SecretId": "prod/crm",
        "ClientRequestToken": V2,
        "SecretString": "x",
        "VersionStages": ["AWSPENDING"],
    }
    stub.add_response("put_secret_value", {}, asked)
    stub.add_client_error("put_secret_value", "ResourceExistsException")

    store.put(V2, Secret("x"))

    with pytest.raises(Conflict):
        store.put(V2, Secret("y"))


def test_a_label_is_moved_from_where_it_was_seen(
    stub: Stubber, store: SecretStore
) -> None:
    """If it is somewhere else by now, AWS refuses."""
    asked = {
        "SecretId": "prod/crm",
        "VersionStage": "AWSCURRENT",
        "MoveToVersionId": V2,
        "RemoveFromVersionId": V1,
    }
    stub.add_response("update_secret_version_stage", {}, asked)
    stub.add_client_error("update_secret_version_stage", "InvalidParameterException")

    store.promote(V2, V1)

    with pytest.raises(Conflict):
        store.promote(V2, V1)


def test_awspending_is_taken_off(stub: Stubber, store: SecretStore) -> None:
    """From the version that had it."""
    asked = {
        "SecretId": "prod/crm",
        "VersionStage": "AWSPENDING",
        "RemoveFromVersionId": V2,
    }
    stub.add_response("update_secret_version_stage", {}, asked)

    store.unmark(V2)


def test_tags_are_set(stub: Stubber, store: SecretStore) -> None:
    """On the secret, and on a new one."""
    tags = [{"Key": "service", "Value": "crm"}]
    stub.add_response("tag_resource", {}, {"SecretId": "prod/crm", "Tags": tags})
    stub.add_response(
        "create_secret",
        {},
        {"Name": "prod/crm", "Tags": tags},
    )

    store.tag({"service": "crm"})
    store.make({"service": "crm"})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("AccessDeniedException", "denies", id="denied"),
        pytest.param(
            "LimitExceededException", "maximum number of versions", id="limit"
        ),
        pytest.param("InvalidRequestException", "deletion", id="deleted"),
        pytest.param("EncryptionFailure", "EncryptionFailure", id="kms-encrypt"),
        pytest.param("DecryptionFailure", "KMS", id="kms-decrypt"),
        pytest.param("ThrottlingException", "throttles", id="throttled"),
        pytest.param("ExpiredTokenException", "expired", id="expired"),
        pytest.param("SomethingNewException", "SomethingNew", id="unknown"),
    ],
)
def test_what_aws_refuses_is_told_with_a_remedy(
    stub: Stubber, store: SecretStore, code: str, message: str
) -> None:
    """The operation and the reason; nothing of what was sent."""
    stub.add_client_error("put_secret_value", code, "sent: fln_live_x")

    with pytest.raises(RotationStopped, match=message) as caught:
        store.put(V2, Secret("fln_live_x"))

    assert caught.value.exit is Exit.CREDENTIAL
    assert caught.value.reason.startswith("PutSecretValue: ")
    assert caught.value.remedy
    assert "fln_live" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("code", "denied"), [("AccessDeniedException", True), ("ExpiredToken", False)]
)
def test_a_denial_by_policy_is_told_apart(
    stub: Stubber, store: SecretStore, code: str, denied: bool
) -> None:
    """It may mean that the secret is missing; credentials that have expired do not."""
    stub.add_client_error("describe_secret", code)

    with pytest.raises(RotationStopped) as caught:
        store.describe()

    assert isinstance(caught.value, Denied) is denied


def test_a_missing_secret_is_told(stub: Stubber, store: SecretStore) -> None:
    """With the command that makes a first key."""
    stub.add_client_error("describe_secret", "ResourceNotFoundException")

    with pytest.raises(NotThere) as caught:
        store.describe()

    assert "sidecar keys create" in caught.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NoCredentialsError(), id="no-credentials"),
        pytest.param(ConnectTimeoutError(endpoint_url="x"), id="connect-timeout"),
        pytest.param(ReadTimeoutError(endpoint_url="x"), id="read-timeout"),
        pytest.param(EndpointConnectionError(endpoint_url="x"), id="refused"),
        pytest.param(KeyError("ARN"), id="answer-without-a-field"),
    ],
)
def test_what_keeps_aws_from_answering_is_told(error: Exception) -> None:
    """A message of ours, without the exception of theirs."""

    def call() -> None:
        raise error

    with pytest.raises(RotationStopped) as caught:
        AwsCaller(lambda: 0.0).call("DescribeSecret", call)

    assert caught.value.exit is Exit.CREDENTIAL
    assert caught.value.remedy
    assert caught.value.__context__ is None


def test_an_unreadable_answer_is_told(stub: Stubber, store: SecretStore) -> None:
    """200, and something else than expected."""
    stub.add_response("describe_secret", {"Name": "prod/crm"})

    with pytest.raises(RotationStopped, match="cannot be read"):
        store.describe()
