"""
Whether the key can be taken out of the process: by its own uid, by a core, by a dump.

The attacker is another process with the same, non-root uid: an app that was taken over
in the same pod. A control shows that each attack works on a process that is not hardened.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.emulator.aws import AwsClient
from sidecar.emulator.sidecar_process import PROGRAM
from tests.support.attack_rig import HOST
from tests.support.process_memory import found, may_look, needs_root
from tests.support.processes import (
    SECRET_ID,
    UPSTREAM,
    Settings,
    SidecarProcess,
    call,
    merge,
    wait_until,
)
from tests.support.raw_http import (
    KEY,
    OK,
    RawApi,
    RawClient,
    always,
    file_settings,
)
from tests.support.webhook_fakes import (
    OTHER as OTHER_WEBHOOK,
    SECRET as WEBHOOK,
    headers,
)

UID: Final = 61_234
"""A uid without a user: tests run as root, which is outside the threat model."""
GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
# As root in a home that others cannot enter, the interpreter itself must be readable.
AS_USER: Final = [
    "setpriv",
    f"--reuid={UID}",
    f"--regid={UID}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
]


def as_user(*command: str) -> list[str]:
    """Run a command as the user, with nothing of root but reading files."""
    return [*AS_USER, *command] if os.geteuid() == 0 else list(command)


def user_process(directory: Path, settings: Settings) -> SidecarProcess:
    """Start a sidecar that runs as the user."""
    return SidecarProcess(directory, settings, program=as_user(*PROGRAM))


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """A sidecar with a key in it, run by a user who is not root."""
    directory = tmp_path_factory.mktemp("hardening")
    with RawApi() as api:
        process = user_process(
            directory / "sidecar", file_settings(directory, api.base_url)
        )
        try:
            process.wait_ready()
            with RawClient(process.address()) as client:
                client.send(GET)
                assert client.answer().status == 200
            yield process
        finally:
            process.close()


@pytest.fixture(name="soft", scope="module")
def _soft() -> Iterator[int]:
    """A process of the same user that is not hardened, with the key in it: the control."""
    code = (
        "import sys; held = sys.stdin.readline(); print('ready', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        as_user(sys.executable, "-c", code),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(KEY + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


READ: Final = "open('/proc/%d/%s', 'rb').read(1)"
SEIZE: Final = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
sys.exit(libc.ptrace(0x4206, %d, None, None) != 0)  # PTRACE_SEIZE
"""
COPY: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
pid = %d
# Where to read: maps is closed too, so any address will do to see whether it may.
kept = ctypes.create_string_buffer(8)
here, there = Span(ctypes.addressof(kept), 8), Span(4096, 8)
libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
sys.exit(ctypes.get_errno() == 1)  # EPERM; EFAULT: it may
"""
TAKE: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.syscall(438, os.pidfd_open(%d), 0, 0) < 0)  # pidfd_getfd
"""
ATTACKS: Final = [
    pytest.param(lambda pid: f"open('/proc/{pid}/mem', 'rb')", id="mem"),
    pytest.param(lambda pid: READ % (pid, "maps"), id="maps"),
    pytest.param(lambda pid: READ % (pid, "environ"), id="environ"),
    pytest.param(lambda pid: f"import os; os.readlink('/proc/{pid}/fd/0')", id="fd"),
    pytest.param(lambda pid: f"import os; os.listdir('/proc/{pid}/map_files')", id="map_files"),
    pytest.param(lambda pid: f"import os; os.readlink('/proc/{pid}/cwd')", id="cwd"),
    pytest.param(lambda pid: READ % (pid, "auxv"), id="auxv"),
    pytest.param(lambda pid: READ % (pid, "stack"), id="stack"),
    pytest.param(lambda pid: SEIZE % pid, id="ptrace"),
    pytest.param(lambda pid: COPY % pid, id="process_vm_readv"),
    pytest.param(lambda pid: TAKE % pid, id="pidfd_getfd"),
    pytest.param(lambda pid: READ % (pid, "smaps"), id="smaps"),
    pytest.param(lambda pid: READ % (pid, "personality"), id="personality"),
]  # fmt: skip


def succeeds(code: str) -> bool:
    """Run an attack as the user; tell whether it got through."""
    done = subprocess.run(
        as_user(sys.executable, "-c", code), check=False, capture_output=True
    )
    return done.returncode == 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_process_of_the_same_user_cannot_look_into_it(
    process: SidecarProcess, soft: int, attack: Any, request: pytest.FixtureRequest
) -> None:
    """Memory, map, environment and descriptors belong to root; tracing is refused."""
    name = request.node.callspec.id
    assert not succeeds(attack(process.pid))
    if name != "stack":  # root's in any case
        assert succeeds(attack(soft)), "the control: this attack works elsewhere"


def test_it_is_closed_before_it_reads_its_settings(tmp_path: Path) -> None:
    """Who opens its memory early may go on reading it, also when there is a key."""
    tmp_path.chmod(0o755)
    pipe = tmp_path / "settings"
    os.mkfifo(pipe)
    process = SidecarProcess(
        tmp_path / "sidecar",
        {},
        program=as_user(*PROGRAM),
        command=["run", "--config", str(pipe)],
    )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(children.read_text, "the process that reads the settings")
        for attack in ("mem", "maps"):
            assert not succeeds(f"open('/proc/{process.pid}/{attack}', 'rb').read(1)")
    finally:
        process.close()
        wait_until(
            lambda: ended(pipe), "the end of its child, which waits for a writer"
        )


def ended(pipe: Path) -> bool:
    """Open a pipe for its reader and close it, if the reader has come so far."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_gcore_gets_nothing(process: SidecarProcess, soft: int, tmp_path: Path) -> None:
    """A debugger of the same user cannot attach, so it dumps nothing."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        with contextlib.suppress(PermissionError):
            if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    for pid in (process.pid, soft):
        subprocess.run(
            as_user("gcore", "-o", str(tmp_path / "core"), str(pid)),
            check=False,
            capture_output=True,
            timeout=50,
        )

    assert not (tmp_path / f"core.{process.pid}").exists()
    control = tmp_path / f"core.{soft}"
    assert KEY.encode() in control.read_bytes()


def test_what_it_says_of_itself(process: SidecarProcess) -> None:
    """`/status` tells how far hardening went."""
    posture = process.status()["process"]

    assert posture["dumpable"] is False
    assert posture["core_bytes"] == 0
    assert posture["no_new_privileges"] is True
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Umask:\t0077" in status
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (core,) = (line for line in limits.splitlines() if line.startswith("Max core"))
    assert core.split()[4:6] == ["0", "0"]


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """SIGABRT and SIGSEGV write no file that has the key in it."""
    with RawApi() as api:
        for number in (signal.SIGABRT, signal.SIGSEGV):
            directory = tmp_path / number.name
            process = user_process(
                directory / "sidecar", file_settings(directory, api.base_url)
            )
            try:
                process.wait_ready()
                process.send(number)
                process.wait()
            finally:
                process.close()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "key":
            assert KEY.encode() not in path.read_bytes(), path


def test_no_child_inherits_anything(process: SidecarProcess) -> None:
    """A sidecar starts no process; its threads are its own."""
    children = [
        Path(f"/proc/{process.pid}/task/{task.name}/children").read_text()
        for task in Path(f"/proc/{process.pid}/task").iterdir()
    ]

    assert "".join(children) == ""


# Rounds of a second and a memory of three, instead of half a minute and a day.
HASTY: Final = """
import sys
from sidecar.assembly import forgetting
from sidecar.core.secrecy import redaction
forgetting.ROUND_SECONDS, redaction.REMEMBERED_SECONDS = 0.2, float(sys.argv.pop(1))
from sidecar.cli import main
sys.exit(main())
"""
KEYS: Final = [f"fln_live_{name}" for name in ("0neOfManyKeysA1b2C3", "Tw0OfManyKeysD4e5F6", "Thr3eOfManyKeysG7h8")]  # fmt: skip


@needs_root
@pytest.mark.parametrize(
    ("remembered", "left"), [(3600.0, 1), (0.5, 0)], ids=["in-the-redactor", "nowhere"]
)
def test_an_old_key_is_found_at_most_in_the_redactor(
    moto: AwsClient, tmp_path: Path, remembered: float, left: int
) -> None:
    """After two rotations only the redactor holds the first key, for a while."""
    assert may_look()
    moto.put_secret(SECRET_ID, KEYS[0])
    credential = {"file": None, "secret_id": SECRET_ID, "refresh_seconds": 0.1}
    with RawApi() as api:
        api.script = always(OK)
        changes = {
            "upstreams": {UPSTREAM: {"credential": credential}},
            "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
            "log": {"access": "all"},
        }
        settings = merge(file_settings(tmp_path, api.base_url), changes)
        written = hasty(tmp_path, settings, remembered)
        try:
            written.wait_ready()
            use(written)
            assert len(copies(written, KEYS[0])) > 1
            for key in KEYS[1:]:
                moto.rotate(SECRET_ID, key)
                version = moto.version(SECRET_ID, "AWSCURRENT")[:8]
                wait_for(written, version)
                use(written)

            wait_until(lambda: len(copies(written, KEYS[0])) <= left, "the wipe", 20)
            assert len(copies(written, KEYS[2])) >= 1, "the control: the key in use"
            use(written)
        finally:
            written.close()


@needs_root
@pytest.mark.parametrize(
    ("remembered", "left"), [(3600.0, 1), (0.5, 0)], ids=["in-the-redactor", "nowhere"]
)
def test_an_old_webhook_secret_is_found_at_most_in_the_redactor(
    moto: AwsClient, tmp_path: Path, remembered: float, left: int
) -> None:
    """A retired secret verifies nothing, and only the redactor holds it, for a while."""
    moto.put_secret(SECRET_ID, WEBHOOK)
    old, new = (one.removeprefix("whsec_") for one in (WEBHOOK, OTHER_WEBHOOK))
    with RawApi() as app:
        app.script = always(OK)
        inbox = {
            "secret_id": SECRET_ID,
            "refresh_seconds": 5,
            "forward_to": f"http://127.0.0.1:{app.port}/hooks",
        }
        settings = {
            "upstreams": None,
            "webhooks": {"inbox": inbox},
            "webhook_listener": {"listen": "127.0.0.1:0"},
            "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
        }
        settings = merge(file_settings(tmp_path, app.base_url), settings)
        process = hasty(tmp_path, settings, remembered)
        try:
            process.wait_ready()
            assert post(process, "msg_1", WEBHOOK) == 204
            assert len(copies(process, old)) > 1
            retired = moto.version(SECRET_ID, "AWSCURRENT")
            moto.rotate(SECRET_ID, OTHER_WEBHOOK)
            assert post(process, "msg_2", OTHER_WEBHOOK) == 204
            assert post(process, "msg_3", WEBHOOK) == 204, "both are valid"
            moto.secrets.update_secret_version_stage(
                SecretId=SECRET_ID,
                VersionStage="AWSPREVIOUS",
                RemoveFromVersionId=retired,
            )
            process.admin("/-/reload", "POST")

            wait_until(lambda: len(copies(process, old)) <= left, "the wipe", 20)
            assert len(copies(process, new)) >= 1, "the control: the secret in use"
            assert post(process, "msg_4", WEBHOOK) == 401
            assert post(process, "msg_5", OTHER_WEBHOOK) == 204
        finally:
            process.close()


def post(process: SidecarProcess, id_: str, secret: str) -> int:
    """Send a delivery that is signed with this secret; return what becomes of it."""
    fields = headers(b"{}", id_, time.time(), secret)
    address = process.address("webhooks")
    options: dict[str, Any] = {"method": "POST", "body": b"{}", "headers": fields}
    return call(address, "/webhooks/inbox", **options).status


def hasty(directory: Path, settings: Settings, remembered: float) -> SidecarProcess:
    """Start a sidecar that forgets within seconds."""
    program = [sys.executable, "-c", HASTY, str(remembered)]
    return SidecarProcess(directory / "sidecar", settings, program=program)


def wait_for(process: SidecarProcess, version: str) -> None:
    """Wait until this version is in use."""
    wait_until(lambda: fingerprint(process) == version, "the new key")


def use(process: SidecarProcess) -> None:
    """Make some calls."""
    for _ in range(10):
        with RawClient(process.address()) as client:
            client.send(GET)
            assert client.answer().status == 200


def copies(process: SidecarProcess, key: str) -> list[str]:
    """Find a key in the memory of a process."""
    value = key.encode()
    return found(process.pid, value)[value]


def fingerprint(process: SidecarProcess) -> str:
    """Return that of the key in use."""
    return str(process.status()["upstreams"][UPSTREAM]["fingerprint"])
