"""The demo: ports in use, the leaked key without a failed call, and its end."""

import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.demo import script
from sidecar.demo.environment import DemoResult, Ports, port_in_use
from sidecar.emulator.http_calls import call
from sidecar.errors import Exit
from tests.support.raw_http import RawClient

DEMO = [sys.executable, "-m", "sidecar", "demo", "--port", "0", "--admin-port", "0"]
DEMO += ["--webhook-port", "0"]
OPTIONS = ("--port", "--admin-port", "--webhook-port")
SUCCEEDED = DemoResult(
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
    ("result", "succeeded"),
    [
        pytest.param(SUCCEEDED, True, id="succeeded"),
        pytest.param(replace(SUCCEEDED, failed=1), False, id="a-client-saw-a-failure"),
        pytest.param(replace(SUCCEEDED, seen_401s=1), False, id="metrics-count-a-401"),
        pytest.param(replace(SUCCEEDED, recovered=0), False, id="nothing-recovered"),
        pytest.param(replace(SUCCEEDED, new_key_calls=0), False, id="new-key-unused"),
    ],
)
def test_the_demo_succeeds_only_if_all_counts_agree(
    result: DemoResult, succeeded: bool
) -> None:
    """The clients, the metrics and the API must agree."""
    assert result.succeeded is succeeded


def test_free_ports_are_no_problem() -> None:
    """Port 0 is always free."""
    assert not port_in_use(Ports(0, 0, 0))


@pytest.mark.parametrize("option", OPTIONS)
def test_a_port_in_use_is_named_with_its_remedy(option: str) -> None:
    """The demo names the port and the option, and starts nothing."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ports = Ports(*(port if option == one else 0 for one in OPTIONS))
        code = script.run_demo(said.append, ports, once=True)

    assert code is Exit.USAGE
    assert said == [
        f"127.0.0.1:{port}: Address already in use; choose another with {option}"
    ]


def test_once_shows_that_no_call_failed() -> None:
    """`sidecar demo --once` exits with 0, prints its counts, and prints no key."""
    done = subprocess.run(
        [*DEMO, "--once"], capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "No call failed." in done.stdout
    assert re.search(r"failed calls +0\n", done.stdout)
    assert "each valid delivery once, and no other" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_a_signal(number: signal.Signals) -> None:
    """The suggested command works; a signal ends the sidecar too, despite an open stream."""
    with background_demo() as demo:
        said = until(demo, "until Ctrl-C")
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text()
        address = re.findall(r"curl http://(\S+?)/contacts", said)[0]
        answer = call(address, "/contacts")
        with RawClient(address) as stream:
            stream.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stream.read()
            demo.send_signal(number)
            code = ended(demo)

    assert answer.status == 200
    assert code == Exit.OK
    assert len(children.split()) == 1
    assert not Path(f"/proc/{children.strip()}").exists()


def background_demo() -> subprocess.Popen[str]:
    """Start the demo as a shell script starts a background job: with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def ended(demo: subprocess.Popen[str]) -> int:
    """Return the exit code; a demo that ignores its signal is ended by SIGTERM."""
    try:
        return demo.wait(15)
    except subprocess.TimeoutExpired:
        demo.terminate()
        raise


def until(demo: subprocess.Popen[str], words: str) -> str:
    """Read the output up to a line with these words."""
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if words in line:
            return said
    pytest.fail(f"the demo ended:\n{said}")
