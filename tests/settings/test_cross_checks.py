"""Rules between tables."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sidecar.settings.cross_checks import problems as find
from tests.support.settings_files import (
    CREDENTIAL,
    GOOD,
    JOB,
    UPSTREAM,
    WEBHOOK,
    reasons,
)

SECOND = """
[upstreams.second]
base_url = "https://api.example.org"
listen = "{}"
credential = {{ secret_id = "dev/second" }}
"""


def test_webhooks_alone_are_enough_to_do(tmp_path: Path) -> None:
    """A job may only receive."""
    assert reasons(tmp_path, JOB + WEBHOOK) == {}


@pytest.mark.parametrize("text", [JOB, JOB + "[upstreams]\n", JOB + "[webhooks]\n"])
def test_nothing_to_do_is_a_mistake(tmp_path: Path, text: str) -> None:
    """A sidecar without upstream and webhook would look healthy and do nothing."""
    assert "nothing to do" in reasons(tmp_path, text)["upstreams"]


@pytest.mark.parametrize(
    ("text", "path", "other"),
    [
        pytest.param(
            GOOD + SECOND.format("127.0.0.1:8700"),
            "upstreams.second.listen",
            "upstreams.flownally.listen",
            id="two-upstreams",
        ),
        pytest.param(
            GOOD + SECOND.format("127.0.0.1:8701"),
            "admin.listen",
            "upstreams.second.listen",
            id="default-of-admin",
        ),
        pytest.param(
            GOOD + '[admin]\nlisten="0.0.0.0:8700"',
            "admin.listen",
            "upstreams.flownally.listen",
            id="wildcard",
        ),
        pytest.param(
            GOOD + WEBHOOK + '[admin]\nlisten="127.0.0.1:8702"',
            "webhook_listener.listen",
            "admin.listen",
            id="webhooks",
        ),
        pytest.param(
            GOOD.replace(
                "[upstreams.flownally]", '[upstreams.flownally]\nlisten="unix:/a"'
            )
            + SECOND.format("unix:/a"),
            "upstreams.second.listen",
            "upstreams.flownally.listen",
            id="sockets",
        ),
    ],
)
def test_listeners_do_not_share_an_address(
    tmp_path: Path, text: str, path: str, other: str
) -> None:
    """The second one could not be opened; the public one must never be another's."""
    assert other in reasons(tmp_path, text)[path]


@pytest.mark.parametrize("name", ["admin", "webhooks"])
def test_an_upstream_has_no_listeners_name(tmp_path: Path, name: str) -> None:
    """Nobody could tell the two apart in logs and in /status."""
    text = GOOD.replace("upstreams.flownally", f"upstreams.{name}")
    found = reasons(tmp_path, text)

    assert set(found) == {f"upstreams.{name}"}
    assert "of the sidecar's own" in found[f"upstreams.{name}"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD + SECOND.format("127.0.0.2:8700"), id="other-host"),
        pytest.param(GOOD + SECOND.format("unix:/run/b.sock"), id="socket"),
        pytest.param(
            GOOD + '[admin]\nlisten="127.0.0.1:8702"', id="webhooks-are-closed"
        ),
        pytest.param(
            GOOD.replace(
                "[upstreams.flownally]", '[upstreams.flownally]\nlisten="127.0.0.1:0"'
            )
            + SECOND.format("127.0.0.1:0")
            + '[admin]\nlisten="127.0.0.1:0"',
            id="free-ports",
        ),
    ],
)
def test_listeners_beside_each_other(tmp_path: Path, text: str) -> None:
    """Other hosts, sockets, free ports, and a listener that is not opened."""
    assert reasons(tmp_path, text) == {}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param(
            GOOD.replace("https://api.flownally.com/v1", "http://localhost:8700/v1"),
            "upstreams.flownally.base_url",
            id="upstream-is-the-proxy",
        ),
        pytest.param(
            GOOD.replace("https://api.flownally.com/v1", "https://127.0.0.1:8701"),
            "upstreams.flownally.base_url",
            id="upstream-is-the-admin-port",
        ),
        pytest.param(
            GOOD + WEBHOOK.replace(":3000", ":8702"),
            "webhooks.inbox.forward_to",
            id="webhook-to-webhook",
        ),
        pytest.param(
            GOOD + WEBHOOK.replace(":3000", ":8700"),
            "webhooks.inbox.forward_to",
            id="webhook-to-the-api",
        ),
    ],
)
def test_the_sidecar_never_calls_itself(tmp_path: Path, text: str, path: str) -> None:
    """Each call would make another one."""
    assert "the sidecar itself" in reasons(tmp_path, text)[path]


def test_a_socket_to_the_service_is_no_loop(tmp_path: Path) -> None:
    """A Unix socket has no port to compare."""
    text = GOOD + WEBHOOK.replace("http://127.0.0.1:3000/hooks", "unix:/run/app.sock")

    assert reasons(tmp_path, text) == {}


def test_production_expects_its_own_keys(tmp_path: Path) -> None:
    """`key_prefix` and the environment belong together."""
    text = (GOOD + 'key_prefix = "fln_test_"\n').replace("development", "production")

    path = "upstreams.flownally.credential.key_prefix"
    assert "another environment" in reasons(tmp_path, text)[path]


@pytest.mark.parametrize(
    ("environment", "url", "refused"),
    [
        ("production", "http://localstack:4566", True),
        ("production", "http://127.0.0.1:4566", False),
        ("production", "https://vpce.example.org", False),
        ("development", "http://localstack:4566", False),
    ],
)
def test_production_fetches_no_secret_in_plain(
    tmp_path: Path, environment: str, url: str, refused: bool
) -> None:
    """An emulator's endpoint in production would show the key on the network."""
    text = (GOOD + f'[aws]\nendpoint_url = "{url}"').replace("development", environment)

    assert ("aws.endpoint_url" in reasons(tmp_path, text)) is refused


def test_sslkeylogfile_is_refused(tmp_path: Path) -> None:
    """Python's TLS would write down what decrypts every call."""
    found = reasons(tmp_path, GOOD, {"SSLKEYLOGFILE": "/tmp/keys"})

    assert list(found) == ["SSLKEYLOGFILE"]
    assert reasons(tmp_path, GOOD, {"SSLKEYLOGFILE": ""}) == {}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "No such file"),
        (b"", "no PEM certificate"),
        (b"-----BEGIN PRIVATE KEY-----\n", "no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\n", None),
    ],
)
def test_a_ca_file_has_a_certificate(
    tmp_path: Path, content: bytes | None, rule: str | None
) -> None:
    """Without it no call would succeed."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    found = reasons(
        tmp_path, GOOD.replace("base_url", f'ca_file = "{file}"\nbase_url', 1)
    )

    if rule is None:
        assert found == {}
    else:
        assert rule in found["upstreams.flownally.ca_file"]


KEYED = GOOD + 'json_key = "api_key"\n'
ROTATION = """
[rotation]
service_account_id = "sa_1"
{}
[rotation.credential]
secret_id = "dev/manager"
"""


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(KEYED + ROTATION.format(""), None, id="the-only-one"),
        pytest.param(
            KEYED + ROTATION.format('upstream = "flownally"'), None, id="named"
        ),
        pytest.param(
            KEYED + ROTATION.format('upstream = "other"'),
            "names no upstream",
            id="wrong",
        ),
        pytest.param(
            KEYED + SECOND.format("127.0.0.1:1") + ROTATION.format(""),
            "is required",
            id="one-of-two",
        ),
        pytest.param(
            JOB + WEBHOOK + ROTATION.format(""), "is required", id="no-upstream"
        ),
    ],
)
def test_rotation_knows_whose_key(tmp_path: Path, text: str, rule: str | None) -> None:
    """With one upstream it is that one."""
    found = reasons(tmp_path, text)

    if rule is None:
        assert found == {}
    else:
        assert rule in found["rotation.upstream"]


def test_a_key_in_a_file_cannot_be_rotated(tmp_path: Path) -> None:
    """New keys are stored in Secrets Manager, where nobody would read them."""
    text = KEYED.replace("secret_id", "file") + ROTATION.format("")

    path = "upstreams.flownally.credential.file"
    assert "cannot be rotated" in reasons(tmp_path, text)[path]


def test_a_rotated_key_has_room_for_its_id(tmp_path: Path) -> None:
    """The key's id is stored beside the key, so that the old one can be revoked."""
    found = reasons(tmp_path, GOOD + ROTATION.format(""))

    assert "the key's id" in found["upstreams.flownally.credential.json_key"]


def test_a_wrong_table_does_not_hide_what_is_wrong_elsewhere(tmp_path: Path) -> None:
    """Rules between tables are checked although a table is wrong."""
    text = JOB + UPSTREAM + CREDENTIAL + '[admin]\nlisten = "127.0.0.1:8700"\nx = 1\n'

    assert set(reasons(tmp_path, text)) == {"admin.x", "admin.listen"}


ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "job",
                "upstreams",
                "webhooks",
                "admin",
                "webhook_listener",
                "aws",
                "rotation",
            ]
        ),
        st.dictionaries(
            st.sampled_from(["flownally", "listen", "endpoint_url", "upstream"]),
            st.dictionaries(
                st.sampled_from(["listen", "base_url", "ca_file", "credential"]),
                ANYTHING,
            )
            | ANYTHING,
        )
        | ANYTHING,
    )
)
def test_rules_between_tables_stand_any_shape(values: dict[str, Any]) -> None:
    """They see the values as they were read, before anything is known of them."""
    for problem in find(values, {}):
        assert problem.reason
