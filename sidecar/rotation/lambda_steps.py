"""
The four steps of a rotation by AWS Secrets Manager, over the same workflow.

AWS calls the function once per step, with a ClientRequestToken that is the VersionId of
the version to fill, and calls again when a step fails: every step may run any number of
times. The fifth thing to do, to revoke the old key after the grace, belongs to
finishSecret here, because no one calls later.

AWS Secrets Manager User Guide, "Lambda rotation functions"; the checks are those of
AWS's own templates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.rotation.facts import (
    Proof,
    RotationFacts,
    RotationRequest,
    RotationStopped,
)
from sidecar.errors import Exit
from sidecar.rotation.actions import Actions
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.snapshot import Memory
from sidecar.rotation.store import CURRENT, PENDING, PREVIOUS
from sidecar.rotation.workflow import Workflow

STEPS: Final = ("createSecret", "setSecret", "testSecret", "finishSecret")
# Beside the grace: AWS's and the API's answers, and a new key that settles slowly.
MARGIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class LambdaEvent:
    """What AWS asks for."""

    step: str
    secret_id: str
    token: str


def read_event(event: Mapping[str, object]) -> LambdaEvent:
    """
    Read what AWS sends.

    Raises:
        RotationStopped: it is not that.
    """
    fields = [event.get(name) for name in ("Step", "SecretId", "ClientRequestToken")]
    texts = [field for field in fields if isinstance(field, str) and field]
    if len(texts) != len(fields) or texts[0] not in STEPS:
        raise RotationStopped(
            Exit.USAGE,
            "the event is not one of Secrets Manager's rotation steps",
            "set this function as the secret's rotation function, and let AWS call it",
        )
    return LambdaEvent(*texts)


def handle(
    event: LambdaEvent, parts: RotationDependencies, remaining: Callable[[], float]
) -> None:
    """
    Do one step.

    Args:
        event: what AWS asks for.
        parts: what the rotation works with.
        remaining: seconds until AWS ends this invocation.

    Raises:
        RotationStopped: the step has failed; AWS shows the message and calls again.
    """
    if _is_current(event, parts):
        # Earlier steps are done; the last one may have been cut short in its grace.
        if event.step == "finishSecret":
            Workflow(parts, event.token).run(RotationRequest(begin=False))
        return
    match event.step:
        case "createSecret":
            _create(event, parts, remaining)
        case "setSecret":
            _set(event, parts)
        case "testSecret":
            _test(event, parts)
        case _:
            Workflow(parts, event.token).run(RotationRequest(begin=False))
            _check_promoted(event, parts)


def _is_current(event: LambdaEvent, parts: RotationDependencies) -> bool:
    """Check that the version is the one to be filled; True = it is in use already."""
    described = parts.store.describe()
    if described.arn != event.secret_id:
        raise RotationStopped(
            Exit.USAGE,
            "the event is about another secret than [upstreams...credential] secret_id",
            "give each secret a function with its own settings",
        )
    if described.rotates is False:
        raise RotationStopped(
            Exit.USAGE, "rotation is switched off for this secret", "switch it on"
        )
    if described.labels.get(CURRENT) == event.token:
        return True
    if described.labels.get(PENDING) != event.token:
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the version of this rotation does not have AWSPENDING (any more)",
            "start the rotation again: aws secretsmanager rotate-secret",
        )
    return False


def _create(
    event: LambdaEvent, parts: RotationDependencies, remaining: Callable[[], float]
) -> None:
    """Make a key and store it, after finishing what an earlier rotation left."""
    need = parts.options.grace_seconds + MARGIN_SECONDS
    if remaining() < need:
        raise RotationStopped(
            Exit.USAGE,
            f"the function's timeout is too short: finishSecret needs {need:.0f} s",
            "set the function's timeout, or [rotation] grace_seconds; AWS allows 900 s",
        )

    def stored(facts: RotationFacts) -> bool:
        pending = facts.pending
        return pending is not None and bool(pending.key_id)

    Workflow(parts, event.token).run(RotationRequest(again=True), stored)


def _set(event: LambdaEvent, parts: RotationDependencies) -> None:
    """Check that the API has the key: there is nothing to set, it made the key."""
    facts = Workflow(parts, event.token).observe()
    key_id = facts.pending.key_id if facts.pending else ""
    if key_id and not facts.listed(key_id):
        raise RotationStopped(
            Exit.API,
            "the API does not list the new key (yet)",
            "AWS tries again; sidecar rotate clears a dead key away",
        )
    if not facts.live(key_id):
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the key of the pending version is not a live key of the service account",
            "clear it away: sidecar rotate",
        )


def _test(event: LambdaEvent, parts: RotationDependencies) -> None:
    """Prove the key; it stays as it is when it fails, since AWS tries again."""
    proof = Actions(parts, Memory()).prove(event.token)
    if proof is not Proof.PROVEN:
        raise RotationStopped(
            Exit.API,
            f"the new key is not proven: the API is {proof} about it",
            "AWS tries again; sidecar rotate clears a refused key away",
        )


def _check_promoted(event: LambdaEvent, parts: RotationDependencies) -> None:
    """Let AWS book a success only when the key has come into use."""
    labels = parts.store.describe().labels
    # AWSPREVIOUS has been AWSCURRENT: a newer key may have followed in the grace.
    if event.token not in {labels.get(CURRENT), labels.get(PREVIOUS)}:
        raise RotationStopped(
            Exit.API,
            "the new key was not promoted, because it does not work or a newer one was "
            "stored by hand; the key in AWSCURRENT serves on",
            "start the rotation again: aws secretsmanager rotate-secret",
        )
