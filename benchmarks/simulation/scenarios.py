"""The scenarios of a fleet, and their figures."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from benchmarks.simulation.pod import Pod, Tally
from benchmarks.simulation.world import PRICE, QUOTA, Clock, World
from sidecar.core.keylife.refresh import LifePolicy

DAY: Final = 86_400.0
DAYS: Final = 30
REFRESH_SECONDS: Final = 300.0
GRACE_SECONDS: Final = 2 * REFRESH_SECONDS
"""From a planned rotation to the end of the old key (`[rotation]`)."""
PLOTTED: Final = (-30, 360)
"""Seconds around the event."""


class Happens(StrEnum):
    """What happens to the key."""

    NOTHING = "nothing"
    PLANNED = "planned"
    """A new key is stored, and the old one is revoked after a time of grace."""
    EMERGENCY = "emergency"
    """A new key is stored, and the old one is revoked at once."""
    REVOKED = "revoked"
    """The key is revoked, and there is no other."""


@dataclass(frozen=True)
class Scenario:
    """A scenario; times in seconds, rates in calls per second and pod."""

    name: str
    happens: Happens = Happens.NOTHING
    pods: int = 10_000
    start_seconds: float = REFRESH_SECONDS
    """The pods start within this time."""
    at: float = 700.0
    """When it happens."""
    lasts: float = 1400.0
    rate: float = 1.0
    rate_to: float | None = None
    """The rates of the services lie between `rate` and this, evenly in the logarithm."""
    probing: bool = True
    quota: float = QUOTA
    seed: int = 1


BUSY: Final = 2.0
QUIET: Final = 1 / 60
"""Calls per second of one service."""

PLANNED: Final = "planned rotation"
EMERGENCY: Final = "emergency, services of all kinds"
QUIET_EMERGENCY: Final = "emergency, all quiet"

STORIES: Final = (
    Scenario("all start within one second", start_seconds=1.0, at=0.0, lasts=60.0),
    Scenario(PLANNED, Happens.PLANNED),
    Scenario(EMERGENCY, Happens.EMERGENCY, rate=0.01, rate_to=10.0),
    Scenario("emergency, all busy", Happens.EMERGENCY, rate=BUSY),
    Scenario(
        "emergency, all busy, half of the quota used by others",
        Happens.EMERGENCY,
        rate=BUSY,
        quota=QUOTA / 2,
    ),
    Scenario(
        "emergency, all busy, no probe", Happens.EMERGENCY, rate=BUSY, probing=False
    ),
    Scenario(QUIET_EMERGENCY, Happens.EMERGENCY, rate=QUIET),
)
"""The scenarios of the report."""

LEFT_OVER: Final = (1.0, 0.5, 0.45, 0.4, 0.35, 0.3, 0.2)
"""Calls per second and sidecar that other users of the account leave of the quota."""
MARGIN: Final = tuple(
    Scenario(f"{left:g}", Happens.EMERGENCY, pods=1000, rate=BUSY, quota=1000 * left)
    for left in LEFT_OVER
)
"""Where the quota ends: an emergency, all busy, with less and less of it."""

ONE_DAY: Final = (
    Scenario("a day, nothing happens", pods=50, lasts=DAY, rate=0.1),
    Scenario("a day with a planned rotation", Happens.PLANNED, 50, lasts=DAY, rate=0.1),
    Scenario("a day with an emergency", Happens.EMERGENCY, 50, lasts=DAY, rate=0.1),
    Scenario(
        "a day with a revoked key and no successor",
        Happens.REVOKED,
        5,
        lasts=DAY,
        rate=0.1,
    ),
)
"""The calls of one pod in a day; all pods are alike, so a few suffice."""


@dataclass
class Figures:
    """The figures of one scenario."""

    scenario: str
    pods: int
    calls: int = 0
    """To Secrets Manager, in all."""
    peak: int = 0
    """Calls in the busiest second."""
    peak_describe: int = 0
    peak_get: int = 0
    quota: float = QUOTA
    throttled: int = 0
    absorbed: int = 0
    failed: int = 0
    slowest: float = 0.0
    """Seconds that the slowest absorbed call took."""
    half_moved: float | None = None
    """Seconds from the event until half of the pods use the new key."""
    all_moved: float | None = None
    per_pod_day: float = 0.0
    most_pod_day: float = 0.0
    timeline: list[list[float]] = field(default_factory=list)
    """[second from the event, calls to Secrets Manager]."""

    def row(self) -> dict[str, Any]:
        """Return the figures as a JSON object."""
        return asdict(self)


def simulate(story: Scenario) -> Figures:
    """Run a scenario; the same scenario always gives the same figures."""
    chance = random.Random(story.seed)
    clock = Clock()
    world = World(clock, chance, story.quota)
    tally = Tally()
    policy = LifePolicy(refresh_seconds=REFRESH_SECONDS, probing=story.probing)
    pods = [
        Pod(world, policy, rate_of(story, chance), tally) for _ in range(story.pods)
    ]
    for pod in pods:
        clock.later(chance.uniform(0, story.start_seconds), pod.start)
    clock.run(story.at)
    happen(story, world, pods)
    clock.run(story.lasts)
    return figures(story, world, pods, tally)


def rate_of(story: Scenario, chance: random.Random) -> float:
    """Return the rate of one service."""
    if story.rate_to is None:
        return story.rate
    low, high = math.log(story.rate), math.log(story.rate_to)
    return math.exp(chance.uniform(low, high))


def happen(story: Scenario, world: World, pods: Sequence[Pod]) -> None:
    """Make the event of the scenario happen."""

    def revoke() -> None:
        world.revoke_all() if story.happens is Happens.REVOKED else world.revoke()
        for pod in pods:
            pod.expect_refusals()

    if story.happens in {Happens.PLANNED, Happens.EMERGENCY}:
        world.store()
    if story.happens is Happens.PLANNED:
        world.clock.later(GRACE_SECONDS, revoke)
    elif story.happens is not Happens.NOTHING:
        revoke()


def figures(
    story: Scenario, world: World, pods: Sequence[Pod], tally: Tally
) -> Figures:
    """Return the figures of a scenario."""
    total, describes, gets = per_second(world)
    newest = world.current.version_id
    changes = story.happens in {Happens.PLANNED, Happens.EMERGENCY}
    # At 0 the event is the start itself, and the first key the new one.
    begun = changes or not story.at
    moved = sorted(p.moved[newest] - story.at for p in pods if newest in p.moved)
    complete = begun and len(moved) == len(pods)
    days = story.lasts / DAY
    first, last = PLOTTED
    return Figures(
        scenario=story.name,
        pods=len(pods),
        calls=sum(total.values()),
        peak=max(total.values(), default=0),
        peak_describe=max(describes.values(), default=0),
        peak_get=max(gets.values(), default=0),
        quota=story.quota,
        throttled=world.throttled,
        absorbed=tally.absorbed,
        failed=tally.failed,
        slowest=tally.slowest,
        half_moved=statistics.median(moved) if complete else None,
        all_moved=moved[-1] if complete else None,
        per_pod_day=statistics.mean(pod.asked for pod in pods) / days,
        most_pod_day=max(pod.asked for pod in pods) / days,
        timeline=[
            [second, total[int(story.at) + second]] for second in range(first, last)
        ],
    )


def per_second(world: World) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """Return the calls by second: all, DescribeSecret, GetSecretValue."""
    counts: dict[str, Counter[int]] = {"DescribeSecret": Counter()}
    counts["GetSecretValue"] = Counter()
    for (operation, second), count in world.asked.items():
        counts[operation][second] += count
    describes, gets = counts["DescribeSecret"], counts["GetSecretValue"]
    return describes + gets, describes, gets


def monthly_cost(pods: int, per_pod_day: float) -> float:
    """Return USD per month for a fleet's calls."""
    return pods * per_pod_day * DAYS * PRICE
