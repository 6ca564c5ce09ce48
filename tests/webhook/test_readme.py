"""The README's section on webhooks is true: its app, its settings, its commands."""

import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jmespath  # type: ignore[import-untyped]  # what the AWS CLI has for --query
import pytest
from werkzeug.serving import make_server

from sidecar.emulator.aws import environment
from sidecar.emulator.http_calls import wait_until
from sidecar.metrics.instruments import WEBHOOK_RESULTS
from sidecar.webhook.outcome import COUNTED, STATUS, WebhookResult
from sidecar.webhook.runner import PortLimits
from tests.support.webhook_fakes import OTHER, SECRET

if TYPE_CHECKING:
    from sidecar.emulator.aws import AwsClient
    from tests.support.processes import Settings, SidecarProcess

ROOT: Final = Path(__file__).parents[2]
SECTION: Final = (
    (ROOT / "README.md")
    .read_text()
    .partition("\n## Webhooks\n")[2]
    .partition("\n## ")[0]
)


def block(language: str, number: int = 0) -> str:
    """Return a code block of the section."""
    found = re.findall(
        rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL
    )
    return str(found[number])


def commands(number: int) -> list[str]:
    """Return what is typed in a console block, line by line."""
    text = block("console", number).replace("\\\n", "")
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


def test_a_reader_follows_the_section(
    moto: "AwsClient",
    sidecar_process: "Callable[[Settings], SidecarProcess]",
) -> None:
    """The app behind the settings gets what the command sends, and prints it."""
    printed: list[tuple[object, ...]] = []
    names: dict[str, Any] = {"__name__": "app", "print": lambda *w: printed.append(w)}
    exec(compile(block("python"), "README.md", "exec"), names)  # the README's own app
    server = make_server("127.0.0.1", 0, names["app"])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = tomllib.loads(block("toml"))
    inbox = settings["webhooks"]["inbox"]
    moto.put_secret(inbox["secret_id"], SECRET)
    inbox["forward_to"] = inbox["forward_to"].replace("3000", str(server.port))
    settings |= {
        "job": {"name": "staging-crm-sync", "environment": "staging"},
        "webhook_listener": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
    }
    receiver = sidecar_process(settings)
    receiver.wait_listening()
    wait_until(lambda: receiver.logs("webhook_secrets_changed"))
    url = f"http://{receiver.address('webhooks')}/webhooks/inbox"
    make_body, sign = commands(0)
    python = shlex.join([sys.executable, "-m", "sidecar"])
    typed = f"{make_body}\n{sign.replace('sidecar', python, 1)} --url {url}"

    said = subprocess.run(
        ["sh", "-c", typed],
        cwd=receiver.config.parent,
        env=moto_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    server.shutdown()
    thread.join()

    assert said.stdout in block("console")
    assert [word for line in printed for word in line][1:] == ["contact.created"]


def moto_environment() -> dict[str, str]:
    """Return an environment with the emulator's credentials and this checkout."""
    return {**environment(os.environ), "PYTHONPATH": str(ROOT)}


def test_the_table_has_the_key_that_we_write() -> None:
    """Key and TTL attribute of the README are those of `dynamodb.py`."""
    create, ttl = (shlex.split(line) for line in commands(2))

    assert create[create.index("--key-schema") + 1] == "AttributeName=id,KeyType=HASH"
    assert ttl[-1] == "Enabled=true,AttributeName=expires"


def test_a_leaked_secret_is_valid_until_its_label_is_off(moto: "AwsClient") -> None:
    """What is typed finds the leaked version, and takes the label off."""
    find, remove, _ = commands(1)
    words = shlex.split(remove)
    given = dict(zip(words[3::2], words[4::2], strict=True))
    name = given["--secret-id"]
    assert f"--secret-id {name} " in find
    moto.put_secret(name, SECRET)
    new = moto.rotate(name, OTHER)
    versions = moto.secrets.list_secret_version_ids(SecretId=name)
    query = shlex.split(find.partition("$(")[2].removesuffix(")"))
    found = jmespath.search(query[query.index("--query") + 1], versions)

    moto.secrets.update_secret_version_stage(
        SecretId=name,
        VersionStage=given["--version-stage"],
        RemoveFromVersionId=found[0],
    )

    assert words[:3] == ["aws", "secretsmanager", "update-secret-version-stage"]
    assert given["--remove-from-version-id"] == "$leaked"
    with pytest.raises(KeyError):
        moto.version(name, "AWSPREVIOUS")
    assert moto.version(name, "AWSCURRENT") == new


def test_the_table_of_results_is_complete() -> None:
    """Every result with its status; those that are counted are the metric's."""
    rows = re.findall(r"^\| .* \| (\d{3}).* \| `(\w+)` \|$", SECTION, re.MULTILINE)
    uncounted = re.findall(r"(\d{3}) `(\w+)`", SECTION)

    listed = {result: int(status) for status, result in [*rows, *uncounted]}
    assert listed == {
        result.value: status
        for result, status in STATUS.items()
        if result is not WebhookResult.INTERNAL
    }
    assert {result for _, result in rows} == COUNTED == set(WEBHOOK_RESULTS)


def test_the_numbers_are_the_defaults() -> None:
    """Those in the text are those of the listener."""
    options = PortLimits()

    assert f"longer than {options.body_seconds:g} s" in SECTION
    assert f"{options.max_connections} connections" in SECTION
    assert f"{options.max_buffered_bytes >> 20} MiB of bodies" in SECTION
    assert f"{options.max_ids:,} ids" in SECTION
