"""Print the reference of every setting: as a Markdown table, or as a TOML file."""

import argparse
import sys
from pathlib import Path

from sidecar.errors import Exit
from sidecar.settings import reference


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the form of the reference."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--toml", action="store_true", help="print an example settings file instead"
    )
    form.add_argument(
        "--write",
        metavar="FILE",
        type=Path,
        help=f"put the table into FILE, between {reference.BEGIN} and {reference.END}",
    )


def run(args: argparse.Namespace) -> Exit:
    """Print it, or write it."""
    if args.write is None:
        print(reference.toml() if args.toml else reference.markdown(), end="")
        return Exit.OK
    try:
        document = reference.embed(args.write.read_text())
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        print(f"sidecar: cannot write the reference: {reason}", file=sys.stderr)
        return Exit.USAGE
    args.write.write_text(document)
    return Exit.OK
