"""Listeners: free, taken, and taken by a sidecar that runs."""

import socket
from pathlib import Path

from sidecar.commands.checks.finding import Level
from sidecar.commands.checks.host import check_listeners
from sidecar.errors import Exit
from tests.support.check_findings import by_name, levels, settings_with
from tests.support.fake_admin_port import admin_port

UPSTREAM = "upstreams.flownally.listen"


def test_free_addresses_are_fine() -> None:
    """Each is bound and let go again; the webhook listener only where there is one."""
    webhook = {"secret_id": "a", "forward_to": "http://127.0.0.1:3000"}
    settings = settings_with(
        webhooks={"inbox": webhook}, webhook_listener={"listen": "127.0.0.1:0"}
    )

    found = levels(check_listeners(settings))

    assert found == {
        UPSTREAM: Level.OK,
        "admin.listen": Level.OK,
        "webhook_listener.listen": Level.OK,
    }
    assert "webhook_listener.listen" not in levels(check_listeners(settings_with()))


def test_an_address_in_use_is_a_failure_of_the_settings() -> None:
    """With the address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_with(upstream={"listen": f"127.0.0.1:{port}"})

        found = by_name(check_listeners(settings), UPSTREAM)

    assert found.level is Level.FAIL
    assert found.exit is Exit.USAGE
    assert f"127.0.0.1:{port}" in found.detail
    assert "in use" in found.detail
    assert UPSTREAM in found.remedy


def test_a_sidecar_that_runs_here_is_no_clash() -> None:
    """`check` in the container of a running sidecar finds its own addresses taken."""
    with (
        admin_port([200]) as admin,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        settings = settings_with(
            upstream={"listen": f"127.0.0.1:{taken.getsockname()[1]}"},
            admin={"listen": f"0.0.0.0:{admin.port}"},
        )
        findings = list(check_listeners(settings))

    assert levels(findings) == {UPSTREAM: Level.OK, "admin.listen": Level.OK}
    assert "runs here" in by_name(findings, UPSTREAM).detail


def test_a_socket_leaves_nothing_behind(tmp_path: Path) -> None:
    """Binding makes its file."""
    path = tmp_path / "a.sock"
    settings = settings_with(upstream={"listen": f"unix:{path}"})

    assert by_name(check_listeners(settings), UPSTREAM).level is Level.OK
    assert not path.exists()


def test_a_socket_in_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """The volume may not be mounted."""
    settings = settings_with(upstream={"listen": f"unix:{tmp_path}/none/a.sock"})

    found = by_name(check_listeners(settings), UPSTREAM)

    assert found.level is Level.FAIL
    assert "no such file" in found.detail


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    """Its file belongs to whoever listens."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        settings = settings_with(upstream={"listen": f"unix:{path}"})

        found = by_name(check_listeners(settings), UPSTREAM)

        assert found.level is Level.FAIL
        assert path.exists()
