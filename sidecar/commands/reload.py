"""Make a running sidecar look for new keys now."""

import argparse
import json
import sys
from typing import Final

from sidecar.commands import control
from sidecar.errors import Exit, RefreshResult
from sidecar.settings.names import TABLE_NAME

FAILED: Final = 502
"""A source did not give a key; the old one serves on."""

configure = control.configure


def run(args: argparse.Namespace) -> Exit:
    """Ask it, and tell what each look gave."""
    target = control.target_of(args)
    answer = control.call("POST", target, "/-/reload", control.CALL_SECONDS)
    if not answer.good and answer.status != FAILED:
        print(f"sidecar: {control.explain(target, answer)}", file=sys.stderr)
        return Exit.UNEXPECTED
    print(*results_in(answer.text) or ["under way"], sep="\n")
    return Exit.OK if answer.good else Exit.CREDENTIAL


def results_in(text: str) -> list[str]:
    """Read the results of the looks; what is none of ours is not repeated."""
    try:
        results = json.loads(text)["reload"]
        return [
            f"{name}: {RefreshResult(result)}"
            for name, result in results.items()
            if TABLE_NAME.fullmatch(name)
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
