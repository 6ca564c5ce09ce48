"""Checks of this machine: the listeners' addresses and the protection of the process."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sidecar.commands import control
from sidecar.commands.checks.finding import Finding, failed, passed, warned
from sidecar.errors import Exit, SettingsInvalid
from sidecar.hardening import HardeningStatus
from sidecar.settings.model import Settings
from sidecar.settings.values import Address
from sidecar.wiring import bound, listeners_of

LIVEZ_SECONDS: Final = 1.0
STATIC_KEY: Final = "AWS_SECRET_ACCESS_KEY"


def check_listeners(settings: Settings) -> Iterator[Finding]:
    """Bind each address, then close it."""
    running = is_running(settings.admin.listen)
    for listener in listeners_of(settings):
        path, address = listener.path, listener.address
        try:
            bound(listener).close()
        except SettingsInvalid as exc:
            if running:
                yield passed(path, f"{address} is served by a sidecar that runs here")
                continue
            reason = exc.problems[0].reason
            remedy = f"stop the program that listens there, or choose another {path}"
            yield failed(path, f"{address}: {reason}", remedy, Exit.USAGE)
        else:
            if address.path:
                Path(address.path).unlink(missing_ok=True)
            yield passed(path, f"{address} is free")


def is_running(admin: Address) -> bool:
    """Return True if a sidecar already answers on the admin port."""
    if not admin.port:
        return False
    target = control.reachable(admin)
    return control.call("GET", target, "/livez", LIVEZ_SECONDS).status == control.OK


def check_process(
    status: HardeningStatus, uid: int, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """
    Check what other processes of this machine can read.

    Args:
        status: the protections in force.
        uid: the effective user id.
        environ: the environment.
    """
    if status.dumpable or status.core_bytes:
        yield warned(
            "process memory",
            "other processes of this user can read it, or a core file can be written",
            "allow prctl(PR_SET_DUMPABLE) and setrlimit(RLIMIT_CORE) in the sandbox",
        )
    else:
        yield passed("process memory", "not dumpable, no core file")
    if status.memory_locked:
        yield passed("process swap", "memory is locked: it is never swapped out")
    else:
        yield warned(
            "process swap",
            "memory is not locked: a key may be swapped out",
            "turn swap off (Kubernetes does), or raise the limit: ulimit -l unlimited",
        )
    if status.no_new_privileges:
        yield passed("process privileges", "the process cannot gain any")
    else:
        yield warned(
            "process privileges",
            "a set-uid program could gain privileges",
            "set allowPrivilegeEscalation: false",
        )
    if uid == 0:
        yield warned(
            "process user",
            "root: an intruder controls the machine or the container",
            "run as a separate user, other than the user of the service",
        )
    else:
        yield passed("process user", f"uid {uid}")
    if environ.get(STATIC_KEY):
        yield warned(
            "process AWS keys",
            "static AWS keys are in the environment",
            "give the job a role (Pod Identity, IRSA, an instance profile)",
        )
