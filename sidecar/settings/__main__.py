"""The process that loads settings for another: `python -m sidecar.settings [FILE]`."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.errors import SettingsInvalid
from sidecar.settings.apart import INVALID
from sidecar.settings.lean import to_json
from sidecar.settings.loading import load


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the settings, or what is wrong with them, as JSON."""
    path = Path(arguments[0]) if arguments else None
    try:
        said, code = to_json(load(path, environ)), 0
    except SettingsInvalid as exc:
        problems = [(p.path, p.reason, p.example) for p in exc.problems]
        said, code = json.dumps(problems), INVALID
    except Exception as exc:  # noqa: BLE001  (its text may hold a key in a wrong place)
        kind = type(exc).__name__
        sys.stderr.write(f"sidecar: unexpected {kind} while settings were loaded\n")
        return 1
    sys.stdout.write(said)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
