"""
The command line.

Rule 1: a command's module is imported when it is chosen, so `run` pays for nothing
    that only `demo` or `check` needs.
Rule 2: an unexpected exception is shown as its type and place. Its text and arguments
    may hold a key; they are never printed.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from sidecar import __version__
from sidecar.errors import Exit, SecretRejected, SettingsInvalid, SourceFailed

COMMANDS: Final = MappingProxyType(
    {
        "run": "run the sidecar",
        "check": "check everything that a run needs, with a remedy for each problem",
        "wait": "wait until a running sidecar has its keys",
        "reload": "make a running sidecar refresh its keys now",
        "quit": "make a running sidecar drain and exit",
        "rotate": "rotate a key: create, store, prove, promote, revoke",
        "keys": "create, list or revoke keys",
        "webhook": "sign a webhook delivery for testing",
        "settings": "print the reference of every setting",
        "demo": "run the sidecar against an emulated API and Secrets Manager",
    }
)
"""Command -> summary; `load_command` imports the code."""

EPILOG: Final = """\
exit codes: 0 fine; 1 unexpected; 2 usage or settings; 3 credential or permission;
4 the API is unreachable or refuses the key; 5 timed out"""


KEY_LOG_VARIABLE: Final = "SSLKEYLOGFILE"
"""Python writes the secrets of TLS sessions to this file."""
PACKAGE: Final = str(Path(__file__).parent) + os.sep
ROOT: Final = PACKAGE.removesuffix(f"sidecar{os.sep}")


@dataclass(frozen=True, slots=True)
class Subcommand:
    """The code of a command."""

    help: str | None
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the options of the command."""
    run: Callable[[argparse.Namespace], Exit]


def load_command(name: str) -> Subcommand:  # noqa: PLR0911 - one for each module
    """Import the module of one command, and no other."""
    match name:
        case "run":
            from sidecar.commands import run

            return Subcommand(run.__doc__, run.configure, run.run)
        case "check":
            from sidecar.commands import check

            return Subcommand(check.__doc__, check.configure, check.run)
        case "wait" | "reload" | "quit":
            from sidecar.commands import control

            configure = control.configure
            if name == "wait":
                return Subcommand(
                    control.wait.__doc__, control.configure_wait, control.wait
                )
            act = control.reload if name == "reload" else control.quit_sidecar
            return Subcommand(act.__doc__, configure, act)
        case "rotate":
            from sidecar.commands import rotate

            return Subcommand(rotate.__doc__, rotate.configure, rotate.run)
        case "keys":
            from sidecar.commands import keys

            return Subcommand(keys.__doc__, keys.configure, keys.run)
        case "webhook":
            from sidecar.commands import webhook

            return Subcommand(webhook.__doc__, webhook.configure, webhook.run)
        case "settings":
            from sidecar.commands import settings

            return Subcommand(settings.__doc__, settings.configure, settings.run)
        case _:
            from sidecar.commands import demo

            return Subcommand(demo.__doc__, demo.configure, demo.run)


class Parser(argparse.ArgumentParser):
    """A parser whose errors contain no values: a value may be a misplaced key."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the broken rule, then exit with 2."""
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
    except Exception as exc:  # noqa: BLE001  (the outermost handler)
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
            # The reader has gone, as `head` does. Python flushes once more at exit.
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

    _disable_key_log()
    command = load_command(chosen.command)
    parser = Parser(prog=f"sidecar {chosen.command}", description=command.help)
    _add_config(parser, default=chosen.config)
    command.configure(parser)
    return command.run(parser.parse_args(chosen.arguments))


def _disable_key_log() -> None:
    """
    Make SSLKEYLOGFILE harmless before aiohttp is imported; the settings then refuse it.

    aiohttp opens the file at import, and its error would come before our message.
    """
    if os.environ.get(KEY_LOG_VARIABLE):
        os.environ[KEY_LOG_VARIABLE] = os.devnull


def _add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="settings file (TOML); default: SIDECAR_CONFIG, else only the environment",
    )


def _commands() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "commands:\n" + "\n".join(lines) + "\n\n"


def _say(line: str) -> None:
    print(f"sidecar: {line}", file=sys.stderr)  # noqa: T201  (a command line speaks)


def _places(exc: BaseException) -> list[str]:
    """Return type and place of an exception, or of each one in a group."""
    if isinstance(exc, BaseExceptionGroup):
        return [line for inner in exc.exceptions for line in _places(inner)]
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
    ]
    ours = [place for place in places if place[0].startswith(PACKAGE)]
    file, line = (ours or places or [("?", 0)])[-1]
    return [f"unexpected {type(exc).__name__} at {file.removeprefix(ROOT)}:{line}"]
