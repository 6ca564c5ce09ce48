"""The command `sidecar demo`."""

import subprocess
import sys

import pytest

from sidecar.cli import main
from sidecar.errors import Exit

WITHOUT_MOTO = """\
import sys
sys.modules["moto"] = None
from sidecar.cli import main
sys.exit(main(["demo", "--once"]))
"""


def test_without_its_extra_it_says_what_to_install() -> None:
    """The emulators come with the extra `demo` only."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MOTO],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == Exit.USAGE
    assert "flownally-sidecar[demo]" in done.stderr


@pytest.mark.parametrize("option", ["--port", "--admin-port", "--webhook-port"])
@pytest.mark.parametrize(
    "text", ["65536", "-1", "99999999999", "1.5", "http", "\u0661"]
)
def test_a_port_that_cannot_be_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], option: str, text: str
) -> None:
    """With the option's name, before anything is started."""
    assert main(["demo", "--once", f"{option}={text}"]) == Exit.USAGE

    said = capsys.readouterr().err
    assert f"argument {option}: must be a port from 0 to 65535" in said


def test_help_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Ports and `--once`."""
    main(["demo", "--help"])

    said = capsys.readouterr().out
    assert all(option in said for option in ("--port", "--admin-port", "--once"))
