"""
A secret and an API in memory, for the rotation's logic: every call is counted.

`World.hook` is called before and after each call: a test may kill the run there, let
another run go on, or make the call fail. The secret keeps the conditions of AWS Secrets
Manager, which the emulator does not all keep: one value for one token, labels moved
only from where they are.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.core.rotation.facts import ApiKey, Proof
from sidecar.core.secrecy.secret import Secret, SecretRules
from sidecar.errors import Exit
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.key_api import KeyApi
from sidecar.rotation.options import (
    ApiOptions,
    Clock,
    RotationOptions,
)
from sidecar.rotation.secret_document import CreatedKey
from sidecar.rotation.store import (
    Conflict,
    Deleted,
    DescribedSecret,
    NotThere,
    Read,
    SecretStore,
)
from sidecar.rotation.workflow import Workflow
from sidecar.settings.tables import SecretSettings

ACCOUNT: Final = "sa_crm_sync"
JOB: Final = "production-crm-sync"
ARN: Final = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/crm-AbCdEf"
FIRST: Final = "c0c0c0c0-0000-4000-8000-000000000000"
GRACE_SECONDS: Final = 600.0

OPTIONS: Final = RotationOptions(
    job=JOB,
    secret_id="prod/crm",
    rules=SecretRules(json_key="api_key", key_prefix="fln_live_"),
    api=ApiOptions(base_url="https://api.example/v1", account=ACCOUNT),
    manager=SecretSettings(secret_id="prod/manager"),
    grace_seconds=GRACE_SECONDS,
    tags={"service": JOB, "environment": "production"},
)


class Killed(BaseException):
    """`kill -9`: nothing can catch it, nothing is cleaned up."""


def nothing(name: str, when: str) -> None:
    """Let a call go well."""
    del name, when


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    seconds: float = 1_000_000.0
    slept: float = 0.0

    def now(self) -> float:
        """Wall clock."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.slept += seconds

    def clock(self) -> Clock:
        """The clock that the code under test is given."""
        return Clock(self.now, self.now, self.sleep)


@dataclass
class World:
    """Secret, API and time, shared by all runs of a test."""

    time: FakeTime = field(default_factory=FakeTime)
    versions: dict[str, Read | None] = field(default_factory=dict)
    """None = no value yet, as AWS makes a version when it rotates."""
    labels: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    exists: bool = True
    """Whether the secret can no longer be made; nothing else looks at it."""
    deleted: bool = False
    rotates: bool | None = None
    keys: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    """Id -> name, plaintext, live."""
    proofs: dict[str, Proof] = field(default_factory=dict)
    """Plaintext -> what the API says to it instead of the truth."""
    lists_dead: bool = True
    """Whether revoked keys stay in the API's list."""
    lag_seconds: float = 0.0
    """How long the list does not know of a key that was just made or revoked."""
    born: dict[str, float] = field(default_factory=dict)
    died: dict[str, float] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    hook: Callable[[str, str], None] = nothing
    served_dead: list[str] = field(default_factory=list)
    """Calls after which neither AWSCURRENT nor AWSPREVIOUS worked, though they did."""
    changed: float = 0.0
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @classmethod
    def ready(cls, *, key_id: bool = True) -> "World":
        """A secret in use; without `key_id`, one that was made by hand."""
        world = cls()
        world.keys["k0"] = ("production-crm-sync", "fln_live_zero", True)
        value = {"api_key": "fln_live_zero", "region": "eu"}
        if key_id:
            value |= {"key_id": "k0", "service_account_id": ACCOUNT}
        world.versions[FIRST] = Read(Secret(json.dumps(value)), FIRST, 1.0)
        world.labels["AWSCURRENT"] = FIRST
        return world

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Count a call, with a chance to be killed before and after."""
        self.hook(name, "before")
        self.calls.append(name)
        yield
        if self.versions.get(FIRST) and not (self.works() or self.works("AWSPREVIOUS")):
            self.served_dead.append(name)
        self.hook(name, "after")

    def plaintext(self, label: str = "AWSCURRENT") -> str:
        """Read the key under a label; empty when there is none."""
        read = self.versions.get(self.labels.get(label, ""))
        text = read.raw.reveal() if read else "{}"
        return str(json.loads(text).get("api_key", "")) if text[0] == "{" else text

    def works(self, label: str = "AWSCURRENT") -> bool:
        """Tell whether the API accepts the key under a label."""
        live = {secret for _, secret, live in self.keys.values() if live}
        return self.plaintext(label) in live

    def live(self) -> list[str]:
        """List the ids of live keys."""
        return [key_id for key_id, (_, _, live) in self.keys.items() if live]

    def lately(self, moments: Mapping[str, float], key_id: str) -> bool:
        """Tell whether something is too new for the list."""
        end = moments.get(key_id, -math.inf) + self.lag_seconds
        return bool(self.lag_seconds) and end > self.time.now()

    def parts(self, **changes: Any) -> RotationDependencies:
        """Make what a run works with."""
        options = changes.pop("options", OPTIONS)
        store, keys = FakeStore(self), FakeKeys(self)
        return RotationDependencies(
            options, store, keys, self.time.clock(), self.said.append
        )

    def workflow(self, **changes: Any) -> Workflow:
        """Make a run."""
        next_version_id = changes.pop("next_version_id", "")
        return Workflow(self.parts(**changes), next_version_id)


class FakeStore(SecretStore):
    """One secret."""

    def __init__(self, world: World) -> None:
        self._world = world

    def describe(self) -> DescribedSecret:
        """Tell the labels."""
        world = self._world
        with world.call("DescribeSecret"):
            if world.deleted:
                raise Deleted(
                    Exit.CREDENTIAL, "the secret is to be deleted", "restore it"
                )
            return DescribedSecret(
                arn=ARN,
                labels=dict(world.labels),
                changed=world.changed,
                tags=dict(world.tags),
                rotates=world.rotates,
            )

    def version_ids(self) -> frozenset[str]:
        """Tell every version."""
        with self._world.call("ListSecretVersionIds"):
            return frozenset(self._world.versions)

    def read(self, version_id: str) -> Read | None:
        """Read a version."""
        with self._world.call("GetSecretValue"):
            if version_id not in self._world.versions:
                raise NotThere(
                    Exit.CREDENTIAL, "there is no such version", "look again"
                )
            return self._world.versions[version_id]

    def put(self, token: str, value: Secret) -> None:
        """Store a value: a version's value is set once."""
        world = self._world
        with world.call("PutSecretValue"):
            known = world.versions.get(token)
            if known is not None and known.raw != value:
                raise Conflict
            world.versions[token] = known or Read(value, token, world.time.now())
            world.labels["AWSPENDING"] = token
            world.labels.setdefault("AWSCURRENT", token)
            world.changed = world.time.now()

    def promote(self, version_id: str, from_version_id: str) -> None:
        """Move AWSCURRENT from where it was seen."""
        world = self._world
        with world.call("UpdateSecretVersionStage"):
            if world.labels["AWSCURRENT"] != from_version_id:
                raise Conflict
            world.labels["AWSCURRENT"] = version_id
            world.labels["AWSPREVIOUS"] = from_version_id
            world.changed = world.time.now()

    def unmark(self, version_id: str) -> None:
        """Take AWSPENDING off."""
        world = self._world
        with world.call("UpdateSecretVersionStage"):
            if world.labels.get("AWSPENDING") != version_id:
                raise Conflict
            del world.labels["AWSPENDING"]

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        with self._world.call("TagResource"):
            self._world.tags |= tags

    def make(self, tags: Mapping[str, str]) -> None:
        """Make the secret, unless it is there."""
        with self._world.call("CreateSecret"):
            if self._world.exists:
                raise Conflict
            self._world.exists = True
            self._world.tags |= tags


class FakeKeys(KeyApi):
    """One service account."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, name: str) -> CreatedKey:
        """Make a key."""
        world = self._world
        with world.call("create"):
            number = len(world.keys)
            world.born[f"k{number}"] = world.time.now()
            world.keys[f"k{number}"] = (name, f"fln_live_{number}", True)
        return CreatedKey(
            f"k{number}", Secret(f"fln_live_{number}"), "2026-01-01T00:00:00Z"
        )

    def list_keys(self) -> tuple[ApiKey, ...]:
        """List the keys."""
        world = self._world
        with world.call("list"):
            return tuple(
                ApiKey(key_id, name, live or world.lately(world.died, key_id))
                for key_id, (name, _, live) in world.keys.items()
                if (live or world.lists_dead) and not world.lately(world.born, key_id)
            )

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; a second time it is not there."""
        with self._world.call("revoke"):
            name, secret, live = self._world.keys.get(key_id, ("", "", False))
            if live:
                self._world.keys[key_id] = (name, secret, False)
                self._world.died[key_id] = self._world.time.now()
            return live

    def prove(self, secret: Secret) -> Proof:
        """Tell whether a key works."""
        world = self._world
        with world.call("prove"):
            live = {text for _, text, live in world.keys.values() if live}
            told = Proof.PROVEN if secret.reveal() in live else Proof.REFUSED
            return world.proofs.get(secret.reveal(), told)
