"""Executes the steps of a rotation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from sidecar.core.rotation.facts import (
    Action,
    ApiKey,
    Create,
    Fence,
    Find,
    Promote,
    Proof,
    Prove,
    Revoke,
    RevokeReason,
    RotationFacts,
    RotationStopped,
    StorePending,
    Unmark,
    Wait,
)
from sidecar.core.secrecy.secret import Secret, parse_secret
from sidecar.errors import Exit, SecretRejected
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.secret_document import FENCE, NOTHING, CreatedKey, successor
from sidecar.rotation.snapshot import RunMemory

TICK_SECONDS: Final = 1.0


class Actions:
    """
    Executes steps, and records what cannot be read back later.

    Args:
        parts: the clients and the options.
        memory: the state of the run.
    """

    def __init__(self, parts: RotationDependencies, memory: RunMemory) -> None:
        self._parts = parts
        self._memory = memory

    def do(self, step: Action, facts: RotationFacts) -> RotationFacts | None:
        """Execute a step; return the new facts, or None if they must be read again."""
        match step:
            case Create():
                return self._create(step, facts)
            case StorePending():
                self._put(step, facts)
            case Fence():
                self._parts.store.put(step.version_id, FENCE)
            case Prove():
                self._memory.proofs[step.version_id] = self.prove(step.version_id)
            case Find():
                self._find(step.key_id)
            case Promote():
                self._promote(step)
            case Unmark():
                self._parts.store.unmark(step.version_id)
            case Wait():
                self._wait(step.seconds)
            case Revoke():
                self._revoke(step)
            case other:
                assert_never(other)
        return None

    def _create(self, step: Create, facts: RotationFacts) -> RotationFacts:
        """Create a key, after a check that the secret can hold it."""
        self._successor(facts, NOTHING)
        made = self._parts.keys.create(step.name)
        self._memory.made = made
        self._memory.note(held=made.key_id, own=made.key_id, begun=True)
        try:
            parse_secret(
                made.secret.reveal(), replace(self._parts.options.rules, json_key=None)
            )
        except SecretRejected as exc:
            # The key is never stored, so the plan must revoke it.
            self._memory.note(attempted=True)
            what = f"the API created a key that cannot be used: {exc.rule}"
            raise RotationStopped(Exit.API, what, exc.remedy) from None
        return replace(facts, held=made.key_id, begun=True)

    def _put(self, step: StorePending, facts: RotationFacts) -> None:
        """Store the held key."""
        value = self._successor(facts, self._memory.made)
        self._memory.note(attempted=True)
        self._parts.store.put(step.version_id, value)

    def _successor(self, facts: RotationFacts, made: CreatedKey) -> Secret:
        """Return the value that follows the current one."""
        current = facts.current
        read = self._parts.store.read(current.version_id) if current else None
        old = read.raw if read else None
        return successor(
            old, self._parts.options.rules, self._parts.options.api.account, made
        )

    def prove(self, version_id: str) -> Proof:
        """Call the API with the stored key, which the sidecars will read."""
        read = self._parts.store.read(version_id)
        if read is None:
            return Proof.REFUSED
        try:
            secret = parse_secret(read.raw.reveal(), self._parts.options.rules)
        except SecretRejected as exc:
            self._parts.say(f"version {version_id[:8]} cannot be used: {exc.rule}")
            return Proof.REFUSED
        return self._parts.keys.prove(secret)

    def _find(self, key_id: str) -> None:
        """Wait until the list has a key; a missing key is not an error here."""
        self._list_until(lambda keys: any(key.key_id == key_id for key in keys))
        self._memory.note(sought=self._memory.record.sought | {key_id})

    def _list_until(self, shows: Callable[[tuple[ApiKey, ...]], bool]) -> None:
        """Read the list until it shows a change, at most `settle_seconds`."""
        clock = self._parts.clock
        end = clock.monotonic() + self._parts.options.api.settle_seconds
        while not shows(self._parts.keys.list_keys()) and clock.monotonic() < end:
            clock.sleep(TICK_SECONDS)

    def _promote(self, step: Promote) -> None:
        """Move AWSCURRENT; the sidecars then change to the new key."""
        self._parts.store.promote(step.version_id, step.from_version_id)
        self._memory.note(begun=True)
        grace = self._parts.options.grace_seconds
        self._memory.grace_ends = self._parts.clock.monotonic() + grace

    def _wait(self, seconds: float) -> None:
        """Wait with progress; afterwards the proofs are outdated."""
        end = self._parts.clock.monotonic() + seconds
        while (left := end - self._parts.clock.monotonic()) > 0:
            self._parts.tick(left)
            self._parts.clock.sleep(min(left, TICK_SECONDS))
        self._memory.proofs.clear()

    def _revoke(self, step: Revoke) -> None:
        """Revoke a key and record it."""
        self._parts.keys.revoke(step.key_id)
        self._memory.note(revoked=self._memory.record.revoked | {step.key_id})
        if step.why is RevokeReason.LOST:
            self._memory.made = NOTHING
            self._memory.note(held="", lost=True)
        elif step.why is RevokeReason.REJECTED:
            self._memory.note(rejected=True)
        elif step.why is RevokeReason.SUPERSEDED:
            self._memory.note(finished=True)
        self._list_until(
            lambda keys: not any(k.live and k.key_id == step.key_id for k in keys)
        )
