"""
Eight real sidecars of one job: one emulated API, one emulated AWS, one service each.

The services call at a steady pace, so that the machine is not the thing that is tested.
`clock` moves the wall clock of all sidecars while they run: they are started with a
`time.time` that adds what a file says; what they measure with is not touched, as when
an administrator or NTP sets a clock.
"""

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from sidecar.core.secrecy.secret import SecretRules
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, Issued
from sidecar.rotation.assemble import assemble
from sidecar.rotation.dependencies import RotationDependencies
from sidecar.rotation.options import (
    ApiOptions,
    Clock,
    RotationOptions,
)
from sidecar.settings.tables import SecretSettings
from tests.support.faulty_aws import FaultyAws
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    SidecarProcess,
    wait_until,
)
from tests.support.rotation_rig import JOB, MANAGER_ID, Stage

SIDECARS: Final = 8
REFRESH_SECONDS: Final = 1.0
PACE_SECONDS: Final = 0.03
PATIENCE_SECONDS: Final = 40.0
TARGET: Final = "/contacts?limit=5"
PROBE: Final = "/contacts?limit=1"

SHIFT: Final = """\
import os, time
_true, _file = time.time, os.environ["TEST_CLOCK_FILE"]
def _shifted():
    with open(_file) as file:
        return _true() + float(file.read() or 0)
time.time = _shifted
"""


class Services:
    """One service beside each sidecar, calling steadily; a context manager."""

    def __init__(self, addresses: list[str]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(address,))
            for address in addresses
        ]
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """Status, or the name of an exception -> calls."""
        self.codes: Counter[str] = Counter()
        """Error code in the body, and "sidecar:" before it where that says so."""

    @property
    def calls(self) -> int:
        """All calls so far."""
        return sum(self.counts.values())

    def more(self, calls: int) -> None:
        """Wait until so many more calls have been answered."""
        target = self.calls + calls
        wait_until(lambda: self.calls >= target, "more calls", PATIENCE_SECONDS)

    def check_none_failed(self) -> None:
        """Every call of every service was answered by the API, with success."""
        assert set(self.counts) == {"200"}, (self.counts, self.codes)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, address: str) -> None:
        """Be one service."""
        connection = http.client.HTTPConnection(address, timeout=15)
        while not self._stop.wait(PACE_SECONDS):
            code = ""
            try:
                connection.request("GET", TARGET)
                answer = connection.getresponse()
                body = answer.read()
                what = str(answer.status)
                if answer.status != 200:
                    ours = answer.headers.get("X-Sidecar-Error")
                    code = f"sidecar:{ours}" if ours else _code(body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                what = type(error).__name__
            with self._lock:
                self.counts[what] += 1
                if code:
                    self.codes[code] += 1
        connection.close()


def _code(body: bytes) -> str:
    """Read the API's error code."""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


class Fleet:
    """
    The sidecars and their peers; a context manager.

    Args:
        directory: for their files.
        api: with no job yet.
        moto: empty.
    """

    def __init__(self, directory: Path, api: EmulatedApi, moto: AwsClient) -> None:
        self.stage = Stage(api, moto)
        self.api = api
        self.faulty_aws = FaultyAws(moto.endpoint)
        self.sidecars: list[SidecarProcess] = []
        self._directory = directory
        self._clock_file = directory / "clock"

    def clock(self, seconds: float) -> None:
        """Set the sidecars' wall clocks ahead of the true time, or behind it."""
        # Written beside and renamed: a reader sees the old or the new one.
        part = self._clock_file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._clock_file)

    def services(self) -> Services:
        """Make a service beside each sidecar."""
        return Services([sidecar.address() for sidecar in self.sidecars])

    def parts(self, grace_seconds: float = 3 * REFRESH_SECONDS) -> RotationDependencies:
        """What a rotation works with, past the faults of the faulty_aws."""
        clock = Clock(time.time, time.monotonic, time.sleep)
        options = RotationOptions(
            job=JOB,
            secret_id=SECRET_ID,
            rules=SecretRules(json_key="api_key", key_prefix="fln_live_"),
            api=ApiOptions(
                base_url=self.api.base_url,
                ca_file=self.api.certificate.ca_file,
                account=DEFAULT_ACCOUNT,
                probe=f"GET {PROBE}",
            ),
            manager=SecretSettings(secret_id=MANAGER_ID),
            grace_seconds=grace_seconds,
        )
        return assemble(options, self.stage.moto.secrets, clock, print)

    def store(self, key: Issued) -> str:
        """Store a key by hand, as AWSCURRENT; returns its fingerprint."""
        value = {
            "api_key": key.key,
            "key_id": key.id,
            "service_account_id": DEFAULT_ACCOUNT,
            "note": "kept",
        }
        return self.stage.moto.rotate(SECRET_ID, json.dumps(value))[:8]

    def renew(self) -> Issued:
        """Bring every sidecar onto a new key, the only live one: tests start equal."""
        self.faulty_aws.fail()
        self.api.fail()
        self.clock(0)
        key = self.api.issue()
        fingerprint = self.store(key)
        self.reload()
        self.until_all(lambda status: status["fingerprint"] == fingerprint)
        self.until_all(lambda status: status["state"] == "fresh")
        for other in self.stage.live():
            if other != key.id:
                self.api.revoke(other)
        return key

    def reload(self) -> None:
        """Make every sidecar look now."""
        for sidecar in self.sidecars:
            sidecar.admin("/-/reload", method="POST")

    def statuses(self) -> list[dict[str, Any]]:
        """Read what every sidecar says of its key."""
        return [sidecar.status()["upstreams"][UPSTREAM] for sidecar in self.sidecars]

    def until_all(self, true: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until something is true of every sidecar."""
        wait_until(
            lambda: all(true(status) for status in self.statuses()),
            "all sidecars",
            PATIENCE_SECONDS,
        )

    def metric(self, name: str, **labels: str) -> list[float]:
        """Read a metric of every sidecar."""
        return [sidecar.metrics().value(name, **labels) for sidecar in self.sidecars]

    def __enter__(self) -> Self:
        self.faulty_aws.__enter__()
        self.clock(0)
        shift = self._directory / "site"
        shift.mkdir()
        (shift / "sitecustomize.py").write_text(SHIFT)
        paths = filter(None, (str(shift), os.environ.get("PYTHONPATH")))
        env = {
            "PYTHONPATH": os.pathsep.join(paths),
            "TEST_CLOCK_FILE": str(self._clock_file),
        }
        credential = {"refresh_seconds": REFRESH_SECONDS, "probe": f"GET {PROBE}"}
        settings = self.stage.settings(
            {
                "aws": {"endpoint_url": self.faulty_aws.endpoint},
                "upstreams": {UPSTREAM: {"credential": credential}},
            }
        )
        self.sidecars = [
            SidecarProcess(self._directory / f"sidecar-{number}", settings, env=env)
            for number in range(SIDECARS)
        ]
        for sidecar in self.sidecars:
            sidecar.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for sidecar in self.sidecars:
            sidecar.close()
        self.faulty_aws.__exit__()
