"""Names of keys: what a crashed run leaves to be found again."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.rotation.key_naming import MARKED, KeyNaming

JOB = "production-crm-sync"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/crm-AbCdEf"
MARKS = KeyNaming(JOB, ARN)

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)


@given(version=st.text(min_size=1, max_size=64))
def test_a_name_is_recognised_by_its_own_job_and_secret(version: str) -> None:
    """Whatever the VersionId, also one that AWS chose."""
    name = MARKS.name_for(version)

    assert MARKS.ours(name)
    assert not KeyNaming("production-other", ARN).ours(name)
    assert not KeyNaming(JOB, ARN + "x").ours(name)


@given(name=words)
def test_a_name_given_by_a_person_is_never_ours(name: str) -> None:
    """Unless it has the very form, digest of our secret included."""
    assert MARKS.ours(name) == (
        MARKED.fullmatch(name) is not None and name[:-12] == MARKS.name_for("v")[:-12]
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("production-crm-sync", id="the-job"),
        pytest.param("production-crm-sync-2", id="numbered"),
        pytest.param("x" + MARKS.name_for("v"), id="longer-job"),
        pytest.param(MARKS.name_for("v") + "\n", id="newline"),
        pytest.param(MARKS.name_for("v").upper(), id="upper-case"),
        pytest.param("", id="empty"),
    ],
)
def test_near_misses_are_not_ours(name: str) -> None:
    """A key that is not surely ours must never be revoked."""
    assert not MARKS.ours(name)


def test_the_name_shows_the_job_and_stays_short() -> None:
    """A person who reads the list of keys sees what to stop."""
    name = MARKS.name_for("12345678-1234-1234-1234-123456789012")

    assert name.startswith(f"{JOB}-")
    assert len(name) == len(JOB) + 19


def test_every_run_comes_to_the_same_slot() -> None:
    """So that of two runs only one can store its key."""
    assert MARKS.next_version_id("v1", 0) == KeyNaming(JOB, ARN).next_version_id(
        "v1", 0
    )
    assert (
        len({MARKS.next_version_id(v, n) for v in ("v1", "v2") for n in range(3)}) == 6
    )


def test_a_slot_is_a_valid_client_request_token() -> None:
    """PutSecretValue: 32 to 64 characters."""
    assert 32 <= len(MARKS.next_version_id("v1", 0)) <= 64


def test_the_free_slot_is_the_first_that_is_not_taken() -> None:
    """An attempt that failed is not tried again under its token."""
    first, second = MARKS.next_version_id("v1", 0), MARKS.next_version_id("v1", 1)

    assert MARKS.free_version_id("v1", ()) == first
    assert MARKS.free_version_id("v1", {first}) == second
    assert MARKS.free_version_id("v1", {second}) == first
