"""Every address that a run listens on."""

import socket
from pathlib import Path

import pytest

from sidecar.assembly.listeners import (
    Listener,
    address_of,
    all_bound,
    bound,
    listeners_of,
)
from sidecar.errors import SettingsInvalid
from sidecar.settings.model import Settings
from sidecar.settings.cross_checks import OWN
from sidecar.settings.values import Address
from tests.support.full_settings import everything


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """Settings with two upstreams and webhooks."""
    return everything(tmp_path)


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
    without = settings.model_copy(update={"webhooks": {}})
    assert [one.name for one in listeners_of(without)][-1] == "admin"


def test_a_socket_lets_come_who_is_judged_by_uid(settings: Settings) -> None:
    """Anybody else than our own user is kept out by the file."""
    upstream = settings.upstreams["local"]
    listed = {"local": upstream.model_copy(update={"allow_uids": [1000]})}
    (plain, *_) = listeners_of(
        settings.model_copy(update={"upstreams": {"a": upstream}})
    )
    (judged, *_) = listeners_of(settings.model_copy(update={"upstreams": listed}))

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
        name: settings.upstreams["local"].model_copy(update={"listen": listen})
        for name, listen in (
            ("a", nowhere),
            ("b", Address(path=str(there))),
            ("c", nowhere),
        )
    }
    changed = settings.model_copy(update={"upstreams": upstreams, "webhooks": {}})
    admin = changed.admin.model_copy(update={"listen": Address("127.0.0.1", 0)})
    changed = changed.model_copy(update={"admin": admin})
    with pytest.raises(SettingsInvalid) as caught, all_bound(changed):
        pass

    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["upstreams.a.listen", "upstreams.c.listen"]
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(there))


def test_sockets_are_found_by_name(settings: Settings) -> None:
    """Each has the address of its setting."""
    update = {"listen": Address("127.0.0.1", 0)}
    changed = settings.model_copy(
        update={
            "admin": settings.admin.model_copy(update=update),
            "webhook_listener": settings.webhook_listener.model_copy(update=update),
        }
    )
    with all_bound(changed) as sockets:
        assert set(sockets) == {"flownally", "local", "admin", "webhooks"}
    assert all(sock.fileno() < 0 for sock in sockets.values())
