"""What the probes are told."""

import itertools

import pytest

from sidecar.admin.health import (
    Health,
    HealthFacts,
    UpstreamHealth,
    livez,
    readyz,
    startupz,
)


def upstream(
    name: str = "flownally",
    state: str = "fresh",
    *,
    had_key: bool = True,
    usable: bool = True,
) -> UpstreamHealth:
    """One upstream, in good health unless told otherwise."""
    return UpstreamHealth(name, state, had_key, usable)


def test_liveness_is_that_somebody_answers() -> None:
    """Nothing that a restart does not help against makes it red."""
    assert livez().ok


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        pytest.param(HealthFacts(), (), id="no-upstream"),
        pytest.param(HealthFacts([upstream()]), (), id="has-a-key"),
        pytest.param(
            HealthFacts(
                [upstream(), upstream("crm", "missing", had_key=False, usable=False)]
            ),
            ("upstream crm has had no key yet",),
            id="one-of-two-has-none",
        ),
        pytest.param(
            HealthFacts([upstream(state="expired", usable=False)]),
            (),
            id="had-one-once",
        ),
        pytest.param(HealthFacts([upstream()], draining=True), (), id="draining"),
        pytest.param(HealthFacts([upstream()], leaks=["event"]), (), id="leaking"),
    ],
)
def test_startup_is_over_when_every_upstream_has_had_a_key(
    facts: HealthFacts, reasons: tuple[str, ...]
) -> None:
    """Once over, it stays over."""
    assert startupz(facts).reasons == reasons


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        pytest.param(HealthFacts(), (), id="no-upstream"),
        pytest.param(HealthFacts([upstream()]), (), id="fresh"),
        pytest.param(HealthFacts([upstream(state="stale")]), (), id="stale-serves"),
        pytest.param(HealthFacts([upstream(state="rolled_back")]), (), id="rolled-back-serves"),
        pytest.param(
            HealthFacts([upstream(state="expired", usable=False)]),
            ("upstream flownally has no usable key: expired",),
            id="expired",
        ),
        pytest.param(
            HealthFacts([upstream("a", "missing", usable=False), upstream("b"), upstream("c", "rejected", usable=False)]),
            ("upstream a has no usable key: missing", "upstream c has no usable key: rejected"),
            id="every-reason-is-told",
        ),
        pytest.param(
            HealthFacts([upstream()], draining=True),
            ("draining: the process is about to end",),
            id="draining",
        ),
        pytest.param(
            HealthFacts([upstream()], leaks=["event", "bytes"]),
            ("the log shows secrets (self test: event, bytes)",),
            id="leaking",
        ),
    ],
)  # fmt: skip
def test_ready_is_a_usable_key_everywhere_and_no_end_in_sight(
    facts: HealthFacts, reasons: tuple[str, ...]
) -> None:
    """The reasons say what is missing."""
    assert readyz(facts).reasons == reasons


@pytest.mark.parametrize(
    ("draining", "leaks", "usable"),
    list(itertools.product((True, False), ((), ("event",)), (True, False))),
)
def test_ready_only_when_nothing_speaks_against_it(
    draining: bool, leaks: tuple[str, ...], usable: bool
) -> None:
    """Every combination."""
    facts = HealthFacts([upstream(usable=usable)], draining, leaks)

    assert readyz(facts).ok == (usable and not draining and not leaks)


def test_a_document_has_reasons_only_when_there_are_some() -> None:
    """A probe's log shows why."""
    assert Health().as_document() == {"status": "ok"}
    assert Health(("a", "b")).as_document() == {
        "status": "unavailable",
        "reasons": ["a", "b"],
    }
