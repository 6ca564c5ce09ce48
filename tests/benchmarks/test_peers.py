"""Each proxy is told the same, in its own words; ours by settings that load."""

import os
import signal
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.lab import CONNECTIONS, KEY, Target
from benchmarks.peers import PEERS, Ours, Peer, Setup
from benchmarks.peers.base import variables
from benchmarks.peers.haproxy import HAProxy
from benchmarks.process import Running
from sidecar.emulator.ca import ensure_certificate
from sidecar.settings.loading import load

CROWD = CONNECTIONS + 1


def make(directory: Path, *, tls: bool = True, **options: object) -> Setup:
    """Tell of an API on port 9143, and of port 9005 for the service."""
    directory.mkdir(exist_ok=True)
    ca_file = authority(directory) if tls else None
    return Setup(directory, Target(9143, ca_file), 9005, **options)  # type: ignore[arg-type]  # a dict of any


def authority(directory: Path) -> Path:
    """Name the file of an authority, beside what a proxy is given."""
    return ensure_certificate(directory.parent / "bench-ca").ca_file


def written(directory: Path) -> str:
    """Read all files that a proxy was given."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return "\n".join(path.read_text() for path in files)


@pytest.fixture(name="running")
def _running() -> Mock:
    """A process that only hears signals."""
    return Mock(spec=Running)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_every_proxy_knows_ports_and_key(tmp_path: Path, peer: Peer, tls: bool) -> None:
    """And the authority, where the API has TLS."""
    setup = make(tmp_path, tls=tls)

    command = peer.command(setup)

    told = written(tmp_path) + " ".join(command)
    assert KEY in told
    assert "9005" in told
    assert "9143" in told
    assert (str(authority(tmp_path)) in told) is tls


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_no_key_is_in_a_command_line(tmp_path: Path, peer: Peer) -> None:
    """Everybody on a machine can read those."""
    assert KEY not in " ".join(peer.command(make(tmp_path)))


@pytest.mark.parametrize(
    ("name", "number"), [("nginx", signal.SIGHUP), ("haproxy", signal.SIGUSR2)]
)
def test_a_reload_is_a_new_file_and_a_signal(
    tmp_path: Path, running: Mock, name: str, number: signal.Signals
) -> None:
    """The old key is gone from the file."""
    peer = PEERS[name]
    peer.command(make(tmp_path))

    assert peer.rekey(make(tmp_path, key="fln_live_second"), running) is None

    running.send.assert_called_once_with(number)
    assert "fln_live_second" in written(tmp_path)
    assert KEY not in written(tmp_path)


@pytest.mark.parametrize("name", ["envoy", "ours"])
def test_a_watched_file_is_renamed_into_place(
    tmp_path: Path, running: Mock, name: str
) -> None:
    """Whoever has the old file open still reads the old key; no signal is needed."""
    peer = PEERS[name]
    peer.command(make(tmp_path))
    (file,) = (p for p in tmp_path.rglob("*") if p.is_file() and KEY in p.read_text())
    with file.open() as old:
        peer.rekey(make(tmp_path, key="fln_live_second"), running)
        before = old.read()

    assert KEY in before
    assert "fln_live_second" in file.read_text()
    running.send.assert_not_called()


@pytest.mark.parametrize("connections", [CONNECTIONS, CROWD])
@pytest.mark.parametrize("tls", [True, False])
def test_our_settings_load(tmp_path: Path, tls: bool, connections: int) -> None:
    """All defaults, but for what has none, and room for a crowd."""
    Ours().command(make(tmp_path, tls=tls, connections=connections))

    settings = load(tmp_path / "sidecar.toml", {})

    upstream = settings.upstreams["flownally"]
    assert settings.guard.reflection == "mask"
    assert (upstream.limits.max_connections >= CROWD) is (connections == CROWD)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_our_features_are_switched_by_settings(tmp_path: Path, running: Mock) -> None:
    """A change goes deep, and leaves its neighbours alone; a secret needs no file."""
    changes = {"guard": {"reflection": "off"}, "admin": {"listen": "127.0.0.1:1"}}
    peer = Ours(changes=changes, credential={"secret_id": "prod/key"})
    peer.command(make(tmp_path))
    peer.rekey(make(tmp_path), running)

    settings = load(tmp_path / "sidecar.toml", {})

    assert settings.guard.reflection == "off"
    assert settings.guard.tripwire == "block"
    assert settings.upstreams["flownally"].credential.secret_id == "prod/key"
    assert not (tmp_path / "key").exists()


def test_a_crowd_is_bounded_for_all_that_can(tmp_path: Path) -> None:
    """Otherwise handshakes are all that is measured."""
    crowd = {name: make(tmp_path / name, connections=CROWD) for name in PEERS}
    for name, peer in PEERS.items():
        peer.command(crowd[name])

    assert "maxconn 128" in written(tmp_path / "haproxy")
    assert "max_connections: 128" in written(tmp_path / "envoy")
    assert f"keepalive {CROWD};" in written(tmp_path / "nginx")


def test_haproxy_reloads_with_a_master(tmp_path: Path) -> None:
    """Only where it is reloaded: the master costs memory."""
    setup = make(tmp_path)

    assert "-W" in HAProxy(reloads=True).command(setup)
    assert "-W" not in HAProxy().command(setup)


def test_proxies_inherit_neither_our_settings_nor_a_way_to_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person's own set-up changes no figure, and no figure reaches a real account."""
    monkeypatch.setenv("SIDECAR_GUARD__REFLECTION", "off")
    monkeypatch.setenv("AWS_PROFILE", "production")
    found = variables()

    assert not [name for name in found if name.startswith("SIDECAR")]
    assert "AWS_PROFILE" not in found
    assert found["PATH"] == os.environ["PATH"]
