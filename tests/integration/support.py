"""
Helpers of the tests that run real processes and real sockets.

The fixtures that use them are in `tests/fixtures.py` and reach every test:

- `moto`: `AwsClient` of an emulated Secrets Manager, emptied after each test;
- `aws_shim`: the same behind switches for faults (`tests/integration/aws_shim.py`);
- `api`: an `EmulatedApi` (TLS) of this test alone, with its handle;
- `issued`: a key of that API, stored in Secrets Manager under `SECRET_ID`;
- `settings`: settings as a dict for a sidecar between those two;
- `sidecar_process`: starts `python -m sidecar run` with such a dict;
- `running`: one that is started with `settings` and ready.

A test that wants something else changes the dict: `merge(settings, {...})`.
"""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from prometheus_client.parser import text_string_to_metric_families

from sidecar.demo.aws import environment

SECRET_ID: Final = "prod/flownally/crm-sync"
UPSTREAM: Final = "flownally"
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 40.0
STEP_SECONDS: Final = 0.02

Settings = dict[str, Any]
T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], what: str = "the condition", seconds: float = 10.0
) -> T:
    """Poll until `condition()` is true, and return what it returned; else fail."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            message = f"{what} did not come true within {seconds} s"
            raise AssertionError(message)
        time.sleep(STEP_SECONDS)


def merge(base: Settings, changes: Settings) -> Settings:
    """Merge nested settings; a value of None takes the key out."""
    merged = dict(base)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = merge(merged.get(name, {}), value)
        else:
            merged[name] = value
    return merged


def to_toml(settings: Settings, path: Sequence[str] = ()) -> str:
    """Write nested settings as TOML; dicts within lists become inline tables."""
    lines = []
    if path:
        lines.append("[" + ".".join(json.dumps(name) for name in path) + "]")
    for name, value in settings.items():
        if not isinstance(value, dict):
            lines.append(f"{json.dumps(name)} = {_toml_value(value)}")
    for name, value in settings.items():
        if isinstance(value, dict):
            lines.append(to_toml(value, (*path, name)))
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """Write one value; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value)


@dataclass(frozen=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    """Field names in lower case; the last one of repeated fields."""
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


def call(
    address: str,
    target: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> Answer:
    """Make one HTTP call to `host:port` on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, fields, answer.read())
    finally:
        connection.close()


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Sum the samples of `name` that have these labels; none = 0."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        """List the label sets of `name`."""
        return [s.labels for s in self._samples if s.name == name]


class SidecarProcess:
    """
    A real `python -m sidecar run`, its standard streams kept in files.

    Args:
        directory: for the settings file and the output; unique to this process.
        settings: nested dict, written as TOML. Listeners on port 0 are found by the
            process's `listening` log lines.
        env: variables on top of the test's own environment less its AWS variables.
        command: what follows `python -m sidecar`, instead of `run --config FILE`.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "sidecar.toml"
        self.config.write_text(to_toml(settings))
        self._out = directory / "out.log"
        arguments = command or ["run", "--config", str(self.config)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR")}
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar", *arguments],
                cwd=directory,
                env=environment(inherited) | dict(env or {}),
                stdin=subprocess.DEVNULL,
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

        found = wait_until(find, f"listener {name}", READY_SECONDS)
        assert found is not None
        return found

    def wait_listening(self) -> None:
        """Wait until the admin port answers; there need not be a key yet."""

        def alive() -> bool:
            self._must_run()
            try:
                return self.admin("/livez").status == 200
            except OSError:
                return False

        wait_until(alive, "/livez", READY_SECONDS)

    def wait_ready(self) -> None:
        """Wait until every upstream has a key: `/startupz` is 200."""
        self.wait_listening()

        def started() -> bool:
            self._must_run()
            return self.admin("/startupz").status == 200

        wait_until(started, "/startupz", READY_SECONDS)

    def call(self, target: str = "/contacts", **options: Any) -> Answer:
        """Call the API through the sidecar; options as of `call`."""
        return call(self.address(), target, **options)

    def admin(self, path: str, method: str = "GET") -> Answer:
        """Call the admin port."""
        return call(self.address("admin"), path, method=method)

    def metrics(self) -> Metrics:
        """Scrape `/metrics`."""
        return Metrics(self.admin("/metrics").body.decode())

    def status(self) -> dict[str, Any]:
        """Read `/status`."""
        return cast("dict[str, Any]", self.admin("/status").json())

    def memory_bytes(self) -> int:
        """Proportional set size."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise AssertionError

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
        """End it whatever its state; for the fixture."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def assert_never_shown(self, *secrets: str) -> None:
        """Look for secrets, also in base64 and without their prefix, in all output."""
        places = {"output": self.output()}
        if self.process.poll() is None:
            for path in ("/metrics", "/status", "/livez", "/readyz", "/startupz", "/"):
                places[path] = self.admin(path).body.decode(errors="replace")
        for place, text in places.items():
            for secret in secrets:
                for form in spellings(secret):
                    assert form not in text, f"a secret is shown in {place}"

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
            raise AssertionError(message)


def spellings(secret: str) -> list[str]:
    """Spell a secret as it might leak: plain, without its prefix, base64 of each."""
    tail = secret.rpartition("_")[2]
    forms = [tail]
    for text in (secret, f"Bearer {secret}", tail):
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + text.encode()).decode()
            # Without the characters that depend on what stands before and behind.
            forms.append(coded[4 if offset else 0 : -4])
    return forms
