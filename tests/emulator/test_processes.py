"""The emulators as processes, as load tests run them."""

import json
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator.aws import AwsClient
from sidecar.emulator.control import Control
from sidecar.emulator.state import Faults


@contextmanager
def emulator(module: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run an emulator; yields what it tells; it must end well."""
    with subprocess.Popen(
        [sys.executable, "-m", f"sidecar.emulator.{module}", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
    assert code == 0


def status(told: dict[str, Any], key: str) -> int:
    """Call the API with a key."""
    request = urllib.request.Request(
        f"{told['base_url']}/contacts", headers={"Authorization": f"Bearer {key}"}
    )
    context = ssl.create_default_context(cafile=told["ca_file"])
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_api_takes_orders_on_its_control_port(tmp_path: Path) -> None:
    """All that the handle in a thread can do, from another process."""
    with emulator("api", "--state-dir", str(tmp_path)) as told:
        control = Control(told["control_port"])
        control.add_account("sa_other", frozenset({"contacts:write"}))
        first, late = control.issue(), control.issue(active=False)
        seen = [status(told, first.key), status(told, late.key)]
        control.activate(late.id)
        seen.append(status(told, late.key))
        control.revoke(first.id)
        control.expire(late.id)
        seen += [status(told, first.key), status(told, late.key)]
        seen.append(status(told, control.issue("sa_other").key))
        control.fail(Faults(status=503))
        seen.append(status(told, first.key))
        control.fail()
        counts = control.counts()

    assert seen == [200, 401, 200, 401, 401, 403, 503]
    assert counts["status"] == {"200": 2, "401": 3, "403": 1, "503": 1}
    assert counts["key"][first.id] == 3
    assert (counts["inflight"], counts["cancelled"]) == (0, 0)


def test_a_wrong_order_is_refused(tmp_path: Path) -> None:
    """The control port says what it does not understand."""
    with emulator("api", "--state-dir", str(tmp_path)) as told:
        control = Control(told["control_port"])

        with pytest.raises(ValueError, match="PUT /faults: 400"):
            control.fail(Faults(delay_seconds="x"))  # type: ignore[arg-type]  # that is the test


def test_the_api_knows_its_keys_after_a_restart(tmp_path: Path) -> None:
    """CA and keys outlive the process."""
    with emulator("api", "--state-dir", str(tmp_path)) as told:
        key = Control(told["control_port"]).issue().key
    with emulator("api", "--state-dir", str(tmp_path)) as told:
        assert status(told, key) == 200


def test_secrets_manager_runs_as_a_process() -> None:
    """It tells its endpoint, and a real boto3 stores a secret there."""
    with emulator("aws") as told:
        aws = AwsClient(told["endpoint_url"])
        aws.put_secret("a/b", "value")

        found = aws.secrets.get_secret_value(SecretId="a/b", VersionStage="AWSCURRENT")

    assert found["SecretString"] == "value"
