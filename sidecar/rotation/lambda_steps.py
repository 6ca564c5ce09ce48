"""
The four steps of a rotation by AWS Secrets Manager, over the same workflow.

AWS calls the function once for each step. ClientRequestToken is the VersionId of the
version to fill. AWS repeats a step that fails, so every step may run several times.
finishSecret also waits the grace and revokes the old key: it is the last call.

Source: AWS Secrets Manager User Guide, "Lambda rotation functions"; the checks are
those of AWS's own templates.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.core.rotation.facts import (
    Proof,
    RotationFacts,
    RotationRequest,
    RotationStopped,
)
from sidecar.core.secrecy.redaction import Redactor
from sidecar.errors import Exit
from sidecar.hardening import harden
from sidecar.log import configure, get_logger
from sidecar.rotation.actions import Actions
from sidecar.rotation.assemble import connect
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.snapshot import RunMemory
from sidecar.rotation.store import CURRENT, PENDING, PREVIOUS
from sidecar.rotation.workflow import Workflow
from sidecar.settings.loading import load

STEPS: Final = ("createSecret", "setSecret", "testSecret", "finishSecret")
# Beyond the grace: calls to AWS and the API, and a new key that settles slowly.
MARGIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class LambdaEvent:
    """The event of one step."""

    step: str
    secret_id: str
    token: str


def handle_event(event: Mapping[str, object], context: object) -> None:
    """
    Do one step with the settings of the function's environment.

    Raises:
        RotationStopped: the step failed; AWS shows the message.
        SettingsInvalid: the `SIDECAR_*` variables of the function are wrong.
    """
    harden()
    path = os.environ.get("SIDECAR_CONFIG")
    settings = load(Path(path) if path else None, os.environ)
    configure(settings.log.level, settings.log.format, Redactor())
    step = read_event(event)
    log = get_logger(__name__).bind(step=step.step, version=step.token[:8])

    def say(line: str) -> None:
        log.info("rotation_progress", detail=line)

    handle(step, connect(settings, say), _remaining(context))


def _remaining(context: object) -> Callable[[], float]:
    """Return a function for the seconds of this invocation; no context = no limit."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: left() / 1000) if callable(left) else (lambda: float("inf"))


def read_event(event: Mapping[str, object]) -> LambdaEvent:
    """
    Parse the event of a step.

    Raises:
        RotationStopped: it is not an event of a rotation.
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
        event: the step.
        parts: the clients of the rotation.
        remaining: seconds until AWS ends this invocation.

    Raises:
        RotationStopped: the step failed; AWS shows the message and repeats it.
    """
    if _is_current(event, parts):
        # Earlier steps are done; finishSecret may have been interrupted in the grace.
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
    """Check that AWS chose this version; True = it has AWSCURRENT already."""
    described = parts.store.describe()
    if described.arn != event.secret_id:
        raise RotationStopped(
            Exit.USAGE,
            "the event names another secret than [upstreams...credential] secret_id",
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
            "the version of this rotation no longer has AWSPENDING",
            "start the rotation again: aws secretsmanager rotate-secret",
        )
    return False


def _create(
    event: LambdaEvent, parts: RotationDependencies, remaining: Callable[[], float]
) -> None:
    """Finish an earlier rotation, then create a key and store it."""
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
    """Check that the API lists the key; there is nothing else to set."""
    facts = Workflow(parts, event.token).observe()
    key_id = facts.pending.key_id if facts.pending else ""
    if key_id and not facts.listed(key_id):
        raise RotationStopped(
            Exit.API,
            "the API does not list the new key",
            "AWS repeats the step; sidecar rotate removes a dead key",
        )
    if not facts.live(key_id):
        raise RotationStopped(
            Exit.CREDENTIAL,
            "the key of the pending version is not a live key of the service account",
            "remove it: sidecar rotate",
        )


def _test(event: LambdaEvent, parts: RotationDependencies) -> None:
    """Prove the key; a failure changes nothing, since AWS repeats the step."""
    proof = Actions(parts, RunMemory()).prove(event.token)
    if proof is not Proof.PROVEN:
        raise RotationStopped(
            Exit.API,
            f"the new key is not proven: the API is {proof} about it",
            "AWS repeats the step; sidecar rotate removes a refused key",
        )


def _check_promoted(event: LambdaEvent, parts: RotationDependencies) -> None:
    """Fail unless the key was promoted, so that AWS records a failure."""
    labels = parts.store.describe().labels
    # AWSPREVIOUS has been AWSCURRENT: a newer key may have followed in the grace.
    if event.token not in {labels.get(CURRENT), labels.get(PREVIOUS)}:
        raise RotationStopped(
            Exit.API,
            "the new key was not promoted, because it does not work or a newer one was "
            "stored by hand; the key in AWSCURRENT stays in use",
            "start the rotation again: aws secretsmanager rotate-secret",
        )
