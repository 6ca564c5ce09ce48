"""Puts a rotation together: real AWS, a real API, for given options."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core.rotation.facts import RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules, parse_secret
from sidecar.errors import Exit, SecretRejected
from sidecar.rotation.dependencies import RotationDependencies, Say, Tick, no_tick
from sidecar.rotation.http import Caller
from sidecar.rotation.key_api import KeyApi
from sidecar.rotation.options import Clock, ManagerOptions, RotationOptions
from sidecar.rotation.store import SecretStore

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A key is 20 to 4,096 characters; a file that is larger is something else.
MAX_FILE_BYTES: Final = 65536


def assemble(
    options: RotationOptions,
    client: "SecretsManagerClient",
    clock: Clock,
    say: Say,
    tick: Tick = no_tick,
) -> RotationDependencies:
    """Connect what a rotation needs; nothing is called yet."""
    api = options.api
    caller = Caller(api.base_url, api.ca_file, api.call_seconds, clock.monotonic)
    manager = Manager(options.manager, options.rules, client, clock.now)
    return RotationDependencies(
        options=options,
        store=SecretStore(client, options.secret_id, clock.now),
        keys=KeyApi(api, options.rules, manager.secret, caller, clock),
        clock=clock,
        say=say,
        tick=tick,
    )


class Manager:
    """
    Gives the key that may manage keys.

    Args:
        options: where it is.
        rules: how keys of this API are sent; only the place within a value differs.
        client: for a secret in Secrets Manager.
        now: Unix seconds.
    """

    def __init__(
        self,
        options: ManagerOptions,
        rules: SecretRules,
        client: "SecretsManagerClient",
        now: Callable[[], float],
    ) -> None:
        self._options = options
        # Another service account, so perhaps another kind of key.
        self._rules = replace(rules, json_key=options.json_key, key_prefix="")
        self._store = SecretStore(client, options.secret_id, now)
        self._secret: Secret | None = None

    def secret(self, fresh: bool) -> Secret:
        """
        Give the key.

        Args:
            fresh: read it anew, because it was refused.

        Raises:
            RotationStopped: it cannot be read, or is no key.
        """
        if self._secret is None or fresh:
            self._secret = self._load()
        return self._secret

    def _load(self) -> Secret:
        """Read and check it."""
        try:
            return parse_secret(self._read().reveal(), self._rules)
        except SecretRejected as exc:
            reason, remedy = exc.rule, exc.remedy
        what = f"the secret of [rotation.credential]: {reason}"
        raise RotationStopped(Exit.CREDENTIAL, what, remedy)

    def _read(self) -> Secret:
        """Read it from where it is."""
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
