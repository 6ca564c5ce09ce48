"""Builds a rotation from the settings: options, AWS client, API client, manager's key."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.aws.client import ROTATION, secrets_manager_client
from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules, parse_secret
from sidecar.errors import Exit, Problem, SecretRejected, SettingsInvalid
from sidecar.http_client import HttpClient
from sidecar.rotation.dependencies import RotationDependencies, Say, Tick, no_tick
from sidecar.rotation.key_api import KeyApi
from sidecar.rotation.options import (
    ApiOptions,
    Clock,
    RotationOptions,
)
from sidecar.rotation.store import AwsCaller, SecretStore
from sidecar.settings.model import Settings
from sidecar.settings.tables import (
    JobSettings,
    RotationSettings,
    SecretSettings,
    UpstreamSettings,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CLOCK: Final = Clock(time.time, time.monotonic, time.sleep)
GRACE_REFRESHES: Final = 2
"""Default grace, in refresh intervals of the sidecars."""
MAX_FILE_BYTES: Final = 65536
"""A key has 20 to 4,096 characters; a larger file is not a key."""


def options_of(settings: Settings) -> RotationOptions:
    """
    Return the options of a rotation.

    Raises:
        SettingsInvalid: `[rotation]` is missing.
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
        rules=credential.rules,
        api=_api(rotation, upstream),
        manager=rotation.credential,
        grace_seconds=GRACE_REFRESHES * refresh if grace is None else grace,
        tags=tags_of(settings.job),
    )


def _api(rotation: RotationSettings, upstream: UpstreamSettings) -> ApiOptions:
    """Return the options of the key API's client."""
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


def tags_of(job: JobSettings) -> dict[str, str]:
    """
    Return the tags that the secret of a job should have.

    The owner of the API asks for service, owner and rotation schedule beside the key.
    A setting that is unset gives no tag. config/iam/rotator.json allows these tags only.
    """
    tags = {"service": job.name, "environment": job.environment}
    if job.owner is not None:
        tags["owner"] = job.owner
    if job.rotate_every_days is not None:
        tags["rotate-every-days"] = str(job.rotate_every_days)
    return tags


def connect(
    settings: Settings,
    say: Say,
    tick: Tick = no_tick,
    options: RotationOptions | None = None,
) -> RotationDependencies:
    """
    Make the clients of a rotation; nothing is called yet.

    Args:
        settings: region, endpoint, and the options.
        say: takes a line of progress.
        tick: takes the seconds that are left of a wait.
        options: replaces the options from the settings.

    Raises:
        SettingsInvalid: `[rotation]` is missing.
        RotationStopped: the AWS configuration of this machine is unusable.
    """
    chosen = options or options_of(settings)
    aws = settings.aws
    client = AwsCaller(CLOCK.now).call(
        "setting up AWS",
        lambda: secrets_manager_client(aws.region, aws.endpoint_url, ROTATION),
    )
    return assemble(chosen, client, CLOCK, say, tick)


def assemble(
    options: RotationOptions,
    client: "SecretsManagerClient",
    clock: Clock,
    say: Say,
    tick: Tick = no_tick,
) -> RotationDependencies:
    """Connect the parts of a rotation to an AWS client; nothing is called yet."""
    api = options.api
    client_of_api = HttpClient(
        api.base_url, api.ca_file, api.call_seconds, clock.monotonic
    )
    manager = ManagerKey(options.manager, options.rules, client, clock.now)
    return RotationDependencies(
        options=options,
        store=SecretStore(client, options.secret_id, clock.now),
        keys=KeyApi(api, options.rules, manager.secret, client_of_api, clock),
        clock=clock,
        say=say,
        tick=tick,
    )


class ManagerKey:
    """
    Reads the key with which keys are managed, and caches it.

    Args:
        options: the place of the key.
        rules: the rules for keys of this API; `json_key` comes from the options.
        client: reads the key if it is in Secrets Manager.
        now: Unix seconds.
    """

    def __init__(
        self,
        options: SecretSettings,
        rules: SecretRules,
        client: "SecretsManagerClient",
        now: Callable[[], float],
    ) -> None:
        self._options = options
        # The key of another service account may have another prefix.
        self._rules = replace(rules, json_key=options.json_key, key_prefix="")
        self._store = SecretStore(client, options.secret_id or "", now)
        self._secret: Secret | None = None

    def secret(self, fresh: bool) -> Secret:
        """
        Return the key.

        Args:
            fresh: read it again, because the API refused the cached one.

        Raises:
            RotationStopped: the value cannot be read, or is not a key.
        """
        if self._secret is None or fresh:
            self._secret = self._load()
        return self._secret

    def _load(self) -> Secret:
        """Read and check the key."""
        try:
            return parse_secret(self._read().reveal(), self._rules)
        except SecretRejected as exc:
            reason, remedy = exc.rule, exc.remedy
        what = f"the secret of [rotation.credential]: {reason}"
        raise RotationStopped(Exit.CREDENTIAL, what, remedy)

    def _read(self) -> Secret:
        """Read the value from the file or the secret."""
        file = self._options.file
        if file is None:
            return self._store.read_current()
        try:
            with file.open("rb") as stream:
                return Secret(stream.read(MAX_FILE_BYTES).decode("ascii"))
        except (OSError, UnicodeDecodeError) as exc:
            reason = type(exc).__name__
        what = f"the file of [rotation.credential] cannot be read: {reason}"
        raise RotationStopped(
            Exit.CREDENTIAL, what, "correct [rotation.credential] file"
        )
