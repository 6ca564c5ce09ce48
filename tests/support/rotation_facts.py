"""RotationFacts of a rotation for tests: every situation a run can find, by name."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sidecar.core.rotation.facts import (
    ApiKey,
    Proof,
    RotationFacts,
    RotationRequest,
    Version,
)
from sidecar.core.rotation.key_naming import KeyNaming

MARKS: Final = KeyNaming(
    "production-crm-sync", "arn:aws:secretsmanager:eu-west-1:1:secret:s"
)
ACCOUNT: Final = "sa_crm_sync"
NOW, EARLIER, LATER = 1000.0, 500.0, 1500.0
C0, P0, AWS_TOKEN, STRANGE = "c0" * 16, "p0" * 16, "a7" * 16, "f0" * 16
SLOT: Final = MARKS.next_version_id(C0, 0)
NEXT_SLOT: Final = MARKS.next_version_id(C0, 1)
OLD_SLOT: Final = MARKS.next_version_id(P0, 0)

CURRENTS: Final = {
    "no-current": None,
    "current-live": Version(C0, "k_current", ACCOUNT, NOW),
    "current-dead": Version(C0, "k_dead_current", ACCOUNT, NOW),
    "current-without-id": Version(C0, "", "", NOW),
}
PREVIOUSES: Final = {
    "no-previous": None,
    "previous-live": Version(P0, "k_previous", ACCOUNT, EARLIER),
    "previous-dead": Version(P0, "k_dead_previous", ACCOUNT, EARLIER),
    "previous-without-id": Version(P0, "", "", EARLIER),
}
PENDINGS: Final = {
    "no-pending": None,
    "pending-in-our-slot": Version(SLOT, "k_pending", ACCOUNT, LATER),
    "pending-of-the-lambda": Version(AWS_TOKEN, "k_lambda", ACCOUNT, LATER),
    "pending-key-dead": Version(SLOT, "k_dead_pending", ACCOUNT, LATER),
    "pending-not-listed": Version(SLOT, "k_unlisted", ACCOUNT, LATER),
    "pending-overtaken": Version(SLOT, "k_pending", ACCOUNT, EARLIER),
    "pending-copied-to-current": Version(SLOT, "k_current", ACCOUNT, EARLIER),
    "pending-is-current-and-later": Version(SLOT, "k_current", ACCOUNT, LATER),
    "pending-of-before-not-listed": Version(OLD_SLOT, "k_gone", ACCOUNT, EARLIER),
    "pending-fence": Version(SLOT, fence=True, created=LATER),
    "pending-without-value": Version(AWS_TOKEN, created=LATER),
    "pending-of-another-account": Version(SLOT, "k_pending", "sa_other", LATER),
    "pending-with-a-strange-key": Version(STRANGE, "k_strange", ACCOUNT, LATER),
    "pending-on-current": "current",
}
ORPHANS: Final = {
    "no-orphan": (),
    "orphan-of-the-slot": (ApiKey("k_orphan", MARKS.name_for(SLOT)),),
    "orphan-of-the-next-slot": (ApiKey("k_orphan", MARKS.name_for(NEXT_SLOT)),),
    "orphan-of-old": (ApiKey("k_orphan", MARKS.name_for("0" * 32)),),
}
ORDERS: Final = {
    "rotate": RotationRequest(),
    "finish": RotationRequest(begin=False),
    "replace": RotationRequest(again=True),
    "first": RotationRequest(first=True),
}
KEYS: Final = (
    ApiKey("k_current", MARKS.name_for(C0)),
    ApiKey("k_dead_current", MARKS.name_for(C0), live=False),
    ApiKey("k_previous", MARKS.name_for(P0)),
    ApiKey("k_pending", MARKS.name_for(SLOT)),
    ApiKey("k_dead_pending", MARKS.name_for(SLOT), live=False),
    ApiKey("k_lambda", MARKS.name_for(AWS_TOKEN)),
    ApiKey("k_strange", "made-by-hand"),
    ApiKey("k_by_hand", "somebody-elses-key"),
)


def make(
    current: str = "current-live",
    pending: str = "no-pending",
    previous: str = "no-previous",
    orphan: str = "no-orphan",
    **more: Any,
) -> RotationFacts:
    """Put a situation together from the names above."""
    now = CURRENTS[current]
    found = PENDINGS[pending]
    waiting = now if isinstance(found, str) else found
    versions = (now, waiting, PREVIOUSES[previous])
    named = {version.key_id for version in versions if version}
    # A key that its version names no longer is left out: it would be one more orphan.
    keys = [k for k in KEYS if k.key_id in named or k.name == "somebody-elses-key"]
    current_id = now.version_id if now else ""
    attempts = {SLOT} if waiting and waiting.version_id == SLOT else set()
    facts = RotationFacts(
        naming=MARKS,
        account=ACCOUNT,
        next_version_id=MARKS.free_version_id(current_id, attempts),
        current=now,
        pending=waiting,
        previous=PREVIOUSES[previous],
        attempts=frozenset(attempts),
        fenced=frozenset(attempts) if waiting and waiting.fence else frozenset(),
        keys=(*keys, *ORPHANS[orphan]),
    )
    return replace(facts, seen=seen_in(facts), **more)


def seen_in(facts: RotationFacts) -> frozenset[str]:
    """Collect the ids that a run has seen in use when it looks once."""
    versions = (facts.current, facts.previous)
    return frozenset(v.key_id for v in versions if v and v.key_id)


def forget(facts: RotationFacts) -> RotationFacts:
    """What the next run finds after this one is killed."""
    kept = replace(
        facts,
        held="",
        attempted=False,
        lost=False,
        begun=False,
        finished=False,
        rejected=False,
        own="",
        sought=frozenset(),
        revoked=frozenset(),
        current=untried(facts.current),
        pending=untried(facts.pending),
    )
    return replace(kept, seen=seen_in(kept))


def untried(version: Version | None) -> Version | None:
    """Forget a proof."""
    return version and replace(version, proof=Proof.UNTRIED)


def situations(grace_left: float) -> Iterator[tuple[str, RotationFacts]]:
    """Every combination of what a run can find before it has done anything."""
    for names in itertools.product(CURRENTS, PENDINGS, PREVIOUSES, ORPHANS):
        current, pending, previous, orphan = names
        facts = make(current, pending, previous, orphan, grace_left=grace_left)
        yield " ".join(names), facts
