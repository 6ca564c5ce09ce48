"""
The IAM policies, held to the calls that are really made: no less, and no more.

Conditions are not evaluated: which KMS key a secret has, and who calls by which
service, an emulator does not know. They are checked to be there.
"""

import fnmatch
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.commands.keys import create
from sidecar.core.rotation.facts import RotationRequest
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.rotation.assemble import CLOCK, assemble, options_of
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.options import RotationOptions
from sidecar.rotation.workflow import Workflow
from sidecar.settings.loading import load
from tests.support.faulty_aws import FaultyAws
from tests.support.processes import (
    SECRET_ID,
    SidecarProcess,
    to_toml,
    wait_until,
)
from tests.support.rotation_rig import MANAGER_ID, Stage

POLICIES: Final = Path(__file__).parents[2] / "config" / "iam"
NOT_ASKED: Final = {"kms:Decrypt", "kms:GenerateDataKey"}
"""What Secrets Manager does on our behalf."""

Call = tuple[str, str]
"""Action, and the secret's name."""


def statements(name: str) -> list[dict[str, Any]]:
    """Read a policy."""
    policy = json.loads((POLICIES / f"{name}.json").read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def actions(statement: dict[str, Any]) -> list[str]:
    """List the actions of a statement."""
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


def allowed(call: Call, policy: list[dict[str, Any]]) -> bool:
    """Tell whether a policy allows a call on a secret in its account."""
    action, secret = call
    arn = f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{secret}-AbCdEf"
    return any(
        action in actions(statement) and fnmatch.fnmatchcase(arn, statement["Resource"])
        for statement in policy
    )


@pytest.fixture(name="stage")
def _stage(api: EmulatedApi, moto: AwsClient) -> Stage:
    """A key in use, and a manager's key."""
    return Stage(api, moto)


@pytest.fixture(name="calls")
def _calls(moto: AwsClient) -> Iterator[set[Call]]:
    """Every call that goes through the emulator's client, as IAM sees it."""
    seen: set[Call] = set()

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        secret = params.get("SecretId") or params["Name"]
        seen.add((f"secretsmanager:{model.name}", secret))

    events = moto.secrets.meta.events
    events.register("before-parameter-build.secrets-manager", note)
    yield seen
    events.unregister("before-parameter-build.secrets-manager", note)


@pytest.fixture(name="options")
def _options(stage: Stage, tmp_path: Path) -> RotationOptions:
    """Options as the settings give them."""
    file = tmp_path / "sidecar.toml"
    file.write_text(to_toml(stage.settings()))
    return options_of(load(file, {}))


def parts(stage: Stage, options: RotationOptions) -> RotationDependencies:
    """What a run works with, over the client that is listened to."""
    return assemble(options, stage.moto.secrets, CLOCK, print)


def test_the_rotator_may_do_what_it_does_and_nothing_else(
    stage: Stage, options: RotationOptions, calls: set[Call]
) -> None:
    """A whole rotation, on its secret and its manager's."""
    Workflow(parts(stage, options)).run(RotationRequest())

    policy = statements("rotator")
    assert {call for call in calls if not allowed(call, policy)} == set()
    granted = {action for each in policy for action in actions(each)}
    assert granted - NOT_ASKED == {action for action, _ in calls}


def test_the_rotator_may_not_touch_another_secret() -> None:
    """Neither its values nor its labels."""
    policy = statements("rotator")

    assert not allowed(("secretsmanager:GetSecretValue", "prod/other"), policy)
    assert not allowed(("secretsmanager:PutSecretValue", MANAGER_ID), policy)


def test_the_sidecar_may_read_its_secret_and_nothing_else(
    stage: Stage,
    faulty_aws: FaultyAws,
    sidecar_process: Callable[..., SidecarProcess],
) -> None:
    """From the start through a new version, counted at the endpoint."""
    changes = {"aws": {"endpoint_url": faulty_aws.endpoint}}
    process = sidecar_process(stage.settings(changes))
    process.wait_ready()
    before = faulty_aws.calls["GetSecretValue"]
    second = stage.api.issue()
    stage.moto.rotate(SECRET_ID, json.dumps({"api_key": second.key}))
    process.admin("/-/reload", method="POST")
    wait_until(lambda: faulty_aws.calls["GetSecretValue"] > before, "the new version")

    policy = statements("sidecar")
    granted = {action for each in policy for action in actions(each)}
    asked = {f"secretsmanager:{operation}" for operation in faulty_aws.calls}
    assert asked == granted - NOT_ASKED
    assert all(allowed((action, SECRET_ID), policy) for action in asked)


def test_making_a_secret_takes_one_more_permission(
    stage: Stage, options: RotationOptions, calls: set[Call]
) -> None:
    """`sidecar keys create` for a secret that does not exist."""
    stage.moto.secrets.delete_secret(
        SecretId=SECRET_ID, ForceDeleteWithoutRecovery=True
    )
    calls.clear()

    create(parts(stage, options))

    policy = statements("rotator")
    assert {call for call in calls if not allowed(call, policy)} == {
        ("secretsmanager:CreateSecret", SECRET_ID)
    }
    assert allowed(("secretsmanager:CreateSecret", SECRET_ID), statements("first-key"))


@pytest.mark.parametrize("name", ["sidecar", "rotator", "first-key", "webhooks"])
def test_nothing_is_granted_wholesale(name: str) -> None:
    """No wildcard action, one secret per resource, KMS only through Secrets Manager."""
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in actions(statement))
        assert "*" not in statement["Resource"]
        if any(action.startswith("kms:") for action in actions(statement)):
            condition = statement["Condition"]
            via = condition["StringEquals"]["kms:ViaService"]
            assert via == "secretsmanager.eu-west-1.amazonaws.com"
            assert "kms:EncryptionContext:SecretARN" in condition["StringLike"]


def test_a_tag_is_one_of_ours(stage: Stage, options: RotationOptions) -> None:
    """The condition on tags names those that a rotation sets."""
    (statement,) = (s for s in statements("rotator") if "TagKeys" in json.dumps(s))
    keys = statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]

    assert stage.api.port
    assert set(options.tags) | {"rotate-every-days"} == set(keys)
