"""The watch samples by itself, and once more for each document."""

import asyncio

from sidecar.admin import watch
from sidecar.admin.history import Sample
from sidecar.admin.watch import Watch

NOW = 1_800_000_000.0


def test_a_document_is_up_to_the_moment() -> None:
    """It includes what happened since the last sample."""
    total = {"2xx": 1}
    seen = Watch({"api": lambda: Sample(answers=dict(total))}, lambda: NOW)
    seen.sample()
    total["2xx"] = 5

    minutes = seen.document("api")["minutes"]

    assert isinstance(minutes, dict)
    assert minutes["2xx"][-1] == 5


async def test_it_samples_by_itself_until_it_is_cancelled() -> None:
    """A state between two visits of a person is in the events."""
    states = iter(["fresh", "stale", "fresh", "fresh"])
    exhausted = asyncio.Event()

    def sampler() -> Sample:
        state = next(states, "")
        if not state:
            exhausted.set()
        return Sample(state=state or "fresh")

    seen = Watch({"api": sampler}, lambda: NOW)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(seen.run())
        while not exhausted.is_set():
            seen.sample()
            await asyncio.sleep(0)
        task.cancel()

    events = seen.document("api")["events"]
    assert isinstance(events, list)
    assert [event["detail"] for event in events] == ["fresh", "stale", "fresh"]
    assert watch.EVERY_SECONDS <= 2
