"""
A real `sidecar run` process: start it, query it, stop it.

The demo, the tests and the load tests use it. All methods block, with timeouts.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from sidecar.emulator.aws import environment
from sidecar.emulator.http_calls import (
    HttpResponse,
    Overdue,
    ScrapedMetrics,
    call,
    wait_until,
)

PROGRAM: Final = (sys.executable, "-m", "sidecar")
UPSTREAM: Final = "flownally"
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 40.0
OK: Final = 200

Settings = dict[str, Any]


def to_toml(settings: Settings, path: Sequence[str] = ()) -> str:
    """Write nested settings as TOML; dicts within lists become inline tables."""
    lines = []
    if path:
        lines.append("[" + ".".join(_quoted(name) for name in path) + "]")
    for name, value in settings.items():
        if not isinstance(value, dict):
            lines.append(f"{_quoted(name)} = {_toml_value(value)}")
    for name, value in settings.items():
        if isinstance(value, dict):
            lines.append(to_toml(value, (*path, name)))
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """Write one value; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_quoted(k)} = {_toml_value(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    """Write a basic string: JSON's, but that DEL must be escaped (TOML 1.0)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class SidecarProcess:
    """
    A real `python -m sidecar run`, its standard streams kept in files.

    Args:
        directory: for the settings file and the output; unique to this process.
        settings: nested dict, written as TOML. Listeners on port 0 are found by the
            process's `listening` log lines.
        env: variables on top of the test's own environment less its AWS variables.
        command: what follows `python -m sidecar`, instead of `run --config FILE`.
        program: what is run instead of `python -m sidecar`, with the same behind it.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "sidecar.toml"
        self.config.write_text(to_toml(settings), encoding="utf-8")
        self._out = directory / "out.log"
        arguments = command or ["run", "--config", str(self.config)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR")}
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*program, *arguments],
                cwd=directory,
                env=environment(inherited) | dict(env or {}),
                stdin=subprocess.DEVNULL,
                # Ctrl-C must reach the parent only, which then stops this process.
                start_new_session=True,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def output(self) -> str:
        """Everything printed so far, standard output and error as they came."""
        return self._out.read_text(errors="replace")

    def logs(self, event: str | None = None) -> list[dict[str, Any]]:
        """Parse the JSON log lines so far, those of one event if named."""
        return [
            line
            for line in self._log_lines()
            if event is None or line.get("event") == event
        ]

    def address(self, name: str = UPSTREAM) -> str:
        """`host:port` of a listener: an upstream's name, `admin` or `webhooks`."""

        def find() -> str | None:
            for line in self.logs("listening"):
                if line["name"] == name:
                    return cast("str", line["address"])
            self._must_run()
            return None

        return wait_until(find, f"listener {name}", READY_SECONDS)

    def wait_listening(self) -> None:
        """Wait until the admin port answers; there need not be a key yet."""

        def alive() -> bool:
            self._must_run()
            try:
                return self.admin("/livez").status == OK
            except OSError:
                return False

        wait_until(alive, "/livez", READY_SECONDS)

    def wait_ready(self) -> None:
        """Wait until every upstream has a key: `/startupz` is 200."""
        self.wait_listening()

        def started() -> bool:
            self._must_run()
            return self.admin("/startupz").status == OK

        wait_until(started, "/startupz", READY_SECONDS)

    def call(self, target: str = "/contacts", **options: Any) -> HttpResponse:
        """Call the API through the sidecar; options as of `call`."""
        return call(self.address(), target, **options)

    def admin(self, path: str, method: str = "GET") -> HttpResponse:
        """Call the admin port."""
        return call(self.address("admin"), path, method=method)

    def metrics(self) -> ScrapedMetrics:
        """Scrape `/metrics`."""
        return ScrapedMetrics(self.admin("/metrics").body.decode())

    def status(self) -> dict[str, Any]:
        """Read `/status`."""
        return cast("dict[str, Any]", self.admin("/status").json())

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code."""
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _log_lines(self) -> Iterator[dict[str, Any]]:
        """Parse what looks like a JSON object."""
        for line in self.output().splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line)

    def _must_run(self) -> None:
        """Fail with the output when the process has ended."""
        code = self.process.poll()
        if code is not None:
            message = f"the sidecar ended with {code}:\n{self.output()}"
            raise Overdue(message)
