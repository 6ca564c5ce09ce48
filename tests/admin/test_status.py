"""The document behind `/status`."""

import json
from dataclasses import replace

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
from sidecar.credential.reporter import CredentialStatus

NOW = 1_700_000_000.0


KEY = CredentialStatus(
    State.FRESH,
    "secrets_manager",
    fingerprint="0a1b2c3d",
    since=NOW - 60,
    created=NOW - 10 * 86_400,
    rotate_before=NOW + 80 * 86_400,
    refreshed=NOW - 30,
    next_refresh=NOW + 270,
    previous="ffffffff",
)
JOB = JobFacts("production-crm-sync", "production", "crm-platform", 90)
PROCESS = ProcessFacts("0.1.0", "3.11.7", NOW - 3600, {"dumpable": False})
CALLS = CallFacts(
    answers={"2xx": 10, "401": 0, "403": 2, "other": 1},
    recovered={"replay": 3, "rollback": 0},
    refused={"bad_target": 1, "draining": 0},
    inflight=2,
    by_key={"0a1b2c3d": 7},
)


def document(
    key: CredentialStatus, facts: HealthFacts | None = None, now: float = NOW
) -> Document:
    """Return the document of a sidecar with one upstream."""
    one = UpstreamFacts(
        "flownally", "https://api.flownally.com/v1", "127.0.0.1:8700", key, CALLS
    )
    healthy = HealthFacts([UpstreamHealth("flownally", "fresh", True, True)])
    return status_document(JOB, PROCESS, [one], facts or healthy, now)


def upstream(key: CredentialStatus, now: float = NOW) -> Document:
    """Return the part about the upstream."""
    upstreams = document(key, now=now)["upstreams"]
    assert isinstance(upstreams, dict)
    part = upstreams["flownally"]
    assert isinstance(part, dict)
    return part


def test_the_document_names_the_job_and_the_versions() -> None:
    """Health is beside them."""
    whole = document(KEY)
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


def test_an_upstream_has_its_key_and_its_calls() -> None:
    """It has the state, the fingerprint, times, errors and counts."""
    assert upstream(KEY) == {
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
    """Before the first key, times are null: a 0 would mean 1970."""
    part = upstream(
        CredentialStatus(
            state=State.MISSING,
            source="secrets_manager",
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
    """It is overdue after that time, not at it."""
    assert upstream(replace(KEY, rotate_before=rotate_before))["overdue"] is overdue


@pytest.mark.parametrize(
    ("created", "days"),
    [(NOW, 0.0), (NOW - 86_400 * 1.26, 1.3), (NOW + 5000, 0.0), (None, None)],
)
def test_the_age_is_in_days(created: float | None, days: float | None) -> None:
    """The source's clock may be ahead of this one."""
    assert upstream(replace(KEY, created=created))["age_days"] == days


def test_an_error_comes_with_its_remedy() -> None:
    """Both come from the credential manager."""
    part = upstream(
        replace(KEY, last_error="access denied", remedy="allow it", candidate="1")
    )

    assert (part["last_error"], part["remedy"]) == ("access denied", "allow it")
    assert part["candidate"] == "1"


def test_the_last_hour_is_beside_the_totals() -> None:
    """The document of the history is part of its upstream."""
    history = {"minutes": {"2xx": [1]}, "events": []}
    one = UpstreamFacts("crm", "https://h/", "127.0.0.1:1", KEY, CALLS, history)

    whole = status_document(JOB, PROCESS, [one], HealthFacts(), NOW)

    upstreams = whole["upstreams"]
    assert isinstance(upstreams, dict)
    assert upstreams["crm"]["minutes"] == {"2xx": [1]}
    assert upstreams["crm"]["events"] == []


def test_deliveries_are_counted_by_endpoint_and_result() -> None:
    """Results with a count of 0 are left out."""
    counts = {"inbox": {"delivered": 2, "stale": 0}, "other": {}}

    whole = status_document(JOB, PROCESS, [], HealthFacts(), NOW, webhooks=counts)

    assert whole["webhooks"] == {"inbox": {"delivered": 2}, "other": {}}


def test_the_document_names_why_it_is_not_ready() -> None:
    """The reasons are those of `/readyz`."""
    whole = document(KEY, HealthFacts(draining=True))

    assert (whole["ready"], whole["draining"]) == (False, True)
    assert whole["reasons"] == ["draining: the process is about to end"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.none() | st.floats())
def test_any_clock_makes_a_document(now: float, moment: float | None) -> None:
    """An infinite or wrong time still gives valid JSON."""
    key = replace(KEY, since=moment, refreshed=moment, next_refresh=moment)

    text = json.dumps(document(key, now=now), allow_nan=False)

    assert json.loads(text)["job"]["name"] == "production-crm-sync"
