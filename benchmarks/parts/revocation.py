"""
An emergency revocation under load: how many calls fail.

A new key is stored in (an emulated) Secrets Manager and the old one is revoked in the
same breath, while calls arrive at a steady rate. A peer learns of the new key when
somebody changes its file and reloads it, `reload_seconds` later: by hand, or by the
machinery that syncs secrets into files. Nobody tells the sidecar anything.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.lab import Lab, Target
from benchmarks.names import KEY_FILE
from benchmarks.openloop import Outcome
from benchmarks.parts.base import Numbers, Plan, Row
from benchmarks.parts.latency import OK, calling, outcomes
from benchmarks.peers import Ours, Peer
from benchmarks.peers.base import Started, start
from benchmarks.peers.haproxy import HAProxy
from benchmarks.process import READY_SECONDS, Cpu, Running, running
from sidecar.emulator.aws import REGION, AwsClient
from sidecar.emulator.control import Control
from sidecar.emulator.http_calls import wait_until
from sidecar.emulator.key_ring import Issued

RATE: Final = 200
LEAD_SECONDS: Final = 2.0
TAIL_SECONDS: Final = 3.0
BIN_SECONDS: Final = 0.5


@dataclass(frozen=True)
class World:
    """The API, its keys, and Secrets Manager."""

    target: Target
    api: Control
    aws: AwsClient


def measure(plan: Plan, lab: Lab) -> list[Row]:
    """Revoke a key under each proxy."""
    rows, numbers = [], Numbers()
    with open_world(lab.directory) as world:
        for name, peer in candidates(plan, world):
            plan.say(f"revocation: {name}")
            issued = world.api.issue()
            setup = numbers.setup(lab, peer, target=world.target, key=issued.key)
            secret = setup.directory.name
            world.aws.put_secret(secret, issued.key)
            if isinstance(peer, Ours) and name != KEY_FILE:
                peer = replace(peer, credential={"secret_id": secret})  # noqa: PLW2901 - the same peer, with its secret
            with start(peer, setup) as started:
                row = revoke(plan, world, started, issued, secret)
            rows.append({"peer": name, **row})
    return rows


def candidates(plan: Plan, world: World) -> Iterator[tuple[str, Peer]]:
    """Give the proxies, ours both with a secret and with a file like theirs."""
    aws = {"aws": {"region": REGION, "endpoint_url": world.aws.endpoint}}
    for peer in plan.chosen():
        if isinstance(peer, HAProxy):
            yield peer.name, HAProxy(reloads=True)
        elif isinstance(peer, Ours):
            yield KEY_FILE, peer
            yield peer.name, Ours(changes=aws)
        else:
            yield peer.name, peer


def revoke(plan: Plan, world: World, started: Started, old: Issued, secret: str) -> Row:
    """Revoke a key under load; returns what became of the calls."""
    after = plan.reload_seconds + TAIL_SECONDS
    caller = calling(started.setup.port, RATE, LEAD_SECONDS + after, 1)
    try:
        time.sleep(LEAD_SECONDS)
        new = world.api.issue()
        world.aws.rotate(secret, new.key)
        world.api.revoke(old.id)
        at = time.monotonic()
        time.sleep(plan.reload_seconds)
        started.rekey(new.key)
        calls = outcomes(caller)
    finally:
        caller.kill()
        caller.wait()
    return {"reload_seconds": plan.reload_seconds, "rate": RATE, **became(calls, at)}


def became(calls: Sequence[Outcome], at: float) -> Row:
    """Tell what became of the calls around a revocation; `at` is in their clock."""
    failed = sorted(call.due for call in calls if call.status not in OK)
    late = [call.latency for call in calls if call.due + call.latency >= at]
    bins: dict[int, list[int]] = {}
    for call in calls:
        counts = bins.setdefault(int((call.due - at) // BIN_SECONDS), [0, 0])
        counts[0] += 1
        counts[1] += call.status not in OK
    return {
        "calls": len(calls),
        "failed": len(failed),
        "failing_seconds": failed[-1] - failed[0] if failed else 0.0,
        "slowest_ms": max(late, default=0.0) * 1e3,
        "timeline": [
            [number * BIN_SECONDS, 100 * bad / count]
            for number, (count, bad) in sorted(bins.items())
        ],
    }


@contextlib.contextmanager
def open_world(directory: Path) -> Iterator[World]:
    """Run the emulated API and the emulated AWS, each as a process."""
    python = [sys.executable, "-m"]
    state = directory / "emulated"
    api_command = [*python, "sidecar.emulator.api", "--state-dir", str(state)]
    aws_command = [*python, "sidecar.emulator.aws"]
    with (
        running(api_command, directory / "emulated-api.log", cpu=Cpu.LOAD) as api,
        running(aws_command, directory / "emulated-aws.log", cpu=Cpu.LOAD) as aws,
    ):
        told = first_line(api)
        target = Target(told["port"], Path(told["ca_file"]))
        client = AwsClient(first_line(aws)["endpoint_url"])
        yield World(target, Control(told["control_port"]), client)


def first_line(process: Running) -> dict[str, Any]:
    """Wait for the line of JSON that an emulator prints."""

    def printed() -> dict[str, Any] | None:
        process.must_run()
        for line in process.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                told: dict[str, Any] = json.loads(line)
                return told
        return None

    return wait_until(printed, "an emulator", READY_SECONDS)
