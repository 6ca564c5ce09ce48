"""The demo, from taken ports to an emergency that costs nothing."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.demo import script
from sidecar.demo.environment import DemoResult, Ports, taken
from sidecar.emulator.http_calls import call
from sidecar.errors import Exit
from tests.support.raw_http import RawClient

DEMO = [sys.executable, "-m", "sidecar", "demo", "--port", "0", "--admin-port", "0"]
DEMO += ["--webhook-port", "0"]
OPTIONS = ("--port", "--admin-port", "--webhook-port")
KEPT = DemoResult(
    calls=900,
    failed=0,
    statuses={"200": 900},
    old_key_401s=4,
    new_key_calls=400,
    seen_401s=0,
    recovered=4,
    cutovers=2,
)


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        pytest.param(KEPT, True, id="kept"),
        pytest.param(replace(KEPT, failed=1), False, id="a-client-saw-a-failure"),
        pytest.param(replace(KEPT, seen_401s=1), False, id="metrics-count-a-401"),
        pytest.param(replace(KEPT, recovered=0), False, id="nothing-recovered"),
        pytest.param(replace(KEPT, new_key_calls=0), False, id="new-key-unused"),
    ],
)
def test_the_promise_is_kept_by_every_count(result: DemoResult, kept: bool) -> None:
    """Clients, metrics and API must agree."""
    assert result.kept is kept


def test_free_ports_are_no_problem() -> None:
    """Port 0 is always free."""
    assert not taken(Ports(0, 0, 0))


@pytest.mark.parametrize("option", OPTIONS)
def test_a_taken_port_is_named_with_its_remedy(option: str) -> None:
    """The demo says which port and which option, and starts nothing."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ports = Ports(*(port if option == one else 0 for one in OPTIONS))
        code = script.play(said.append, ports, once=True)

    assert code is Exit.USAGE
    assert said == [
        f"127.0.0.1:{port}: Address already in use; choose another by {option}"
    ]


def test_once_shows_that_no_call_failed() -> None:
    """`sidecar demo --once` ends with 0, its numbers, and without a key in sight."""
    done = subprocess.run(
        [*DEMO, "--once"], capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "No call failed." in done.stdout
    assert re.search(r"of these failed +0\n", done.stdout)
    assert not done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_it_is_told_to_end(number: signal.Signals) -> None:
    """What it says to try works; then the sidecar ends with it, and waits for no stream."""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) as demo:
        said = until(demo, "until Ctrl-C")
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text()
        address = re.findall(r"curl http://(\S+?)/contacts", said)[0]
        answer = call(address, "/contacts")
        with RawClient(address) as stream:
            stream.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stream.read()
            demo.send_signal(number)
            code = demo.wait(15)

    assert answer.status == 200
    assert code == Exit.OK
    assert len(children.split()) == 1
    assert not Path(f"/proc/{children.strip()}").exists()


def test_it_ends_by_sigint_though_a_script_started_it_in_the_background() -> None:
    """A shell without job control ignores SIGINT in its background processes."""
    script = f"{shlex.join(DEMO)} & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        demo = int(shell.stdout.readline())
        until(shell, "until Ctrl-C")
        os.kill(demo, signal.SIGINT)

        shell.wait(15)
        assert not Path(f"/proc/{demo}").exists()


def until(demo: subprocess.Popen[str], words: str) -> str:
    """Read what it says up to a line with these words."""
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if words in line:
            return said
    pytest.fail(f"the demo ended:\n{said}")
