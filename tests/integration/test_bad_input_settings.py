"""
What a person may get wrong in the settings, as `sidecar run` meets it.

Every rule is in `tests/settings`; here are those that people break most. The process ends with exit code 2 before it listens anywhere, with one line per problem:
where, which rule, an example; and never with the text that it refuses, which may be a key
in the wrong place.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.errors import Exit
from tests.support.processes import UPSTREAM, Settings, SidecarProcess, merge
from tests.support.raw_http import KEY, RawApi, file_settings

MARK: Final = "M4rkInTheSettings"
"""Stands in what is refused, and must not be repeated."""
WITH_KEY: Final = f"fln_live_{MARK}"

Start = Callable[..., SidecarProcess]


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Settings:
    """Settings with which a sidecar would run."""
    return file_settings(tmp_path / "secret", "https://api.flownally.com/v1")


def told(process: SidecarProcess) -> list[str]:
    """Wait for the end of a process that must not run; returns what it printed."""
    assert process.wait() == Exit.USAGE
    output = process.output()
    assert MARK not in output, "a value is repeated"
    assert "Traceback" not in output
    return output.splitlines()


def upstream(**changes: object) -> Settings:
    """Return changes to the upstream."""
    return {"upstreams": {UPSTREAM: changes}}


def wrong(name: str, changes: Settings, path: str, words: str) -> Any:
    """Make a row: changes to good settings, the path and the words that are told."""
    return pytest.param(changes, path, words, id=name)


LISTEN: Final = f"upstreams.{UPSTREAM}.listen"
BASE_URL: Final = f"upstreams.{UPSTREAM}.base_url"
CREDENTIAL: Final = f"upstreams.{UPSTREAM}.credential"
PRODUCTION: Final = {"environment": "production"}
WRONG: Final = [
    wrong("wrong-type", upstream(limits={"max_connections": MARK}), f"upstreams.{UPSTREAM}.limits.max_connections", "whole number"),
    wrong("unknown-key", upstream(lisen=MARK), f"upstreams.{UPSTREAM}.lisen", "listen"),
    wrong("public", upstream(listen="0.0.0.0:8700"), LISTEN, "loopback"),
    wrong("http", upstream(base_url=f"http://{MARK}.example/v1"), BASE_URL, "https://"),
    wrong("both-sources", upstream(credential={"secret_id": "prod/a"}), f"{CREDENTIAL}.secret_id", "not both"),
    wrong("no-source", upstream(credential={"file": None}), f"{CREDENTIAL}.secret_id", "is required"),
    wrong("key-as-name", upstream(credential={"file": None, "secret_id": WITH_KEY}), f"{CREDENTIAL}.secret_id", "looks like a key"),
    wrong("key-itself", upstream(credential={"api_key": WITH_KEY}), f"{CREDENTIAL}.api_key", "keys stay out of settings"),
    wrong("backend", {"job": PRODUCTION | {"name": "backend"}}, "job.name", "production"),
    wrong("no-ca", upstream(ca_file="/nowhere/ca.pem"), f"upstreams.{UPSTREAM}.ca_file", "cannot be read"),
    wrong("nothing-to-do", {"upstreams": None}, "upstreams", "nothing to do"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "words"), WRONG)
def test_a_wrong_setting_stops_the_start(
    base: Settings,
    sidecar_process: Start,
    changes: Settings,
    path: str,
    words: str,
) -> None:
    """One line, with the path and the rule; the exit code says whose fault it is."""
    (line,) = told(sidecar_process(merge(base, changes)))

    assert line.startswith(f"sidecar: {path}: ")
    assert words in line.removeprefix(f"sidecar: {path}: ")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        pytest.param({"SIDECAR_LOG__LEVL": MARK}, "SIDECAR_LOG__LEVL", id="nested"),
        pytest.param({"SIDECAR_PROT": MARK}, "SIDECAR_PROT", id="top"),
        pytest.param({"SIDECAR_LOG__LEVEL": MARK}, "log.level", id="value"),
        pytest.param({"SSLKEYLOGFILE": f"/tmp/{MARK}"}, "SSLKEYLOGFILE", id="key-log"),
        pytest.param(
            {"SSLKEYLOGFILE": f"/{MARK}/no"}, "SSLKEYLOGFILE", id="no-key-log"
        ),
    ],
)
def test_a_wrong_variable_stops_the_start(
    base: Settings, sidecar_process: Start, env: Mapping[str, str], words: str
) -> None:
    """A misspelt variable is an error: to ignore it would be a surprise in production."""
    lines = told(sidecar_process(base, env=env))

    assert len(lines) == 1
    assert words in lines[0]


def test_all_problems_are_told_at_once(base: Settings, sidecar_process: Start) -> None:
    """One start reports all mistakes."""
    changes = upstream(
        listen="0.0.0.0:8700",
        base_url=f"http://{MARK}.example",
        credential={"secret_id": WITH_KEY},
        limits={"queue_seconds": "soon"},
    )
    process = sidecar_process(
        merge(base, changes | {"job": PRODUCTION | {"name": "backend"}}),
        env={"SIDECAR_ADMIN__LISTN": MARK},
    )

    assert len(told(process)) >= 6


def test_a_file_that_is_no_toml_stops_the_start(
    base: Settings, sidecar_process: Start, tmp_path: Path
) -> None:
    """The line is named, and not repeated."""
    file = tmp_path / "broken.toml"
    file.write_text(f'[job]\nname = "{MARK}\n')
    command = ["run", "--config", str(file)]
    (line,) = told(sidecar_process(base, command=command))

    assert "line 2" in line


@pytest.fixture(name="taken")
def _taken() -> Iterator[str]:
    """An address on which another process listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param(lambda taken: upstream(listen=taken), LISTEN, id="proxy"),
        pytest.param(lambda taken: {"admin": {"listen": taken}}, "admin.listen", id="admin"),
    ],
)  # fmt: skip
def test_a_port_in_use_stops_the_start(
    base: Settings,
    sidecar_process: Start,
    taken: str,
    changes: Callable[[str], Settings],
    path: str,
) -> None:
    """A settings error with its path, not a stack; nothing else was opened."""
    (line,) = told(sidecar_process(merge(base, changes(taken))))

    assert line == f"sidecar: {path}: cannot listen there: address already in use"


def test_every_port_in_use_is_told(base: Settings, sidecar_process: Start) -> None:
    """As with all settings: at once."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        ports = [sock.getsockname()[1] for sock in (one, other)]
        changes = upstream(listen=f"127.0.0.1:{ports[0]}") | {
            "admin": {"listen": f"127.0.0.1:{ports[1]}"}
        }
        lines = told(sidecar_process(merge(base, changes)))

    assert [line.split(": ")[1] for line in lines] == [LISTEN, "admin.listen"]


def test_the_same_settings_without_a_mistake_run(
    tmp_path: Path, sidecar_process: Start
) -> None:
    """So it was the mistakes that stopped the others."""
    with RawApi() as api:
        process = sidecar_process(file_settings(tmp_path / "secret", api.base_url))
        process.wait_ready()

        assert process.call().status == 200
        assert process.stop() == Exit.OK
        process.assert_never_shown(KEY)
