"""The watch: it looks by itself, and once more whenever it is asked."""

import asyncio

from sidecar.admin import watch
from sidecar.admin.history import Sample
from sidecar.admin.watch import Watch

NOW = 1_800_000_000.0


def test_a_document_is_up_to_the_moment() -> None:
    """What happened since the last look is in it."""
    total = {"2xx": 1}
    seen = Watch({"api": lambda: Sample(answers=dict(total))}, lambda: NOW)
    seen.look()
    total["2xx"] = 5

    minutes = seen.document("api")["minutes"]

    assert isinstance(minutes, dict)
    assert minutes["2xx"][-1] == 5


async def test_it_looks_by_itself_until_it_is_cancelled() -> None:
    """A state that came and went between two visits of a person is told."""
    states = iter(["fresh", "stale", "fresh", "fresh"])
    looked = asyncio.Event()

    def look() -> Sample:
        state = next(states, "")
        if not state:
            looked.set()
        return Sample(state=state or "fresh")

    seen = Watch({"api": look}, lambda: NOW)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(seen.run())
        while not looked.is_set():
            seen.look()
            await asyncio.sleep(0)
        task.cancel()

    events = seen.document("api")["events"]
    assert isinstance(events, list)
    assert [event["detail"] for event in events] == ["fresh", "stale", "fresh"]
    assert watch.EVERY_SECONDS <= 2
