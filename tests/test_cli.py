"""The command line: choosing a command, exit codes, and what is never printed."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

import sidecar
from sidecar import cli
from sidecar.errors import (
    Exit,
    Problem,
    RefreshResult,
    SecretRejected,
    SettingsInvalid,
    SourceFailed,
)

SECRET = "fln_live_0123456789abcdef"
Install = Callable[[Callable[[Namespace], Exit]], None]


@pytest.fixture(name="install")
def _install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a command of our own in the place of `reload`."""

    def install(run: Callable[[Namespace], Exit]) -> None:
        def configure(parser: ArgumentParser) -> None:
            parser.add_argument("--count", type=int, default=0)

        command = cli.Subcommand("A command of the tests.", configure, run)
        monkeypatch.setattr(cli, "load_command", lambda _: command)

    return install


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`sidecar --version` names the program too."""
    assert cli.main(["--version"]) == Exit.OK

    assert capsys.readouterr().out == f"sidecar {sidecar.__version__}\n"


def test_help_lists_every_command_and_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A new user begins there."""
    assert cli.main(["--help"]) == Exit.OK

    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in cli.COMMANDS)
    assert "5 timed out" in text


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_module_with_help(name: str) -> None:
    """Each says what it does, in a process of its own as people run it."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", name, "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"usage: sidecar {name}" in done.stdout
    assert "--config" in done.stdout


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "required: COMMAND\n"),
        (["start"], "choose from 'run'"),
        (["wait", "--timeout", SECRET], "--timeout: must be a number of seconds"),
        (["wait", f"--key={SECRET}"], "unrecognized arguments --key\n"),
        (["wait", SECRET], "unrecognized arguments\n"),
        ([SECRET], "invalid choice"),
        (["settings", "--toml", "--write", "x"], "not allowed with"),
    ],
)
def test_wrong_usage_is_explained_without_its_values(
    capsys: pytest.CaptureFixture[str], argv: list[str], text: str
) -> None:
    """A key in the wrong place must not end up in a log of the shell's output."""
    assert cli.main(argv) == Exit.USAGE

    captured = capsys.readouterr()
    assert text in captured.err
    assert SECRET not in captured.err + captured.out


@pytest.mark.parametrize(
    "argv",
    [
        ["--config", "a.toml", "reload"],
        ["reload", "--config", "a.toml"],
        ["--config", "b.toml", "reload", "--config", "a.toml"],
    ],
)
def test_the_settings_file_is_named_before_or_after_the_command(
    install: Install, argv: list[str]
) -> None:
    """Both are natural; the later one wins."""
    seen: list[str] = []

    def run(args: Namespace) -> Exit:
        seen.append(args.config)
        return Exit.OK

    install(run)

    assert cli.main(argv) == Exit.OK
    assert seen == ["a.toml"]


def test_a_commands_own_arguments_reach_it(install: Install) -> None:
    """`configure` adds them, `run` reads them; its exit code is the program's."""
    install(lambda args: Exit(args.count))

    assert cli.main(["reload", "--count", "5"]) == Exit.TIMED_OUT


def test_every_problem_of_the_settings_has_a_line(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, exit code 2."""

    def run(_: Namespace) -> Exit:
        raise SettingsInvalid([Problem("a.b", "is bad", "5"), Problem("c", "is worse")])

    install(run)

    assert cli.main(["reload"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        "sidecar: a.b: is bad (for example: 5)\nsidecar: c: is worse\n"
    )


@pytest.mark.parametrize(
    "failure",
    [
        SourceFailed(RefreshResult.DENIED, "access denied", "allow it"),
        SecretRejected("access denied", "allow it"),
    ],
)
def test_a_credential_that_cannot_be_had(
    install: Install, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    """Exit code 3, with the remedy."""

    def run(_: Namespace) -> Exit:
        raise failure

    install(run)

    assert cli.main(["reload"]) == Exit.CREDENTIAL
    assert capsys.readouterr().err == "sidecar: access denied; allow it\n"


def test_an_unexpected_exception_shows_its_type_and_place_only(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text, arguments, notes, causes and locals may hold a key."""

    def run(_: Namespace) -> Exit:
        nothing: dict[str, Exit] = {}
        try:
            return nothing[SECRET]
        except KeyError as exc:
            broken = RuntimeError(f"could not use {SECRET}")
            broken.add_note(SECRET)
            raise broken from exc

    install(run)

    assert cli.main(["reload"]) == Exit.UNEXPECTED
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "sidecar: unexpected RuntimeError at sidecar/cli.py:"
    )
    assert captured.err.count("\n") == 1
    assert SECRET not in captured.err + captured.out


def test_every_exception_of_a_group_has_a_line(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """A TaskGroup gives groups, and a group's own type says nothing."""

    def run(_: Namespace) -> Exit:
        inner = ExceptionGroup(SECRET, [ValueError(SECRET), OSError(SECRET)])
        raise ExceptionGroup(SECRET, [inner, TypeError(SECRET)])

    install(run)

    assert cli.main(["reload"]) == Exit.UNEXPECTED
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["ValueError", "OSError", "TypeError"]
    assert SECRET not in str(lines)


def test_a_group_of_known_failures_keeps_their_exit_code(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """A TaskGroup wraps what one of its tasks raises."""

    def run(_: Namespace) -> Exit:
        failure = SourceFailed(RefreshResult.INVALID, "not a key", "fix it")
        message = "unhandled errors in a TaskGroup"
        raise ExceptionGroup(message, [failure])

    install(run)

    assert cli.main(["reload"]) == Exit.CREDENTIAL
    assert capsys.readouterr().err == "sidecar: not a key; fix it\n"


def test_ctrl_c_is_no_traceback(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """One word is enough."""

    def run(_: Namespace) -> Exit:
        raise KeyboardInterrupt

    install(run)

    assert cli.main(["reload"]) == Exit.UNEXPECTED
    assert capsys.readouterr().err == "sidecar: interrupted\n"


def test_a_broken_pipe_ends_quietly(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Python's own flush at exit must not complain either."""
    replaced: list[int] = []
    monkeypatch.setattr(
        "sidecar.cli.os.dup2", lambda _, target: replaced.append(target)
    )

    def run(_: Namespace) -> Exit:
        raise BrokenPipeError

    install(run)

    assert cli.main(["reload"]) == Exit.OK
    assert replaced == [sys.stdout.fileno()]
    assert capfd.readouterr().err == ""


def test_a_reader_that_leaves_is_no_failure() -> None:
    """`sidecar settings | head -1` is fine."""
    command = f"{sys.executable} -m sidecar settings | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.stdout == "| setting | default | values | meaning |\n"
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["settings", "wait", "reload", "quit"])
def test_a_command_imports_only_what_it_needs(name: str) -> None:
    """The AWS SDK, the emulators and the servers cost seconds and tens of MB."""
    script = (
        "import sys; from sidecar import cli; "
        f"cli.main([{name!r}, '--help']); "
        "heavy = {'boto3', 'botocore', 'moto', 'aiohttp', 'uvloop', 'prometheus_client'};"
        "sys.exit(' '.join(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.stderr.strip() == ""


def test_the_module_is_the_console_script(tmp_path: Path) -> None:
    """`python -m sidecar` has the same exit codes."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "wait", "--config", tmp_path / "none.toml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == Exit.USAGE
    assert "none.toml: cannot be read: No such file" in done.stderr
    assert "Traceback" not in done.stderr
