"""What the admin port reports of the process: facts for probes, the status document."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sidecar import __version__
from sidecar.admin.health import HealthFacts, UpstreamHealth
from sidecar.admin.history import Sample
from sidecar.admin.status import (
    CallFacts,
    JobFacts,
    ProcessFacts,
    UpstreamFacts,
    status_document,
)
from sidecar.admin.watch import Watch
from sidecar.core.keylife.messages import State
from sidecar.credential.manager import CredentialManager
from sidecar.hardening import HardeningStatus
from sidecar.metrics import Metrics
from sidecar.proxy.server import ProxyServer
from sidecar.settings.model import Settings


@dataclass(slots=True)
class Report:
    """The parts of a running process, and the reports that are made of them."""

    settings: Settings
    metrics: Metrics
    posture: HardeningStatus
    leaks: Sequence[str]
    """Paths of the log that the canary survived."""
    draining: Callable[[], bool]
    webhooks_ready: Callable[[], bool]
    keepers: dict[str, CredentialManager] = field(default_factory=dict)
    proxies: dict[str, ProxyServer] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(
            {name: partial(self._sample, name) for name in self.settings.upstreams},
            time.time,
        )

    @property
    def inflight(self) -> int:
        """How many calls are in flight."""
        return sum(proxy.stats.inflight for proxy in self.proxies.values())

    def facts(self) -> HealthFacts:
        """Return the facts that the probes of Kubernetes are answered by."""
        upstreams = [self._health(name) for name in self.settings.upstreams]
        if self.settings.webhooks:
            ready = self.webhooks_ready()
            state = State.FRESH if ready else State.MISSING
            upstreams.append(UpstreamHealth("webhooks", state, ready, ready))
        return HealthFacts(upstreams, draining=self.draining(), leaks=self.leaks)

    def _health(self, name: str) -> UpstreamHealth:
        keeper = self.keepers.get(name)
        if keeper is None:  # the admin port opens before the first manager exists
            return UpstreamHealth(name, State.MISSING, had_key=False, usable=False)
        status = keeper.status
        return UpstreamHealth(
            name,
            status.state,
            had_key=status.generation > 0,
            usable=keeper.current is not None,
        )

    def status(self) -> Mapping[str, object]:
        """Return the document of `/status`."""
        job = self.settings.job
        return status_document(
            JobFacts(job.name, job.environment, job.owner, job.rotate_every_days),
            ProcessFacts(
                __version__,
                platform.python_version(),
                self.started,
                self.posture.as_dict(),
            ),
            [self._upstream(name) for name in self.keepers],
            self.facts(),
            time.time(),
            webhooks={
                name: self.metrics.webhook(name).counts
                for name in self.settings.webhooks
            },
        )

    def _upstream(self, name: str) -> UpstreamFacts:
        settings, stats = self.settings.upstreams[name], self.proxies[name].stats
        refused = {str(code): count for code, count in stats.rejections.items()}
        return UpstreamFacts(
            name,
            settings.base_url,
            self.addresses.get(name, str(settings.listen)),
            self.keepers[name].status,
            CallFacts(
                *(stats.answers(), stats.recovered, refused, stats.inflight),
                stats.by_key,
            ),
            self.watch.document(name),
        )

    def _sample(self, name: str) -> Sample:
        """Return the running totals, for the history of the last hour."""
        keeper, proxy = self.keepers.get(name), self.proxies.get(name)
        if keeper is None or proxy is None:
            return Sample()
        status, stats = keeper.status, proxy.stats
        return Sample(
            answers=stats.answers(),
            recovered=dict(stats.recovered),
            refused={str(code): n for code, n in stats.rejections.items() if n},
            state=status.state,
            fingerprint=status.fingerprint,
            rejected=status.candidate if status.candidate_rejected else None,
        )
