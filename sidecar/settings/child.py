"""
Load settings in a child process, which then ends: `python -m sidecar.settings.child`.

pydantic takes 12 MB and is used once, at the start. The child holds it while this
process imports the server, so the start takes no longer on two cores. The child gets no
AWS credentials, and answers with JSON: the settings, or what is wrong with them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings.introspection import opened
from sidecar.settings.model import Settings

INVALID: Final = 2
SECONDS: Final = 60.0
REGIONS: Final = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION"})


class SettingsLost(Exception):
    """The child ended without settings; its standard error says why."""


class Loading:
    """
    Settings that a child loads from the environment of this process.

    Args:
        path: The TOML file; None when every setting is in the environment.
    """

    def __init__(self, path: Path | None) -> None:
        command = [sys.executable, "-m", __name__]
        self._process = subprocess.Popen(  # noqa: S603  (our own module)
            command if path is None else [*command, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={
                name: value
                for name, value in os.environ.items()
                if not name.startswith("AWS_") or name in REGIONS
            },
        )

    def result(self) -> Settings:
        """
        Wait for the settings.

        Raises:
            SettingsInvalid: with every problem.
            SettingsLost: the child failed, or took longer than SECONDS.
        """
        with self._process as process:
            try:
                answer, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                answer = ""
        if process.returncode == INVALID and answer:
            raise SettingsInvalid([Problem(*fields) for fields in json.loads(answer)])
        if process.returncode != 0 or not answer:
            raise SettingsLost
        return from_json(answer)


def to_json(settings: Settings) -> str:
    """Write settings so that `from_json` reads them back."""
    return json.dumps(asdict(settings), default=os.fspath)


def from_json(text: str) -> Settings:
    """Read settings that `to_json` wrote."""
    return cast("Settings", _rebuilt(Settings, json.loads(text)))


def _rebuilt(hint: Any, value: Any) -> Any:
    """Make the value of a field from JSON."""
    kind, _ = opened(hint)
    if value is None:
        return None
    if get_origin(kind) is dict:
        return {name: _rebuilt(get_args(kind)[1], one) for name, one in value.items()}
    if get_origin(kind) is tuple:
        return tuple(_rebuilt(get_args(kind)[0], one) for one in value)
    if isinstance(value, dict):
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{name: _rebuilt(hints[name], one) for name, one in value.items()})
    return Path(value) if kind is Path else value


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the settings, or what is wrong with them, as JSON; return the exit code."""
    from sidecar.settings.loading import load  # noqa: PLC0415  (pydantic: child only)

    path = Path(arguments[0]) if arguments else None
    try:
        answer, code = to_json(load(path, environ)), 0
    except SettingsInvalid as exc:
        problems = [(p.path, p.reason, p.example) for p in exc.problems]
        answer, code = json.dumps(problems), INVALID
    except Exception as exc:  # noqa: BLE001  (its text may hold a key in a wrong place)
        kind = type(exc).__name__
        sys.stderr.write(f"sidecar: unexpected {kind} while settings were loaded\n")
        return 1
    sys.stdout.write(answer)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
