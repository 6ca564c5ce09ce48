"""What is told of a process, from before its first keeper to its end."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecar.admin.health import readyz, startupz
from sidecar.admin.history import Sample
from sidecar.core.keylife.messages import State
from sidecar.credential.manager import CredentialManager
from sidecar.credential.reporter import CredentialStatus
from sidecar.errors import Code
from sidecar.hardening import HardeningStatus
from sidecar.metrics import Metrics
from sidecar.metrics.hot import UPSTREAM
from sidecar.proxy.server import ProxyServer
from sidecar.status_report import Report
from tests.support.full_settings import everything

FRESH = CredentialStatus(State.FRESH, "file", fingerprint="abcdef01", generation=1)


class Parts:
    """A report on a process whose state the test sets."""

    def __init__(self, directory: Path) -> None:
        self.draining = False
        self.webhooks_ready = True
        self.metrics = Metrics("0")
        self.report = Report(
            everything(directory),
            self.metrics,
            HardeningStatus(
                dumpable=False,
                core_bytes=0,
                memory_locked=True,
                no_new_privileges=True,
            ),
            (),
            draining=lambda: self.draining,
            webhooks_ready=lambda: self.webhooks_ready,
        )

    def start(
        self, name: str, status: CredentialStatus, current: object = True
    ) -> None:
        """Give an upstream a keeper in this state, and a proxy."""
        stats = self.metrics.upstream(name, ("*",))
        keeper = SimpleNamespace(status=status, current=current)
        self.report.keepers[name] = cast("CredentialManager", keeper)
        proxy = SimpleNamespace(stats=stats)
        self.report.proxies[name] = cast("ProxyServer", proxy)

    @property
    def document(self) -> Mapping[str, Any]:
        """The document of `/status`."""
        return self.report.status()


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> Parts:
    """A process that has just begun."""
    return Parts(tmp_path)


def test_before_the_first_keeper_nothing_is_ready(parts: Parts) -> None:
    """The admin port answers already."""
    facts = parts.report.facts()

    assert not startupz(facts).ok
    assert not readyz(facts).ok
    assert parts.document["upstreams"] == {}
    assert parts.report._sample("flownally") == Sample()


def test_every_upstream_and_the_webhooks_count(parts: Parts) -> None:
    """One that has no key yet holds all up."""
    parts.start("flownally", FRESH)
    parts.start("local", CredentialStatus(State.MISSING, "file"), None)
    assert not startupz(parts.report.facts()).ok

    parts.start("local", FRESH)
    assert startupz(parts.report.facts()).ok
    assert readyz(parts.report.facts()).ok

    parts.webhooks_ready = False
    reasons = readyz(parts.report.facts()).reasons
    assert len(reasons) == 1
    assert "webhooks" in reasons[0]


def test_an_expired_key_was_there_and_is_not_usable(parts: Parts) -> None:
    """So the start is over for good, and readiness is not."""
    expired = CredentialStatus(State.EXPIRED, "file", "abcdef01", generation=1)
    parts.start("flownally", FRESH)
    parts.start("local", expired, None)
    facts = parts.report.facts()

    assert startupz(facts).ok
    assert not readyz(facts).ok


def test_draining_is_told(parts: Parts) -> None:
    """In the document and by readiness."""
    parts.start("flownally", FRESH)
    parts.start("local", FRESH)
    parts.draining = True

    assert not readyz(parts.report.facts()).ok
    assert parts.document["draining"] is True


def test_the_document_has_the_job_and_the_counts(parts: Parts) -> None:
    """What the hot path counted, by upstream; and the address as bound."""
    parts.start("flownally", FRESH)
    parts.report.addresses["flownally"] = "127.0.0.1:8700"
    stats = parts.report.proxies["flownally"].stats
    stats.operation("*").answered("GET", 200, UPSTREAM, 0.1, 0.001)
    stats.operation("*").answered("GET", 403, UPSTREAM, 0.1, 0.001)
    stats.rejections[Code.BAD_TARGET] += 2
    stats.recovered["replay"] += 1
    document = parts.document
    told = document["upstreams"]["flownally"]

    assert document["job"]["owner"] == "crm-platform"
    assert document["sidecar"]["version"]
    assert told["answers"]["2xx"] == told["answers"]["403"] == 1
    assert told["refused"] == {"bad_target": 2}
    assert told["recovered"]["replay"] == 1
    assert told["fingerprint"] == "abcdef01"
    assert "127.0.0.1:8700" in str(told)
    assert set(document["webhooks"]) == {"inbox", "copy", "other"}


def test_a_sample_has_what_the_history_needs(parts: Parts) -> None:
    """Totals, state and fingerprints; a candidate only when it was refused."""
    parts.start("flownally", FRESH)
    stats = parts.report.proxies["flownally"].stats
    stats.rejections[Code.TRIPWIRE] += 1
    sample = parts.report._sample("flownally")
    assert (sample.state, sample.fingerprint) == (State.FRESH, "abcdef01")
    assert sample.refused == {"tripwire": 1}
    assert sample.rejected is None

    waiting = CredentialStatus(State.FRESH, "file", "abcdef01", candidate="00000000")
    parts.start("local", waiting)
    assert parts.report._sample("local").rejected is None
    refused = CredentialStatus(
        State.REJECTED, "file", candidate="00000000", candidate_rejected=True
    )
    parts.start("local", refused)
    assert parts.report._sample("local").rejected == "00000000"
