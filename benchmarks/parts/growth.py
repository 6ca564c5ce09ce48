"""How cost grows with connections and with the size of bodies."""

import resource
import socket
import time
from collections.abc import Iterator
from typing import Final

from benchmarks import load, measure as costs
from benchmarks.answers import Answers
from benchmarks.lab import CONNECTIONS, Lab
from benchmarks.load import CONTACTS, SHAPES, Shape
from benchmarks.openloop import request_of
from benchmarks.parts.base import Numbers, Plan, Row, loaded, settled
from benchmarks.peers.base import Started, start
from benchmarks.process import HOST

SLOW: Final = {"1MB": 8, "10MB": 4}
"""Connections for large bodies; small ones have 32."""
ANSWER_SECONDS: Final = 10.0


def by_connections(plan: Plan, lab: Lab) -> list[Row]:
    """Load each proxy over more and more connections."""
    rows, numbers = [], Numbers()
    more_files()
    for peer in plan.chosen():
        plan.say(f"connections: {peer.name}")
        setup = numbers.setup(
            lab, peer, connections=max(CONNECTIONS, *plan.connections)
        )
        with start(peer, setup) as started:
            settled(started, plan)
            load.run(setup.port, SHAPES["c32"], 1, lab.directory)
            for count in plan.connections:
                shape = Shape(CONTACTS, count)
                # Handshakes are over then; at the first sight they are all there is.
                load.run(setup.port, shape, 1 + count // 1000, lab.directory)
                row = loaded(started, shape, plan.seconds, lab)
                rows.append({"connections": count, "peer": peer.name, **row})
    return rows


def idle_connections(plan: Plan, lab: Lab) -> list[Row]:
    """Measure the memory that a connection costs on which nothing happens."""
    rows, numbers = [], Numbers()
    more_files()
    count = plan.idle_connections
    for peer in plan.chosen():
        plan.say(f"idle connections: {peer.name}")
        setup = numbers.setup(lab, peer, connections=max(CONNECTIONS, count))
        with start(peer, setup) as started:
            settled(started, plan)
            load.run(setup.port, SHAPES["c32"], 1, lab.directory)
            rows.append({"peer": peer.name, **held(started, count)})
    return rows


def held(started: Started, count: int) -> Row:
    """Hold connections that made one call each; returns bytes per connection."""
    pid = started.process.pid
    before = costs.pss_bytes(pid)
    made: list[socket.socket] = []
    try:
        made += connections(started.setup.port, count)
        time.sleep(1)
        after = costs.pss_bytes(pid)
    finally:
        for one in made:
            one.close()
    return {"connections": count, "bytes": (after - before) / count}


def connections(port: int, count: int) -> Iterator[socket.socket]:
    """Open connections and make one call on each."""
    request = request_of(CONTACTS, ())
    for _ in range(count):
        one = socket.create_connection((HOST, port), ANSWER_SECONDS)
        one.sendall(request)
        answers = Answers()
        while answers.feed(one.recv(65536)) is None:
            pass
        yield one


def by_size(plan: Plan, lab: Lab) -> list[Row]:
    """Load each proxy with larger and larger answers."""
    rows, numbers = [], Numbers()
    for peer in plan.chosen():
        plan.say(f"sizes: {peer.name}")
        with start(peer, numbers.setup(lab, peer)) as started:
            settled(started, plan)
            load.run(started.setup.port, SHAPES["c32"], 1, lab.directory)
            for size in plan.sizes:
                shape = Shape(f"/{size}", SLOW.get(size, 32))
                row = loaded(started, shape, plan.seconds, lab)
                rows.append({"size": size, "peer": peer.name, **row})
    return rows


def more_files() -> None:
    """Allow this process, and what it starts, as many files as it may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
