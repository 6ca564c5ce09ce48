"""
The plan of a rotation: named cases, then every case there is.

The exhaustive tests play the plan forward from each situation that a run can find,
kill the run after every step, and let the next one go on without its memory.
"""

from dataclasses import replace

import pytest

from sidecar.core.rotation.facts import (
    ApiKey,
    Create,
    Done,
    Fence,
    Find,
    Promote,
    Proof,
    Prove,
    Refuse,
    Revoke,
    RevokeReason,
    RotationFacts,
    RotationRequest,
    Step,
    StorePending,
    Unmark,
    Wait,
)
from sidecar.core.rotation.ownership import unnamed_keys
from sidecar.core.rotation.plan import plan
from sidecar.core.rotation.preview import after, preview, prove
from sidecar.core.rotation.refusals import (
    BROKEN,
    EMPTY,
    FOREIGN,
    LOST,
    OCCUPIED,
    REJECTED,
    UNDEAD,
    UNLISTED,
    UNPROVEN,
    UNUSED,
)
from tests.support.rotation_facts import (
    AWS_TOKEN,
    C0,
    MARKS,
    NEXT_SLOT,
    ORDERS,
    SLOT,
    forget,
    make,
    situations,
)

NAME = MARKS.name_for(SLOT)
GRACE = 600.0


@pytest.mark.parametrize(
    ("facts", "order", "step"),
    [
        # Realistic
        pytest.param(make(), RotationRequest(), Create(SLOT, NAME), id="begin"),
        pytest.param(
            make(held="k_new"),
            RotationRequest(),
            StorePending(SLOT),
            id="store-what-is-held",
        ),
        pytest.param(
            make(pending="pending-in-our-slot"),
            RotationRequest(),
            Prove(SLOT),
            id="prove",
        ),
        pytest.param(
            prove(make(pending="pending-in-our-slot"), SLOT, Proof.PROVEN),
            RotationRequest(),
            Promote(SLOT, C0),
            id="promote",
        ),
        pytest.param(
            make(pending="pending-on-current"),
            RotationRequest(),
            Unmark(C0),
            id="label-left",
        ),
        pytest.param(
            prove(make(previous="previous-live", grace_left=9.0), C0, Proof.PROVEN),
            RotationRequest(),
            Wait(9.0),
            id="wait-the-grace",
        ),
        pytest.param(
            make(previous="previous-live"),
            RotationRequest(),
            Prove(C0),
            id="prove-again",
        ),
        pytest.param(
            prove(make(previous="previous-live"), C0, Proof.PROVEN),
            RotationRequest(),
            Revoke("k_previous", RevokeReason.SUPERSEDED),
            id="revoke",
        ),
        pytest.param(make(begun=True), RotationRequest(), Prove(C0), id="sure"),
        pytest.param(
            make(finished=True), RotationRequest(), Done(), id="finishing-is-enough"
        ),
        pytest.param(
            make(finished=True),
            RotationRequest(again=True),
            Create(SLOT, NAME),
            id="leaked",
        ),
        pytest.param(
            make(), RotationRequest(begin=False), Done(), id="nothing-unfinished"
        ),
        # What a run that died leaves
        pytest.param(
            make(orphan="orphan-of-the-slot"),
            RotationRequest(),
            Fence(SLOT),
            id="fence-orphan",
        ),
        pytest.param(
            make(pending="pending-fence", orphan="orphan-of-the-slot"),
            RotationRequest(),
            Revoke("k_orphan", RevokeReason.ORPHANED),
            id="revoke-fenced-orphan",
        ),
        pytest.param(
            make(pending="pending-fence"),
            RotationRequest(),
            Create(NEXT_SLOT, MARKS.name_for(NEXT_SLOT)),
            id="begin-behind-the-fence",
        ),
        pytest.param(
            make(pending="pending-fence"),
            RotationRequest(begin=False),
            Unmark(SLOT),
            id="clear",
        ),
        pytest.param(
            make(pending="pending-key-dead"),
            RotationRequest(),
            Unmark(SLOT),
            id="dead-pending",
        ),
        pytest.param(
            make(pending="pending-of-the-lambda"),
            RotationRequest(),
            Prove(AWS_TOKEN),
            id="adopt",
        ),
        pytest.param(
            prove(make(orphan="orphan-of-old"), C0, Proof.PROVEN),
            RotationRequest(begin=False),
            Revoke("k_orphan", RevokeReason.SUPERSEDED),
            id="forgotten-key",
        ),
        # What other people do
        pytest.param(
            make(pending="pending-overtaken"),
            RotationRequest(),
            Revoke("k_pending", RevokeReason.OVERTAKEN),
            id="a-newer-key-was-stored-by-hand",
        ),
        pytest.param(
            make(pending="pending-copied-to-current"),
            RotationRequest(),
            Unmark(SLOT),
            id="copied-by-hand",
        ),
        pytest.param(
            prove(make(pending="pending-is-current-and-later"), SLOT, Proof.REFUSED),
            RotationRequest(),
            Unmark(SLOT),
            id="copied-by-hand-refused",
        ),
        pytest.param(
            make("current-without-id", pending="pending-overtaken"),
            RotationRequest(),
            Unmark(SLOT),
            id="copied-by-hand-perhaps",
        ),
        pytest.param(
            make("current-without-id", previous="previous-live"),
            RotationRequest(begin=False),
            Done(),
            id="the-key-before-may-be-the-one-in-use",
        ),
        pytest.param(
            make(
                pending="pending-of-before-not-listed", previous="previous-without-id"
            ),
            RotationRequest(),
            Revoke("k_gone", RevokeReason.OVERTAKEN),
            id="ours-though-no-longer-listed",
        ),
        pytest.param(
            make(pending="pending-without-value"),
            RotationRequest(),
            FOREIGN,
            id="aws-rotates",
        ),
        pytest.param(
            make(pending="pending-of-another-account"),
            RotationRequest(),
            FOREIGN,
            id="account",
        ),
        pytest.param(
            make(pending="pending-with-a-strange-key"),
            RotationRequest(),
            FOREIGN,
            id="strange",
        ),
        # What the API answers
        pytest.param(
            prove(make(pending="pending-in-our-slot"), SLOT, Proof.REFUSED),
            RotationRequest(),
            Revoke("k_pending", RevokeReason.REJECTED),
            id="refused-key",
        ),
        pytest.param(
            make(rejected=True), RotationRequest(), REJECTED, id="say-refused"
        ),
        pytest.param(
            prove(make(pending="pending-in-our-slot"), SLOT, Proof.SILENT),
            RotationRequest(),
            UNPROVEN,
            id="silent-about-pending",
        ),
        pytest.param(
            prove(make(previous="previous-live"), C0, Proof.SILENT),
            RotationRequest(),
            UNPROVEN,
            id="silent-about-current",
        ),
        pytest.param(
            prove(make(previous="previous-live", begun=True), C0, Proof.REFUSED),
            RotationRequest(),
            BROKEN,
            id="new-key-revoked-in-the-grace",
        ),
        pytest.param(
            make("current-dead", previous="previous-live"),
            RotationRequest(),
            Create(SLOT, NAME),
            id="rolled-back",
        ),
        pytest.param(
            make("current-dead", previous="previous-live"),
            RotationRequest(begin=False),
            BROKEN,
            id="rolled-back-finish",
        ),
        # What the list does not show
        pytest.param(
            make(pending="pending-not-listed"),
            RotationRequest(),
            Prove(SLOT),
            id="unlisted",
        ),
        pytest.param(
            prove(make(pending="pending-not-listed"), SLOT, Proof.PROVEN),
            RotationRequest(),
            Find("k_unlisted"),
            id="proven-but-unlisted",
        ),
        pytest.param(
            prove(
                make(pending="pending-not-listed", sought=frozenset({"k_unlisted"})),
                SLOT,
                Proof.PROVEN,
            ),
            RotationRequest(),
            UNLISTED,
            id="not-found",
        ),
        pytest.param(
            make(pending="pending-not-listed", revoked=frozenset({"k_unlisted"})),
            RotationRequest(),
            Unmark(SLOT),
            id="revoked-and-so-unlisted",
        ),
        pytest.param(
            make(previous="previous-live", revoked=frozenset({"k_previous"})),
            RotationRequest(),
            UNDEAD,
            id="revoked-and-still-live",
        ),
        pytest.param(
            make(begun=True, keys=()),
            RotationRequest(),
            Find("k_current"),
            id="promoted",
        ),
        pytest.param(
            make(begun=True, keys=(), sought=frozenset({"k_current"})),
            RotationRequest(),
            UNLISTED,
            id="promoted-not-found",
        ),
        pytest.param(
            prove(make(begun=True, own="k_new"), C0, Proof.PROVEN),
            RotationRequest(),
            UNUSED,
            id="made-for-nothing",
        ),
        pytest.param(
            prove(make(begun=True, own="k_current"), C0, Proof.PROVEN),
            RotationRequest(),
            Done(),
            id="made-and-in-use",
        ),
        # Two runs at once
        pytest.param(
            make(held="k_new", attempted=True),
            RotationRequest(),
            Revoke("k_new", RevokeReason.LOST),
            id="not-stored",
        ),
        pytest.param(make(lost=True), RotationRequest(), LOST, id="say-lost"),
        # The first key
        pytest.param(make("no-current"), RotationRequest(), EMPTY, id="empty"),
        pytest.param(make(), RotationRequest(first=True), OCCUPIED, id="occupied"),
        pytest.param(
            make("no-current"),
            RotationRequest(first=True),
            Create(
                MARKS.next_version_id("", 0),
                MARKS.name_for(MARKS.next_version_id("", 0)),
            ),
            id="first",
        ),
        pytest.param(
            replace(
                make("no-current"),
                keys=(ApiKey("k_o", MARKS.name_for(MARKS.next_version_id("", 0))),),
            ),
            RotationRequest(first=True),
            Revoke("k_o", RevokeReason.ORPHANED),
            id="first-after-a-crash",
        ),
    ],
)
def test_the_next_step(
    facts: RotationFacts, order: RotationRequest, step: Step
) -> None:
    """Each situation has one next step."""
    assert plan(facts, order) == step


def test_every_order_in_every_situation_keeps_the_rules_and_ends() -> None:
    """No key that serves is revoked, and a run that ends well leaves one key."""
    for name, facts in situations(GRACE):
        for kind, order in ORDERS.items():
            end = play(facts, order, f"{kind}: {name}")[-1][0]
            if plan(end, order) == Done():
                check_end(end, f"{kind}: {name}")


def test_a_run_killed_after_any_step_is_taken_up_by_the_next() -> None:
    """Nothing is lost, nothing is left, and never more than one key serves."""
    for name, facts in situations(0.0):
        if facts.current is None:
            continue
        for reached, _ in play(facts, RotationRequest(), name):
            found = forget(reached)
            end = play(found, RotationRequest(), f"killed: {name}")[-1][0]
            if plan(end, RotationRequest()) == Done():
                check_end(end, f"killed: {name}")


def play(
    facts: RotationFacts, order: RotationRequest, name: str
) -> list[tuple[RotationFacts, Step]]:
    """Play a plan to its end; every step is checked against the rules."""
    played = []
    created = 0
    for _ in range(60):
        step = plan(facts, order)
        played.append((facts, step))
        check_step(step, facts, name)
        created += isinstance(step, Create)
        assert created <= 1, name
        if isinstance(step, Done | Refuse):
            return played
        facts = after(step, facts, GRACE)
    raise AssertionError(name)


def check_step(step: Step, facts: RotationFacts, name: str) -> None:
    """Check what must hold for a step whatever led to it."""
    current = facts.current
    if isinstance(step, Promote):
        assert facts.pending is not None, name
        assert facts.pending.proof is Proof.PROVEN, name
        assert current is not None, name
        assert step.from_version_id == current.version_id, name
        # Else nobody could revoke it later.
        assert facts.live(facts.pending.key_id), name
    if isinstance(step, Revoke):
        assert current is None or step.key_id != current.key_id, name
        if step.why in {RevokeReason.SUPERSEDED, RevokeReason.OVERTAKEN}:
            # A current version without an id may hold any key.
            assert current is not None, name
            assert current.key_id, name
        assert step.key_id != "k_by_hand", name
        assert step.key_id != "k_strange", name
        if step.why is RevokeReason.SUPERSEDED:
            assert current is not None, name
            assert current.proof is Proof.PROVEN, name
            assert facts.grace_left == 0, name
    if isinstance(step, Fence):
        assert facts.pending is None or facts.pending.fence, name


def check_end(facts: RotationFacts, name: str) -> None:
    """Check that a run that made a key does not end well without it in use."""
    assert not facts.own or facts.own in facts.seen, name
    check_tidy(facts, name)


def check_tidy(facts: RotationFacts, name: str) -> None:
    """Check that a finished rotation leaves the key in use and nobody else's."""
    assert facts.current is not None, name
    live = {key.key_id for key in facts.keys if key.live}

    assert facts.pending is None, name
    # Without an id nobody knows which of the keys is in use: then they all stay.
    if facts.current.key_id:
        assert live == {facts.current.key_id, "k_by_hand"}, name


def test_every_step_is_said_in_a_line() -> None:
    """For people who read along, and for a dry run."""
    said = [
        str(step)
        for facts in (
            make(orphan="orphan-of-the-slot", previous="previous-live"),
            make(pending="pending-not-listed"),
        )
        for step in [*preview(facts, RotationRequest(again=True), GRACE), FOREIGN]
    ]

    assert all("\n" not in line for line in said)
    assert said[-1].startswith("stop: AWSPENDING")
    begins = {"close", "revoke", "prove", "create", "store", "move", "remove", "wait"}
    assert {line.split()[0] for line in said} == begins | {"done", "stop:"}


def test_keys_that_nobody_names_are_shown_not_revoked() -> None:
    """A key made by hand may serve somebody: a person has to judge."""
    names = [key.key_id for key in unnamed_keys(make(orphan="orphan-of-old"))]

    assert names == ["k_by_hand"]
