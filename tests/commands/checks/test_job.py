"""The job: who answers for it, when it is due, and how narrow it is."""

import pytest

from sidecar.commands.checks.finding import Level
from sidecar.commands.checks.job import check_job, check_narrow
from tests.support.check_findings import by_name, levels, settings_with


def test_a_job_without_owner_and_date_is_told() -> None:
    """It runs, and nobody would rotate its key."""
    found = levels(check_job(settings_with()))

    assert found == {
        "job": Level.OK,
        "job owner": Level.WARN,
        "job rotation": Level.WARN,
    }


def test_a_job_with_owner_and_date_is_fine() -> None:
    """One line, with its name."""
    settings = settings_with(job={"owner": "crm-platform", "rotate_every_days": 90})

    (found,) = check_job(settings)

    assert found.level is Level.OK
    assert "development-crm-sync" in found.detail


def test_a_wide_upstream_is_told() -> None:
    """Least privilege: what is allowed, what a key must look like, how it is proven."""
    found = levels(check_narrow(settings_with(), "flownally"))

    assert found == {
        "flownally: operations": Level.WARN,
        "flownally: key prefix": Level.WARN,
        "flownally: proof": Level.WARN,
    }


def test_a_narrow_upstream_is_fine() -> None:
    """Nothing to be said but how narrow."""
    settings = settings_with(
        upstream={"allow": ("GET /contacts", "GET /contacts/{id}")},
        credential={
            "secret_id": "dev/flownally",
            "key_prefix": "fln_test_",
            "probe": "GET /contacts",
        },
    )
    settings = settings_with(
        upstream={
            "allow": ("GET /contacts", "GET /contacts/{id}"),
            "credential": settings.upstreams["flownally"].credential,
        }
    )

    findings = list(check_narrow(settings, "flownally"))

    assert all(found.level is Level.OK for found in findings)
    assert "2 allowed" in by_name(findings, "flownally: operations").detail


@pytest.mark.parametrize("prefix", ["fln_live_", "prod-", "LIVE_"])
def test_development_with_keys_of_production_is_told(prefix: str) -> None:
    """A developer's machine is no place for them."""
    settings = settings_with(credential={"key_prefix": prefix})

    found = by_name(check_narrow(settings, "flownally"), "flownally: key prefix")

    assert found.level is Level.WARN
    assert "production" in found.detail


@pytest.mark.parametrize("prefix", ["fln_test_", "olive_", "deliver-"])
def test_other_prefixes_are_fine(prefix: str) -> None:
    """A word within a word is another word."""
    settings = settings_with(credential={"key_prefix": prefix})

    found = by_name(check_narrow(settings, "flownally"), "flownally: key prefix")

    assert found.level is Level.OK


def test_production_expects_live_keys() -> None:
    """There it is as it should be."""
    settings = settings_with(
        job={"environment": "production", "name": "production-crm-sync"},
        credential={"key_prefix": "fln_live_"},
    )

    found = by_name(check_narrow(settings, "flownally"), "flownally: key prefix")

    assert found.level is Level.OK
