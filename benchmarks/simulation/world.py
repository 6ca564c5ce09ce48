"""
The surroundings of a fleet: a simulated clock, Secrets Manager with its quota, the API.

Quotas: AWS documents 10,000 calls per second of DescribeSecret and GetSecretValue
together, per region and account ("AWS Secrets Manager quotas"); an announcement of
March 2025 gives 40,000 and 10,000. The simulation throttles calls beyond the
smaller number.
"""

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.core.secrecy.secret import Credential, Secret

QUOTA: Final = 10_000
"""Calls per second, DescribeSecret and GetSecretValue together."""
BURST_SECONDS: Final = 0.1
PRICE: Final = 0.05 / 10_000
"""USD per call."""

AWS_SECONDS: Final = 0.020
"""The median of a call to Secrets Manager."""
API_SECONDS: Final = 0.040
SIGMA: Final = 0.5
"""Of the logarithm: one call in a hundred takes three times the median."""


class Clock:
    """Runs what is due, in order, and advances to its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Schedule a call; calls of the same time run in the order of scheduling."""
        at = self.now + max(0.0, seconds)
        heapq.heappush(self._due, (at, next(self._numbers), call))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = until


@dataclass
class Bucket:
    """The quota: `rate` calls per second, and a small burst."""

    rate: float
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.most

    @property
    def most(self) -> float:
        """The burst; AWS does not document it, so a small one is assumed."""
        return max(1.0, self.rate * BURST_SECONDS)

    def take(self, at: float) -> bool:
        """Take one call from the quota; return False if there is none."""
        self.level = min(self.most, self.level + (at - self.at) * self.rate)
        self.at = at
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass
class World:
    """One secret, one API, and the fleet's calls to them."""

    clock: Clock
    chance: random.Random
    quota: float = QUOTA
    versions: list[Credential] = field(default_factory=list)
    """Of the secret, oldest first: AWSCURRENT is the last."""
    valid: set[str] = field(default_factory=set)
    """The versions whose keys the API accepts."""
    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(operation, second) -> calls to Secrets Manager."""
    throttled: int = 0
    probes: int = 0
    _bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self._bucket = Bucket(self.quota)
        self.store()

    @property
    def current(self) -> Credential:
        """AWSCURRENT."""
        return self.versions[-1]

    @property
    def previous(self) -> Credential | None:
        """AWSPREVIOUS."""
        return self.versions[-2] if len(self.versions) > 1 else None

    def store(self) -> None:
        """Create a key that the API accepts, and store it."""
        version, at = f"v{len(self.versions) + 1}", self.clock.now
        made = Credential(Secret(f"key-{version}"), b"", 0, version, version, at)
        self.versions.append(made)
        self.valid.add(version)

    def revoke(self) -> None:
        """Revoke every key but the newest."""
        self.valid = {self.current.version_id}

    def revoke_all(self) -> None:
        """Revoke every key."""
        self.valid = set()

    def accepts(self, credential: Credential) -> bool:
        """Return whether the API accepts a key."""
        return credential.version_id in self.valid

    def admits(self, operation: str) -> bool:
        """Count a call to Secrets Manager; return whether it is within the quota."""
        self.asked[operation, int(self.clock.now)] += 1
        if self._bucket.take(self.clock.now):
            return True
        self.throttled += 1
        return False

    def delay(self, median: float) -> float:
        """Return how long half a round trip takes."""
        return self.chance.lognormvariate(math.log(median / 2), SIGMA)
