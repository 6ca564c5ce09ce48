"""
Helpers of the tests that run real processes and real sockets.

The fixtures that use them are in `tests/support/fixtures.py` and reach every test:

- `moto`: `AwsClient` of an emulated Secrets Manager, emptied after each test;
- `faulty_aws`: the same behind switches for faults (`tests/support/faulty_aws.py`);
- `api`: an `EmulatedApi` (TLS) of this test alone, with its handle;
- `issued`: a key of that API, stored in Secrets Manager under `SECRET_ID`;
- `settings`: settings as a dict for a sidecar between those two;
- `sidecar_process`: starts `python -m sidecar run` with such a dict;
- `running`: one that is started with `settings` and ready.

A test that wants something else changes the dict: `merge(settings, {...})`.
"""

import base64
from pathlib import Path
from typing import Final

from sidecar.emulator.http_calls import (
    HttpResponse,
    Overdue,
    ScrapedMetrics,
    call,
    wait_until,
)
from sidecar.emulator.sidecar_process import (
    UPSTREAM,
    Settings,
    SidecarProcess as BaseProcess,
    to_toml,
)

__all__ = [
    "SECRET_ID",
    "UPSTREAM",
    "HttpResponse",
    "Overdue",
    "ScrapedMetrics",
    "Settings",
    "SidecarProcess",
    "call",
    "encodings",
    "merge",
    "to_toml",
    "wait_until",
]

SECRET_ID: Final = "prod/flownally/crm-sync"


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


class SidecarProcess(BaseProcess):
    """A `sidecar run` process, and what tests look for in it."""

    def memory_bytes(self) -> int:
        """Return the proportional set size."""
        return self._memory("Pss")

    def anonymous_bytes(self) -> int:
        """
        Return the memory that no file backs.

        Unlike the proportional set size it does not grow when another process ends that
        mapped the same libraries, so it is the one to compare between two moments.
        """
        return self._memory("Anonymous")

    def _memory(self, name: str) -> int:
        """Return one figure of `/proc/PID/smaps_rollup`, in bytes."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)

    def assert_never_shown(self, *secrets: str) -> None:
        """Look for secrets, also in base64 and without their prefix, in all output."""
        places = {"output": self.output()}
        if self.process.poll() is None:
            for path in ("/metrics", "/status", "/livez", "/readyz", "/startupz", "/"):
                places[path] = self.admin(path).body.decode(errors="replace")
        for place, text in places.items():
            for secret in secrets:
                for form in encodings(secret):
                    assert form not in text, f"a secret is shown in {place}"


def encodings(secret: str) -> list[str]:
    """Spell a secret as it might leak: plain, without its prefix, base64 of each."""
    tail = secret.rpartition("_")[2]
    forms = [tail]
    for text in (secret, f"Bearer {secret}", tail):
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + text.encode()).decode()
            # Without the characters that depend on what stands before and behind.
            forms.append(coded[4 if offset else 0 : -4])
    return forms
