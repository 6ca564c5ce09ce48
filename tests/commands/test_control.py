"""`wait`, `reload` and `quit`: how they reach a running sidecar, and what they say."""

import argparse
import json
import socket
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.commands import control
from sidecar.errors import Exit, SettingsInvalid
from sidecar.settings.values import Address
from tests.support.fake_admin_port import admin_port
from tests.support.settings_files import GOOD


@pytest.fixture(name="nobody")
def _nobody() -> Iterator[str]:
    """A port on which nobody listens: bound, so that nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def arguments(url: str | None, **more: object) -> argparse.Namespace:
    """Give a parsed command line."""
    return argparse.Namespace(url=url, config=None, **more)


@pytest.mark.parametrize(
    ("command", "path", "said"),
    [("reload", "/-/reload", "under way"), ("quit", "/-/quit", "draining")],
)
def test_a_running_sidecar_is_asked(
    capsys: pytest.CaptureFixture[str], command: str, path: str, said: str
) -> None:
    """By one POST, without an Origin."""
    with admin_port([202]) as admin:
        assert main([command, "--url", admin.url]) == Exit.OK

    assert admin.seen == [("POST", path)]
    assert "Origin" not in admin.headers[0]
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize("command", ["reload", "quit"])
def test_a_refusal_is_told(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """With the status, on standard error, exit code 1."""
    with admin_port([403]) as admin:
        assert main([command, "--url", admin.url]) == Exit.UNEXPECTED

    assert "answered 403" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (
            200,
            {"reload": {"a": "unchanged", "b": "changed"}},
            0,
            "a: unchanged\nb: chan",
        ),
        (502, {"reload": {"a": "denied"}}, 3, "a: denied\n"),
        (202, {"reload": "under way"}, 0, "under way\n"),
        (200, {"reload": {"a": "fln_live_x"}}, 0, "under way\n"),
        (200, {"reload": {"fln live": "changed"}}, 0, "under way\n"),
        (200, [], 0, "under way\n"),
    ],
)
def test_a_reload_tells_what_each_look_gave(
    capsys: pytest.CaptureFixture[str], status: int, body: object, code: int, said: str
) -> None:
    """In our own words only: whoever answers there may be anybody."""
    with admin_port([status], json.dumps(body).encode()) as admin:
        assert main(["reload", "--url", admin.url]) == code

    text = capsys.readouterr().out
    assert text.startswith(said)
    assert "fln" not in text


@pytest.mark.parametrize("command", ["reload", "quit"])
def test_nobody_there_is_told(
    capsys: pytest.CaptureFixture[str], nobody: str, command: str
) -> None:
    """With the address that was tried."""
    assert main([command, "--url", nobody]) == Exit.UNEXPECTED

    error = capsys.readouterr().err
    assert "no sidecar answers at 127.0.0.1:" in error
    assert "connection refused" in error


def test_the_settings_tell_where_the_admin_port_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sidecar that listens everywhere is reached by loopback."""
    with admin_port([200]) as admin:
        file = tmp_path / "sidecar.toml"
        file.write_text(f'{GOOD}[admin]\nlisten = "0.0.0.0:{admin.port}"\n')

        assert main(["reload", "--config", str(file)]) == Exit.OK

    assert admin.seen == [("POST", "/-/reload")]
    assert capsys.readouterr().out == "under way\n"


def test_proxy_variables_never_apply(
    monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    """A call to this machine stays on it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody)
    with admin_port([200]) as admin:
        assert main(["reload", "--url", admin.url]) == Exit.OK


def test_wait_ends_when_every_upstream_has_a_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It asks again until `/startupz` says so."""
    with admin_port([503, 503, 200]) as admin:
        assert main(["wait", "--url", admin.url, "--timeout", "30"]) == Exit.OK

    assert admin.seen == [("GET", "/startupz")] * 3
    assert capsys.readouterr().out == "ready\n"


@pytest.mark.parametrize(
    ("statuses", "reason"), [([503], "answered 503"), ([], "no sidecar answers")]
)
def test_wait_gives_up(
    capsys: pytest.CaptureFixture[str], nobody: str, statuses: list[int], reason: str
) -> None:
    """After its timeout, with the last answer and exit code 5; on a clock of ours."""
    seconds = count()
    slept: list[float] = []

    with admin_port(statuses) as admin:
        code = control.wait(
            arguments(admin.url if statuses else nobody, timeout=3.0),
            monotonic=lambda: float(next(seconds)),
            sleep=slept.append,
        )

    assert code == Exit.TIMED_OUT
    error = capsys.readouterr().err
    assert error.startswith("not ready after 3 s: ")
    assert reason in error
    assert slept
    assert all(0 <= pause <= control.PAUSE_SECONDS for pause in slept)


def test_wait_asks_at_least_once(nobody: str) -> None:
    """Also without any time."""
    assert main(["wait", "--url", nobody, "--timeout", "0"]) == Exit.TIMED_OUT


@pytest.mark.parametrize("text", ["nan", "-nan", "-1", "-0.1", "-inf", "soon", ""])
def test_wait_takes_a_number_of_seconds(
    capsys: pytest.CaptureFixture[str], nobody: str, text: str
) -> None:
    """NaN would never be over: it is neither before nor after anything."""
    assert main(["wait", "--url", nobody, f"--timeout={text}"]) == Exit.USAGE

    assert "--timeout: must be a number of seconds from 0" in capsys.readouterr().err


def test_wait_may_wait_for_ever() -> None:
    """`inf` is over never, and a key that comes is seen all the same."""
    with admin_port([503, 200]) as admin:
        assert main(["wait", "--url", admin.url, "--timeout", "inf"]) == Exit.OK


def test_wait_survives_a_server_that_speaks_something_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is no HTTP is no sidecar."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"220 smtp ready\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert main(["wait", "--url", url, "--timeout", "0"]) == Exit.TIMED_OUT
        thread.join()

    assert "badstatusline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8701", Address("127.0.0.1", 8701)),
        ("http://127.0.0.1:8701/", Address("127.0.0.1", 8701)),
        ("http://[::1]:8701", Address("::1", 8701)),
        ("http://sidecar", Address("sidecar", 80)),
    ],
)
def test_a_url_names_the_admin_port(url: str, address: Address) -> None:
    """The settings are not needed then."""
    assert control.target_of(arguments(url)) == address


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:8701", "127.0.0.1:8701", "http://u:p@h", "http://h?x", ""],
)
def test_what_is_no_url_of_an_admin_port(url: str) -> None:
    """The admin port speaks plain HTTP."""
    with pytest.raises(SettingsInvalid, match="--url"):
        control.target_of(arguments(url))


@pytest.mark.parametrize(
    ("listen", "host"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("[::]", "::1")],
)
def test_everywhere_is_reached_by_loopback(
    tmp_path: Path, listen: str, host: str
) -> None:
    """0.0.0.0 is no address to call."""
    file = tmp_path / "sidecar.toml"
    file.write_text(f'{GOOD}[admin]\nlisten = "{listen}:8701"\n')

    found = control.target_of(argparse.Namespace(url=None, config=str(file)))

    assert found == Address(host, 8701)


def test_a_free_port_cannot_be_guessed(tmp_path: Path) -> None:
    """Port 0 is chosen by the system at the start."""
    file = tmp_path / "sidecar.toml"
    file.write_text(f'{GOOD}[admin]\nlisten = "127.0.0.1:0"\n')

    with pytest.raises(SettingsInvalid, match="--url"):
        control.target_of(argparse.Namespace(url=None, config=str(file)))
