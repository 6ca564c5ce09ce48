"""
The entry of the Lambda function: one step a call.

Settings come from the function's environment, or from a file of a layer that
`SIDECAR_CONFIG` names.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from sidecar.commands.rotation_parts import parts_of
from sidecar.core.secrecy.redaction import Redactor
from sidecar.hardening import harden
from sidecar.log import configure, get_logger
from sidecar.rotation.lambda_steps import LambdaEvent, handle as handle_step, read_event
from sidecar.settings.loading import load

FOREVER_SECONDS = float("inf")


def handle(event: Mapping[str, object], context: object) -> None:
    """
    Do one step of a rotation.

    Raises:
        RotationStopped: it has failed; AWS shows the message.
        SettingsInvalid: `SIDECAR_*` of the function are not right.
    """
    harden()
    path = os.environ.get("SIDECAR_CONFIG")
    settings = load(Path(path) if path else None, os.environ)
    configure(settings.log.level, settings.log.format, Redactor())
    asked = read_event(event)
    parts = parts_of(settings, _sayer(asked))
    handle_step(asked, parts, _remaining(context))


def _sayer(asked: LambdaEvent) -> Callable[[str], None]:
    """Log progress: CloudWatch shows it by the version that is rotated."""
    log = get_logger(__name__).bind(step=asked.step, version=asked.token[:8])

    def say(line: str) -> None:
        log.info("rotation_progress", detail=line)

    return say


def _remaining(context: object) -> Callable[[], float]:
    """Tell how long this invocation may last; without AWS's context for ever."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: left() / 1000) if callable(left) else (lambda: FOREVER_SECONDS)
