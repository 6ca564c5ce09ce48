"""
The command line.

Rule 1: a command's module is imported when it is chosen, so `run` pays for nothing
that only `demo` or `check` needs.
Rule 2: an exception that nobody expected is shown as its type and place. Its text and
arguments may hold a key; they are never printed.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn, Protocol, cast

from sidecar import __version__
from sidecar.commands import key_log
from sidecar.errors import Exit, SecretRejected, SettingsInvalid, SourceFailed

COMMANDS: Final = MappingProxyType(
    {
        "run": "run the sidecar",
        "check": "check everything that a run needs, with a remedy for what is wrong",
        "wait": "wait until a running sidecar has its keys",
        "reload": "make a running sidecar look for new keys now",
        "quit": "make a running sidecar drain and exit",
        "rotate": "rotate a key: create, store, prove, promote, revoke",
        "keys": "create, list or revoke keys",
        "webhook": "sign a webhook delivery for testing",
        "settings": "print the reference of every setting",
        "demo": "run the sidecar against an emulated API and Secrets Manager",
    }
)
"""Command -> summary; each is the module of that name in `sidecar.commands`."""

EPILOG: Final = """\
exit codes: 0 fine; 1 unexpected; 2 usage or settings; 3 credential or permission;
4 the API is unreachable or refuses the key; 5 timed out"""


PACKAGE: Final = str(Path(__file__).parent) + os.sep
ROOT: Final = PACKAGE.removesuffix(f"sidecar{os.sep}")


class Command(Protocol):
    """What the module of a command has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""

    def run(self, args: argparse.Namespace) -> Exit:
        """Do it, and tell the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser that does not repeat values: one may be a key in the wrong place."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the rule that was broken, then exit with 2."""
        message = message.replace("COMMAND, arguments", "COMMAND")
        if message.startswith("unrecognized arguments: "):
            words = message.split()[2:]
            names = [word.partition("=")[0] for word in words if word.startswith("-")]
            message = f"unrecognized arguments {' '.join(names)}".rstrip()
        elif "invalid " in message:
            rule, choose, choices = message.partition(" (choose")
            message = rule.rpartition(": ")[0] + choose + choices
        super().error(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as exc:  # argparse: help, version, usage
        return exc.code if isinstance(exc.code, int) else Exit.OK
    except KeyboardInterrupt:
        _say("interrupted")
        return Exit.UNEXPECTED
    except Exception as exc:  # noqa: BLE001  (the outermost ladder)
        return _failed(exc)


def _failed(exc: Exception) -> Exit:
    match exc:
        case SettingsInvalid(problems=problems):
            for problem in problems:
                _say(str(problem))
            return Exit.USAGE
        case SourceFailed() | SecretRejected():
            _say(str(exc))
            return Exit.CREDENTIAL
        case BrokenPipeError():
            # The reader left, as `head` does. Python flushes once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.OK
        case ExceptionGroup(exceptions=(Exception() as only,)):
            return _failed(only)
        case _:
            for line in _places(exc):
                _say(line)
            return Exit.UNEXPECTED


def _main(argv: list[str]) -> Exit:
    top = Parser(
        prog="sidecar",
        description="Keeps API keys out of application code.",
        epilog=_commands() + EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"sidecar {__version__}")
    _add_config(top)
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    top.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = top.parse_args(argv)

    key_log.blind()
    module = importlib.import_module(f"sidecar.commands.{chosen.command}")
    command = cast("Command", module)
    parser = Parser(prog=f"sidecar {chosen.command}", description=module.__doc__)
    _add_config(parser, default=chosen.config)
    command.configure(parser)
    return command.run(parser.parse_args(chosen.arguments))


def _add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="settings file (TOML); else SIDECAR_CONFIG, else the environment alone",
    )


def _commands() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "commands:\n" + "\n".join(lines) + "\n\n"


def _say(line: str) -> None:
    print(f"sidecar: {line}", file=sys.stderr)  # noqa: T201  (a command line speaks)


def _places(exc: BaseException) -> list[str]:
    """Name the type and the place of an exception, or of each one in a group."""
    if isinstance(exc, BaseExceptionGroup):
        return [line for inner in exc.exceptions for line in _places(inner)]
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
    ]
    ours = [place for place in places if place[0].startswith(PACKAGE)]
    file, line = (ours or places or [("?", 0)])[-1]
    return [f"unexpected {type(exc).__name__} at {file.removeprefix(ROOT)}:{line}"]
