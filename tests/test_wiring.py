"""Each setting reaches the part that it is for; every listener is opened."""

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar import wiring
from sidecar.core.http.request_head import RequestRules
from sidecar.core.secrecy.secret import Secret, SecretRules
from sidecar.credential.sources.file import FileSource
from sidecar.credential.sources.secrets_manager import SecretsManagerSource
from sidecar.errors import Code, Refused, SettingsInvalid
from sidecar.metrics import Metrics
from sidecar.settings.cross_checks import OWN
from sidecar.settings.model import Settings
from sidecar.settings.names import check_table_name
from sidecar.settings.values import Address
from sidecar.wiring import (
    Listener,
    address_of,
    all_bound,
    bound,
    listeners_of,
    receiver_of,
)
from tests.support.full_settings import everything
from tests.support.settings_files import GOOD, loaded

NAME, LOCAL = "flownally", "local"


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """Settings other than the defaults: two upstreams and webhooks."""
    return everything(tmp_path)


def test_the_rules_of_a_key(settings: Settings, tmp_path: Path) -> None:
    """One for one; the defaults of the settings are those of the rules."""
    credential = settings.upstreams[NAME].credential
    default = loaded(tmp_path, GOOD).upstreams[NAME].credential

    assert credential.rules == SecretRules("api_key", "fln_test_", "", "X-Api-Key")
    assert default.rules == SecretRules()


def state(rules: RequestRules) -> dict[str, object]:
    """Return what the rules hold, and what their table does with the key's header."""
    values = {name: getattr(rules, name) for name in rules.__slots__}
    return values | {"_table": rules._table.learn(b"x-api-key")}


def test_how_requests_are_read(settings: Settings, tmp_path: Path) -> None:
    """The guards are those of the whole process."""
    default = loaded(tmp_path, GOOD)

    def rules(settings: Settings) -> RequestRules:
        upstream = settings.upstreams[NAME]
        operations = wiring.operations_of(upstream)
        return wiring.request_rules_of(settings, upstream, operations)

    expected = RequestRules(
        header="X-Api-Key", inspect=False, browser=False, forwarded="strip"
    )
    assert state(rules(settings)) == state(expected)
    assert state(rules(default)) == state(RequestRules())
    upstream = replace(default.upstreams[NAME], listen=Address(path="/a"))
    on_a_socket = rules(replace(default, upstreams={NAME: upstream}))
    assert state(on_a_socket) == state(RequestRules(socket=True))


def test_what_keeps_a_key(settings: Settings) -> None:
    """With the settings of its table, the age of a key, and the probe."""
    held: dict[str, tuple[Secret, ...]] = {}
    manager = wiring.credential_manager_of(
        settings, NAME, Metrics("0"), None, held.__setitem__
    )
    policy = manager._life.policy

    assert (policy.refresh_seconds, policy.max_stale_seconds) == (11, 12)
    assert policy.probing
    assert manager._reporter._rotate_every_days == 30
    assert manager._source_calls._rules == settings.upstreams[NAME].credential.rules
    manager._on_secrets((Secret("one"),))
    assert list(held) == [NAME]


def test_operations(settings: Settings) -> None:
    """What is allowed has its label and scopes; the rest is denied."""
    operations = wiring.operations_of(settings.upstreams[NAME])

    assert operations.match(b"GET", b"/contacts").label == "/contacts"
    assert operations.match(b"POST", b"/contacts").scopes == ("contacts:write",)
    for method, path in ((b"GET", b"/admin/a"), (b"DELETE", b"/contacts")):
        with pytest.raises(Refused) as caught:
            operations.match(method, path)
        assert caught.value.code is Code.OPERATION_DENIED


def test_whether_new_keys_may_be_handed_out(settings: Settings, tmp_path: Path) -> None:
    """Not by default; when a person allows it, such an answer is not compressed."""
    default = loaded(tmp_path, GOOD).upstreams[NAME]
    opened = replace(default, deny=())
    upstreams = {
        "default": (default, False),
        "opened": (opened, True),
        "allow list": (settings.upstreams[NAME], False),
    }

    for name, (upstream, handed_out) in upstreams.items():
        operations = wiring.operations_of(upstream)
        assert wiring.hands_out_keys(operations) is handed_out, name


def test_where_a_key_comes_from(settings: Settings) -> None:
    """From Secrets Manager by its id, or from a file."""
    sources = [
        wiring.source_of(upstream.credential, settings.aws, lambda *_: None)
        for upstream in settings.upstreams.values()
    ]

    assert isinstance(sources[0], SecretsManagerSource)
    assert repr(sources[0]) == "SecretsManagerSource('staging/flownally/crm-sync')"
    assert isinstance(sources[1], FileSource)
    assert repr(sources[1]) == "FileSource('/run/key')"


def test_the_probe(settings: Settings) -> None:
    """The call under the base, as it was written; none without a setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    probe = wiring.probe_of(settings.upstreams[NAME], context)

    assert repr(probe) == "ApiProbe(HEAD https://api.flownally.com/v1/contacts?limit=1)"
    assert probe is not None
    assert probe._tls is not None
    assert probe._tls() is context
    assert wiring.probe_of(settings.upstreams[LOCAL], None) is None


def test_the_probe_of_an_api_on_this_machine(settings: Settings) -> None:
    """Without TLS, and with one slash between base and path."""
    local = settings.upstreams[LOCAL]
    credential = replace(local.credential, probe="GET /a")
    probe = wiring.probe_of(replace(local, credential=credential), None)

    assert repr(probe) == "ApiProbe(GET http://127.0.0.1:9/a)"
    assert probe is not None
    assert probe._tls is None


def test_tls_is_decided_by_the_url(settings: Settings, tmp_path: Path) -> None:
    """Plain HTTP exists on loopback only: the settings see to that."""
    assert wiring.tls_of(NAME, settings.upstreams[NAME]) is not None
    assert wiring.tls_of(LOCAL, settings.upstreams[LOCAL]) is None

    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----")
    upstream = replace(settings.upstreams[NAME], ca_file=file)
    with pytest.raises(SettingsInvalid, match=r"upstreams\.flownally\.ca_file"):
        wiring.tls_of(NAME, upstream)


def test_every_listener_of_a_run(settings: Settings) -> None:
    """By a name of its own, with the setting that says where."""
    found = listeners_of(settings)

    assert [(one.name, one.path) for one in found] == [
        ("flownally", "upstreams.flownally.listen"),
        ("local", "upstreams.local.listen"),
        ("admin", "admin.listen"),
        ("webhooks", "webhook_listener.listen"),
    ]
    assert {one.name for one in found[2:]} == OWN, "what no upstream may be called"
    without = replace(settings, webhooks={})
    assert [one.name for one in listeners_of(without)][-1] == "admin"


def test_a_socket_lets_come_who_is_judged_by_uid(settings: Settings) -> None:
    """Anybody else than our own user is kept out by the file."""
    upstream = settings.upstreams["local"]
    listed = {"local": replace(upstream, allow_uids=(1000,))}
    (plain, *_) = listeners_of(replace(settings, upstreams={"a": upstream}))
    (judged, *_) = listeners_of(replace(settings, upstreams=listed))

    assert (plain.mode, judged.mode) == (0o600, 0o666)


def test_a_listener_is_bound_by_its_address(tmp_path: Path) -> None:
    """A port, or a Unix socket with its mode."""
    with bound(Listener("admin", "admin.listen", Address("127.0.0.1", 0))) as tcp:
        assert address_of(tcp) == f"127.0.0.1:{tcp.getsockname()[1]}"
    with bound(Listener("admin", "admin.listen", Address("::1", 0))) as tcp6:
        assert address_of(tcp6) == f"[::1]:{tcp6.getsockname()[1]}"
    path = tmp_path / "s"
    address = Address(path=str(path))
    with bound(Listener("a", "upstreams.a.listen", address, 0o640)) as unix:
        assert address_of(unix) == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("what", ["taken", "nowhere"])
def test_a_listener_that_cannot_be_bound_is_a_settings_error(
    tmp_path: Path, what: str
) -> None:
    """With the path of the setting, and the system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = {
            "taken": Address("127.0.0.1", taken.getsockname()[1]),
            "nowhere": Address(path=str(tmp_path / "no" / "directory")),
        }
        with pytest.raises(SettingsInvalid) as caught:
            bound(Listener("admin", "admin.listen", addresses[what]))

    (problem,) = caught.value.problems
    assert problem.path == "admin.listen"
    assert problem.reason.startswith("cannot listen there: ")
    assert str(tmp_path) not in problem.reason


def test_all_that_cannot_be_bound_are_told_and_nothing_stays_open(
    settings: Settings, tmp_path: Path
) -> None:
    """A start that fails leaves no socket behind."""
    nowhere = Address(path=str(tmp_path / "no" / "directory"))
    there = tmp_path / "s"
    upstreams = {
        name: replace(settings.upstreams["local"], listen=listen)
        for name, listen in (
            ("a", nowhere),
            ("b", Address(path=str(there))),
            ("c", nowhere),
        )
    }
    changed = replace(settings, upstreams=upstreams, webhooks={})
    admin = replace(changed.admin, listen=Address("127.0.0.1", 0))
    changed = replace(changed, admin=admin)
    with pytest.raises(SettingsInvalid) as caught, all_bound(changed):
        pass

    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["upstreams.a.listen", "upstreams.c.listen"]
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(there))


def test_sockets_are_found_by_name(settings: Settings) -> None:
    """Each has the address of its setting."""
    free = Address("127.0.0.1", 0)
    changed = replace(
        settings,
        admin=replace(settings.admin, listen=free),
        webhook_listener=replace(settings.webhook_listener, listen=free),
    )
    with all_bound(changed) as sockets:
        assert set(sockets) == {"flownally", "local", "admin", "webhooks"}
    assert all(sock.fileno() < 0 for sock in sockets.values())


def test_endpoints_with_one_secret_share_its_source(settings: Settings) -> None:
    """It is asked once for both."""
    receiver = receiver_of(settings, Metrics("0"), lambda _, __: None)

    assert len(receiver._closing) == 2
    assert len(receiver._refreshers) == 2


def test_the_redactor_hears_of_every_secret(settings: Settings) -> None:
    """By an owner's name that no upstream can have: it would let go of its key."""
    held: dict[str, tuple[Secret, ...]] = {}
    receiver = receiver_of(settings, Metrics("0"), held.__setitem__)
    secrets = (Secret("one"), Secret("two"))
    receiver._dependencies.on_secrets("inbox", secrets)

    assert held == {"webhooks.inbox": secrets}
    with pytest.raises(ValueError, match="name"):
        check_table_name("webhooks.inbox")


def test_the_receiver_as_a_whole(settings: Settings) -> None:
    """Each endpoint has its table; DynamoDB is where AWS is; deliveries are logged."""
    receiver = receiver_of(settings, Metrics("0"), lambda _, __: None)
    found = {name: one.settings for name, one in receiver.endpoints.items()}

    assert found == settings.webhooks
    assert receiver._aws is settings.aws
    assert receiver._job == "staging-crm-sync"
    assert list(receiver._tables) == ["ids"]
    assert receiver._handler.log_delivered
