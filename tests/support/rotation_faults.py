"""What happens to a rotation in tests, and what must be true afterwards."""

import itertools
import json
from collections.abc import Callable

from tests.support.rotation_fakes import Killed, World, nothing

CHANGES = frozenset(
    {"create", "PutSecretValue", "UpdateSecretVersionStage", "revoke", "TagResource"}
)


def check_tidy(world: World) -> None:
    """One key, in use, and nothing else."""
    current = world.versions[world.labels["AWSCURRENT"]]
    assert current is not None
    assert world.works()
    assert world.live() == [json.loads(current.raw.reveal())["key_id"]]
    assert "AWSPENDING" not in world.labels
    assert world.served_dead == []


def kill_at(
    world: World, number: int, when: str, names: frozenset[str] = frozenset()
) -> None:
    """Kill the run before or after its so-manieth call, of all or of some."""
    calls = itertools.count(1)

    def hook(name: str, now: str) -> None:
        counts = now == when and (not names or name in names)
        if counts and next(calls) == number:
            raise Killed

    world.hook = hook


def peace(world: World) -> None:
    """Let everything go well from now on."""
    world.hook = nothing


def fail_once(world: World, name: str, error: Exception, when: str = "before") -> None:
    """Let one call fail, before or after it has done what it does."""
    left = [error]

    def hook(called: str, now: str) -> None:
        if called == name and now == when and left:
            raise left.pop()

    world.hook = hook


def interrupt(world: World, number: int, act: Callable[[World], None]) -> None:
    """Do something before the so-manieth call, once."""
    calls = itertools.count(1)

    def hook(name: str, when: str) -> None:
        del name
        if when == "before" and next(calls) == number:
            peace(world)
            act(world)

    world.hook = hook
