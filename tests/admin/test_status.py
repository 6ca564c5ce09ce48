"""The document behind `/status`."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, strategies as st

from sidecar.admin.health import HealthFacts, UpstreamHealth
from sidecar.admin.status import (
    CallFacts,
    Document,
    JobFacts,
    ProcessFacts,
    UpstreamFacts,
    status_document,
)
from sidecar.core.keylife.messages import State

NOW = 1_700_000_000.0


@dataclass(frozen=True)
class Key:
    """What a keeper tells."""

    state: str = State.FRESH
    source: str = "secrets_manager"
    fingerprint: str | None = "0a1b2c3d"
    since: float | None = NOW - 60
    created: float | None = NOW - 10 * 86_400
    rotate_before: float | None = NOW + 80 * 86_400
    refreshed: float | None = NOW - 30
    next_refresh: float | None = NOW + 270
    last_error: str | None = None
    remedy: str | None = None
    candidate: str | None = None
    candidate_rejected: bool = False
    previous: str | None = "ffffffff"


JOB = JobFacts("production-crm-sync", "production", "crm-platform", 90)
PROCESS = ProcessFacts("0.1.0", "3.11.7", NOW - 3600, {"dumpable": False})
CALLS = CallFacts(
    answers={"2xx": 10, "401": 0, "403": 2, "other": 1},
    recovered={"replay": 3, "rollback": 0},
    refused={"bad_target": 1, "draining": 0},
    inflight=2,
    by_key={"0a1b2c3d": 7},
)


def document(key: Key, facts: HealthFacts | None = None, now: float = NOW) -> Document:
    """The document of a sidecar with one upstream."""
    one = UpstreamFacts(
        "flownally", "https://api.flownally.com/v1", "127.0.0.1:8700", key, CALLS
    )
    healthy = HealthFacts([UpstreamHealth("flownally", "fresh", True, True)])
    return status_document(JOB, PROCESS, [one], facts or healthy, now)


def upstream(key: Key, now: float = NOW) -> Document:
    """The part about the upstream."""
    upstreams = document(key, now=now)["upstreams"]
    assert isinstance(upstreams, dict)
    part = upstreams["flownally"]
    assert isinstance(part, dict)
    return part


def test_the_document_tells_who_runs_for_whom() -> None:
    """Job, versions, health."""
    whole = document(Key())
    whole.pop("upstreams")

    assert whole == {
        "now": NOW,
        "started": NOW - 3600,
        "sidecar": {"version": "0.1.0", "python": "3.11.7"},
        "process": {"dumpable": False},
        "job": {
            "name": "production-crm-sync",
            "environment": "production",
            "owner": "crm-platform",
            "rotate_every_days": 90,
        },
        "ready": True,
        "reasons": [],
        "draining": False,
        "webhooks": {},
    }


def test_an_upstream_tells_of_its_key_and_its_calls() -> None:
    """State, fingerprint, times, errors, counts."""
    assert upstream(Key()) == {
        "base_url": "https://api.flownally.com/v1",
        "listen": "127.0.0.1:8700",
        "source": "secrets_manager",
        "state": "fresh",
        "fingerprint": "0a1b2c3d",
        "since": NOW - 60,
        "created": NOW - 10 * 86_400,
        "age_days": 10.0,
        "rotate_before": NOW + 80 * 86_400,
        "overdue": False,
        "refreshed": NOW - 30,
        "next_refresh": NOW + 270,
        "last_error": None,
        "remedy": None,
        "candidate": None,
        "candidate_rejected": False,
        "previous": "ffffffff",
        "answers": {"2xx": 10, "401": 0, "403": 2, "other": 1},
        "recovered": {"replay": 3, "rollback": 0},
        "refused": {"bad_target": 1},
        "inflight": 2,
        "by_key": {"0a1b2c3d": 7},
    }


def test_what_is_not_known_is_null() -> None:
    """Before the first key nothing is known; a 0 would read as 1970."""
    part = upstream(
        Key(
            state=State.MISSING,
            fingerprint=None,
            since=None,
            created=None,
            rotate_before=None,
            refreshed=None,
            next_refresh=None,
            previous=None,
        )
    )

    unknown = {name for name, value in part.items() if value is None}
    assert unknown >= {"fingerprint", "since", "created", "age_days", "refreshed"}
    assert part["state"] == "missing"
    assert part["overdue"] is False


@pytest.mark.parametrize(
    ("rotate_before", "overdue"),
    [(None, False), (NOW + 1, False), (NOW, False), (NOW - 1, True)],
)
def test_a_key_that_is_too_old_is_overdue(
    rotate_before: float | None, overdue: bool
) -> None:
    """Past its time, not at it."""
    assert upstream(Key(rotate_before=rotate_before))["overdue"] is overdue


@pytest.mark.parametrize(
    ("created", "days"),
    [(NOW, 0.0), (NOW - 86_400 * 1.26, 1.3), (NOW + 5000, 0.0), (None, None)],
)
def test_the_age_is_in_days(created: float | None, days: float | None) -> None:
    """The source's clock may be ahead of ours."""
    assert upstream(Key(created=created))["age_days"] == days


def test_what_is_wrong_is_told_with_its_remedy() -> None:
    """Both come from the keeper."""
    part = upstream(Key(last_error="access denied", remedy="allow it", candidate="1"))

    assert (part["last_error"], part["remedy"]) == ("access denied", "allow it")
    assert part["candidate"] == "1"


def test_the_last_hour_is_beside_the_totals() -> None:
    """What `History.as_document` gives is part of its upstream."""
    history = {"minutes": {"2xx": [1]}, "events": []}
    one = UpstreamFacts("crm", "https://h/", "127.0.0.1:1", Key(), CALLS, history)

    whole = status_document(JOB, PROCESS, [one], HealthFacts(), NOW)

    upstreams = whole["upstreams"]
    assert isinstance(upstreams, dict)
    assert upstreams["crm"]["minutes"] == {"2xx": [1]}
    assert upstreams["crm"]["events"] == []


def test_deliveries_are_told_by_endpoint_and_result() -> None:
    """Results that never came are left out."""
    counts = {"inbox": {"delivered": 2, "stale": 0}, "other": {}}

    whole = status_document(JOB, PROCESS, [], HealthFacts(), NOW, webhooks=counts)

    assert whole["webhooks"] == {"inbox": {"delivered": 2}, "other": {}}


def test_the_document_tells_why_it_is_not_ready() -> None:
    """The same reasons as on `/readyz`."""
    whole = document(Key(), HealthFacts(draining=True))

    assert (whole["ready"], whole["draining"]) == (False, True)
    assert whole["reasons"] == ["draining: the process is about to end"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.none() | st.floats())
def test_any_clock_makes_a_document(now: float, moment: float | None) -> None:
    """A clock can say anything; the answer must still be one."""
    key = replace(Key(), since=moment, refreshed=moment, next_refresh=moment)

    text = json.dumps(document(key, now=now), allow_nan=False)

    assert json.loads(text)["job"]["name"] == "production-crm-sync"
