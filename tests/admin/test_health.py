"""The results of the probes."""

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
    """Return an upstream, healthy by default."""
    return UpstreamHealth(name, state, had_key, usable)


def test_liveness_is_that_the_loop_runs() -> None:
    """It never fails for a reason that a restart does not cure."""
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
    """It stays complete afterwards."""
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
            id="every-reason-is-named",
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
def test_ready_needs_a_usable_key_everywhere_and_no_drain(
    facts: HealthFacts, reasons: tuple[str, ...]
) -> None:
    """Each reason names what is missing."""
    assert readyz(facts).reasons == reasons


@pytest.mark.parametrize(
    ("draining", "leaks", "usable"),
    list(itertools.product((True, False), ((), ("event",)), (True, False))),
)
def test_ready_only_when_there_is_no_reason_against_it(
    draining: bool, leaks: tuple[str, ...], usable: bool
) -> None:
    """All combinations of drain, leak and key."""
    facts = HealthFacts([upstream(usable=usable)], draining, leaks)

    assert readyz(facts).ok == (usable and not draining and not leaks)


def test_a_document_has_reasons_only_when_there_are_some() -> None:
    """The kubelet's event shows the reasons."""
    assert Health().as_document() == {"status": "ok"}
    assert Health(("a", "b")).as_document() == {
        "status": "unavailable",
        "reasons": ["a", "b"],
    }
