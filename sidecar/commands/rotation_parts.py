"""From settings to a rotation; what `rotate`, `keys` and the Lambda handler share."""

import sys
import time
from collections.abc import Callable
from typing import Final

from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import SecretRules
from sidecar.errors import Exit, Problem, SettingsInvalid
from sidecar.rotation.assemble import assemble
from sidecar.rotation.aws_errors import Asker
from sidecar.rotation.client import secrets_manager
from sidecar.rotation.dependencies import RotationDependencies, Say, Tick, no_tick
from sidecar.rotation.options import (
    ApiOptions,
    Clock,
    ManagerOptions,
    RotationOptions,
)
from sidecar.settings import Settings
from sidecar.settings.models import RotationSettings
from sidecar.settings.tags import tags_of
from sidecar.settings.upstream import UpstreamSettings

CLOCK: Final = Clock(time.time, time.monotonic, time.sleep)
GRACE_REFRESHES: Final = 2

Options = RotationOptions | None


def options_of(settings: Settings) -> RotationOptions:
    """
    Take what a rotation needs out of the settings.

    Raises:
        SettingsInvalid: something that only a rotation needs is missing.
    """
    rotation = settings.rotation
    if rotation is None:
        reason = "is required to rotate keys"
        raise SettingsInvalid(
            [Problem("rotation.service_account_id", reason, '"sa_crm_sync"')]
        )
    name = rotation.upstream or next(iter(settings.upstreams))
    upstream = settings.upstreams[name]
    credential = upstream.credential
    grace = rotation.grace_seconds
    refresh = credential.refresh_seconds
    return RotationOptions(
        job=settings.job.name,
        secret_id=credential.secret_id or "",
        rules=SecretRules(
            json_key=credential.json_key,
            key_prefix=credential.key_prefix or "",
            scheme=credential.scheme,
            header=credential.header,
        ),
        api=_api(rotation, upstream),
        manager=ManagerOptions(
            secret_id=rotation.credential.secret_id or "",
            file=rotation.credential.file,
            json_key=rotation.credential.json_key,
        ),
        grace_seconds=GRACE_REFRESHES * refresh if grace is None else grace,
        tags=tags_of(settings.job),
    )


def _api(rotation: RotationSettings, upstream: UpstreamSettings) -> ApiOptions:
    """Take what the key API's client needs."""
    return ApiOptions(
        base_url=upstream.base_url,
        ca_file=upstream.ca_file,
        account=rotation.service_account_id,
        create_operation=rotation.create_operation,
        list_operation=rotation.list_operation,
        revoke_operation=rotation.revoke_operation,
        name_field=rotation.name_field,
        id_field=rotation.id_field,
        key_field=rotation.key_field,
        list_field=rotation.list_field,
        probe=upstream.credential.probe or "",
    )


def parts_of(
    settings: Settings, say: Say, tick: Tick = no_tick, options: Options = None
) -> RotationDependencies:
    """
    Connect everything.

    Args:
        settings: region, endpoint, and the options.
        say: takes progress.
        tick: takes the progress of a wait.
        options: instead of those of the settings.

    Raises:
        SettingsInvalid: something that only a rotation needs is missing.
        RotationStopped: the AWS set-up of this machine cannot be used.
    """
    chosen = options or options_of(settings)
    aws = settings.aws
    client = Asker(CLOCK.now).ask(
        "setting up AWS", lambda: secrets_manager(aws.region, aws.endpoint_url)
    )
    return assemble(chosen, client, CLOCK, say, tick)


def guarded(act: Callable[[], None]) -> Exit:
    """Run, and turn the ways to stop into a message and an exit code."""
    try:
        act()
    except RotationStopped as exc:
        print(f"sidecar: {exc.reason}", file=sys.stderr)
        print(f"sidecar: what to do: {exc.remedy}", file=sys.stderr)
        return exc.exit
    except KeyboardInterrupt:
        print("sidecar: interrupted; the next run goes on from here", file=sys.stderr)
        return Exit.UNEXPECTED
    return Exit.OK
