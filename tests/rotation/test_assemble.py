"""A rotation put together: above all, the key that may manage keys."""

import time
from pathlib import Path

import pytest

from sidecar.aws.client import ROTATION, secrets_manager_client
from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import SecretRules
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from sidecar.rotation.assemble import MAX_FILE_BYTES, ManagerKey, assemble
from sidecar.settings.tables import SecretSettings
from tests.support.rotation_fakes import OPTIONS, FakeTime

RULES = SecretRules(json_key="api_key", key_prefix="fln_live_")


def manager(moto: AwsClient, options: SecretSettings) -> ManagerKey:
    """The manager under test."""
    return ManagerKey(options, RULES, moto.secrets, time.time)


def test_the_managers_key_comes_from_its_own_secret(moto: AwsClient) -> None:
    """Of another shape and prefix than the job's."""
    moto.put_secret("admin", '{"token": "adm_1"}')

    found = manager(moto, SecretSettings(secret_id="admin", json_key="token"))

    assert found.secret(fresh=False).reveal() == "adm_1"


def test_the_managers_key_is_read_once_and_anew_when_asked(moto: AwsClient) -> None:
    """It may be rotated in the middle of a run."""
    moto.put_secret("admin", "adm_1")
    found = manager(moto, SecretSettings(secret_id="admin"))
    found.secret(fresh=False)
    moto.rotate("admin", "adm_2")

    assert found.secret(fresh=False).reveal() == "adm_1"
    assert found.secret(fresh=True).reveal() == "adm_2"


def test_the_managers_key_may_be_in_a_file(moto: AwsClient, tmp_path: Path) -> None:
    """With the newline of an editor."""
    file = tmp_path / "key"
    file.write_text("adm_1\n")

    found = manager(moto, SecretSettings(file=file))

    assert found.secret(fresh=False).reveal() == "adm_1"


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"two words", b"x" * 70_000])
def test_a_file_without_a_key_is_told(
    moto: AwsClient, tmp_path: Path, content: bytes | None
) -> None:
    """By its rule, without its content."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(RotationStopped, match=r"\[rotation.credential\]") as caught:
        manager(moto, SecretSettings(file=file)).secret(fresh=False)

    assert caught.value.exit is Exit.CREDENTIAL
    assert "two words" not in str(caught.value)
    assert caught.value.__context__ is None
    assert MAX_FILE_BYTES < 70_000


def test_a_missing_managers_secret_is_told(moto: AwsClient) -> None:
    """Exit code 3."""
    with pytest.raises(RotationStopped) as caught:
        manager(moto, SecretSettings(secret_id="missing")).secret(fresh=False)

    assert caught.value.exit is Exit.CREDENTIAL


def test_nothing_is_called_before_a_run(moto: AwsClient) -> None:
    """Putting together is no I/O."""
    parts = assemble(OPTIONS, moto.secrets, FakeTime().clock(), print)

    assert parts.options is OPTIONS


def test_the_client_is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write of ours may be sent twice; proxies apply to AWS alone."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    local = secrets_manager_client("eu-west-1", "http://127.0.0.1:5000", ROTATION)
    remote = secrets_manager_client("eu-west-1", None, ROTATION)

    seen = vars(local.meta.config)["_user_provided_options"]
    assert seen["retries"]["total_max_attempts"] == 4
    assert seen["proxies"] == {}
    assert vars(remote.meta.config)["_user_provided_options"]["proxies"] is None
