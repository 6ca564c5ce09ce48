"""Whether this process, as it is started here, keeps its memory to itself."""

from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.commands.checks.finding import Finding, passed, warned
from sidecar.hardening import HardeningStatus

STATIC_KEY: Final = "AWS_SECRET_ACCESS_KEY"


def check_process(
    posture: HardeningStatus, uid: int, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """
    Check what a process of the same machine could learn.

    Args:
        posture: What hardening reached.
        uid: The effective user id.
        environ: The environment.
    """
    if posture.dumpable or posture.core_bytes:
        yield warned(
            "process memory",
            "other processes of this user can read it, or a core file can be written",
            "allow prctl(PR_SET_DUMPABLE) and setrlimit(RLIMIT_CORE) in the sandbox",
        )
    else:
        yield passed("process memory", "not dumpable, no core file")
    if posture.memory_locked:
        yield passed("process swap", "memory is locked: it is never swapped out")
    else:
        yield warned(
            "process swap",
            "memory is not locked: a key may be swapped out",
            "turn swap off (Kubernetes does), or raise the limit: ulimit -l unlimited",
        )
    if posture.no_new_privileges:
        yield passed("process privileges", "no new ones can be gained")
    else:
        yield warned(
            "process privileges",
            "a set-uid program could gain some",
            "set allowPrivilegeEscalation: false",
        )
    if uid == 0:
        yield warned(
            "process user",
            "root: whoever gets in has the machine or the container",
            "run as a user of its own, other than the service's",
        )
    else:
        yield passed("process user", f"uid {uid}")
    if environ.get(STATIC_KEY):
        yield warned(
            "process AWS keys",
            "static AWS keys are in the environment",
            "give the job a role (Pod Identity, IRSA, an instance profile)",
        )
