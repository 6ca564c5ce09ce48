"""The rotation runbook in the README is true: settings, commands, messages, files."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sidecar.core.rotation import refusals
from sidecar.core.rotation.facts import Refuse
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from sidecar.http_client import Fault
from sidecar.rotation import key_answers, store
from sidecar.rotation.assemble import options_of
from sidecar.settings.loading import load
from tests.support.processes import SECRET_ID, merge, to_toml
from tests.support.rotation_commands import Run, runner
from tests.support.rotation_rig import MANAGER_ID, Stage

ROOT: Final = Path(__file__).parents[2]
SECTION: Final = (
    (ROOT / "README.md")
    .read_text()
    .partition("\n## Rotation runbook\n")[2]
    .partition("\n## ")[0]
)

MODULES: Final = (key_answers, store)


def blocks(language: str) -> list[str]:
    """Find the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    """Find every command to type."""
    return [line for text in blocks("shell") for line in text.splitlines()]


@pytest.fixture(name="stage")
def _stage(api: EmulatedApi, moto: AwsClient) -> Stage:
    """A key in use, and a manager's key."""
    return Stage(api, moto)


@pytest.fixture(name="run")
def _run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command to its end."""
    return runner(tmp_path, monkeypatch, capsys)


def test_the_settings_are_those_of_a_rotation(stage: Stage, tmp_path: Path) -> None:
    """Put into a file that has the rest, they load, and name these two secrets."""
    (text,) = blocks("toml")
    settings = merge(stage.settings({"rotation": None}), tomllib.loads(text))
    file = tmp_path / "sidecar.toml"
    file.write_text(to_toml(settings))

    options = options_of(load(file, {}))

    assert (options.secret_id, options.manager.secret_id) == (SECRET_ID, MANAGER_ID)
    assert options.grace_seconds == 2 * 300


@pytest.mark.parametrize("line", lines())
def test_every_command_works(stage: Stage, run: Run, line: str) -> None:
    """As it is typed; only the example of a key's id is made to be one."""
    other = stage.api.issue()
    words = shlex.split(line.replace("key_0123456789ab", other.id))
    assert words[0] == "sidecar"

    ended = run(stage.settings(), *words[1:])

    assert ended.code == Exit.OK, ended.err
    assert "fln_live" not in ended.out


def test_every_command_of_aws_exists(moto: AwsClient) -> None:
    """Those in the text, too."""
    named = set(re.findall(r"aws secretsmanager ([a-z-]+)", SECTION))

    assert {"rotate-secret", "restore-secret", "update-secret-version-stage"} <= named
    assert all(hasattr(moto.secrets, name.replace("-", "_")) for name in named)


def test_the_cron_job_is_one_with_a_command_of_ours() -> None:
    """Its arguments are what the image's entry point takes."""
    (text,) = blocks("yaml")
    job: dict[str, Any] = yaml.safe_load(text)
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["args"] == ["rotate", "--if-due"]


def test_every_file_exists() -> None:
    """And every policy is named."""
    named = set(re.findall(r"\]\((config/iam/[^)]+)\)", SECTION))

    assert named == {f"config/iam/{p.name}" for p in (ROOT / "config/iam").iterdir()}


def test_every_message_in_the_table_is_ours() -> None:
    """Somebody who searches for what is said finds it."""
    ends = [end for end in vars(refusals).values() if isinstance(end, Refuse)]
    sources = [Path(module.__file__ or "").read_text() for module in MODULES]
    said = [" ".join(" ".join(sources).replace('"\n', "").split())]
    said += [end.reason for end in ends] + list(Fault)
    rows = re.findall(r"^\| ([0-9, ]+) \| (.*?) \| ", SECTION, re.MULTILINE)

    assert len(rows) == 13
    for exits, message in rows:
        assert {int(code) for code in exits.split(", ")} <= {int(e) for e in Exit}
        for part in re.split(r"; | \(\d+\)", message):
            assert any(part in text for text in said), part
