"""`sidecar check` as a whole: the table, the exit codes, nothing of a secret."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.commands import check
from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import ENVIRONMENT, AwsClient, environment
from sidecar.emulator.key_ring import Issued
from sidecar.errors import Exit
from sidecar.hardening import HardeningStatus
from tests.support.processes import Settings, merge, to_toml

SECRET = "fln_live_0123456789abcdef0123456789abcdef"
Check = Callable[..., tuple[int, str]]


@pytest.fixture(name="run_check")
def _run_check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Check:
    """Run the command on settings; gives its exit code and what it printed."""
    posture = HardeningStatus(
        dumpable=False, core_bytes=0, memory_locked=True, no_new_privileges=True
    )
    # Hardening is for life: it would forbid the other tests to look at this process.
    monkeypatch.setattr(check, "harden", lambda: posture)
    for name in [name for name in os.environ if name.startswith(("AWS_", "SIDECAR_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(settings: Settings, *arguments: str) -> tuple[int, str]:
        file = tmp_path / "sidecar.toml"
        file.write_text(to_toml(settings))
        code = main(["check", "--config", str(file), *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, captured.out

    return run


def credential(changes: Settings) -> Settings:
    """Change the credential of the upstream."""
    return {"upstreams": {"flownally": {"credential": changes}}}


def test_everything_is_fine(
    run_check: Check, settings: Settings, issued: Issued
) -> None:
    """Exit code 0, and no line fails."""
    code, text = run_check(merge(settings, credential({"probe": "GET /contacts"})))

    assert code == Exit.OK
    assert "FAIL" not in text
    assert "it accepts the key" in text
    assert issued.key not in text


def test_a_file_is_looked_at_offline(
    run_check: Check, settings: Settings, issued: Issued, tmp_path: Path
) -> None:
    """It is on this machine; AWS and the API are not."""
    file = tmp_path / "key"
    file.write_text(issued.key)
    file.chmod(0o400)
    changes = credential({"file": str(file), "secret_id": None})

    code, text = run_check(merge(settings, changes), "--offline")

    assert code == Exit.OK
    assert "secret shape" in text
    assert "flownally: API" in text
    assert issued.key not in text


def test_offline_asks_nobody(run_check: Check, settings: Settings) -> None:
    """Addresses that do not exist do not matter."""
    unreachable: Settings = {
        "upstreams": {"flownally": {"base_url": "https://nobody.invalid"}},
        "aws": {"endpoint_url": "http://127.0.0.1:9"},
    }

    code, text = run_check(merge(settings, unreachable), "--offline")

    assert code == Exit.OK
    assert text.count("--offline") == 2


def test_settings_that_are_wrong_end_it(run_check: Check, settings: Settings) -> None:
    """Exit code 2: nothing else can be looked at, and every problem has its line."""
    wrong: Settings = {"log": {"level": "loud"}, "job": {"name": "x"}}

    code, text = run_check(merge(settings, wrong))

    assert code == Exit.USAGE
    assert len([line for line in text.splitlines() if line.startswith("FAIL")]) == 2
    assert '-> for example: "info"' in text


def test_a_secret_that_is_not_there(run_check: Check, settings: Settings) -> None:
    """Exit code 3, and the API is still looked at."""
    changes = credential({"secret_id": "none", "probe": "GET /contacts"})

    code, text = run_check(merge(settings, changes))

    assert code == Exit.CREDENTIAL
    assert "does not exist" in text
    assert "not tried: there is no key" in text


def test_a_key_that_the_api_refuses(
    run_check: Check, settings: Settings, issued: Issued, api: EmulatedApi
) -> None:
    """Exit code 4."""
    api.revoke(issued.id)

    code, text = run_check(merge(settings, credential({"probe": "GET /contacts"})))

    assert code == Exit.API
    assert "wrong or revoked" in text
    assert issued.key not in text


@pytest.mark.parametrize(
    ("stored", "code", "words"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Exit.OK, "verifies v1"),
        ("not-a-webhook-secret", Exit.CREDENTIAL, "neither whsec_ nor whpk_"),
        (None, Exit.CREDENTIAL, "does not exist"),
    ],
)
def test_a_webhook_endpoint(
    run_check: Check,
    settings: Settings,
    moto: AwsClient,
    stored: str | None,
    code: Exit,
    words: str,
) -> None:
    """Its secret must verify; its service may come later."""
    if stored is not None:
        moto.put_secret("dev/webhook", stored)
    webhook: Settings = {
        "webhooks": {
            "inbox": {
                "secret_id": "dev/webhook",
                "forward_to": "http://127.0.0.1:9/hooks",
            }
        },
        "webhook_listener": {"listen": "127.0.0.1:0"},
    }

    found, text = run_check(merge(settings, webhook))

    assert found == code
    assert words in text
    assert "no service listens" in text
    assert stored is None or stored not in text


@pytest.mark.parametrize(
    ("stored", "code"), [(SECRET, Exit.OK), ("Bearer " + SECRET, Exit.CREDENTIAL)]
)
def test_the_key_that_manages_keys(
    run_check: Check,
    settings: Settings,
    api: EmulatedApi,
    moto: AwsClient,
    stored: str,
    code: Exit,
) -> None:
    """It is a key too, in a place of its own."""
    moto.put_secret("dev/manager", json.dumps({"k": stored}))
    moto.put_secret("dev/crm", json.dumps({"api_key": api.issue().key}))
    rotation: Settings = {
        "rotation": {
            "service_account_id": "sa_1",
            "credential": {"secret_id": "dev/manager", "json_key": "k"},
        }
    }
    changes = credential({"secret_id": "dev/crm", "json_key": "api_key"})

    found, text = run_check(merge(merge(settings, rotation), changes))

    assert found == code
    assert "rotation: secret" in text
    assert SECRET not in text


def as_a_process(folder: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """Check settings with this key file, as from a shell."""
    file = folder / "sidecar.toml"
    file.write_text(
        to_toml(
            {
                "job": {"name": "development-crm-sync", "environment": "development"},
                "upstreams": {
                    "flownally": {
                        "listen": "127.0.0.1:0",
                        "base_url": "https://api.flownally.com/v1",
                        "credential": {"file": str(key)},
                    }
                },
                "admin": {"listen": "127.0.0.1:0"},
            }
        )
    )
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "check", "--offline", "--config", file],
        env=environment(os.environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    """With real hardening, and the exit code of a shell."""
    done = as_a_process(tmp_path, tmp_path / "none")

    assert done.returncode == Exit.CREDENTIAL
    assert "the file does not exist" in done.stdout
    assert "not dumpable, no core file" in done.stdout
    assert done.stderr == ""


def test_a_finding_is_told_in_the_table_alone(tmp_path: Path) -> None:
    """Not a second time as a line of a log that nobody has set up."""
    key = tmp_path / "key"
    key.write_text("fln_live_0123456789abcdef")
    key.chmod(0o644)

    done = as_a_process(tmp_path, key)

    assert "0644" in done.stdout
    assert done.stderr == ""
