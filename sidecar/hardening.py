"""
What the process does so that its memory is its own.

- Not dumpable (prctl(2), PR_SET_DUMPABLE 0): /proc/PID/mem, environ and maps belong to
  root, and a process of the same uid can neither trace nor dump this one.
- No core file (setrlimit(2), RLIMIT_CORE 0), also for a handler that core_pattern names.
- Nothing written is readable by others (umask 077).
- Memory is locked as it is touched (mlockall(2), MCL_ONFAULT), so that no key reaches a
  swap device; only where the limit on locked memory is none, since at a limit the next
  allocation would fail.
- No new privileges (PR_SET_NO_NEW_PRIVS): a set-uid program started by a bug gains none.

Besides, a key is in no environment, argument, file or child process: it goes from the
source into memory, and `sidecar.memory` wipes it there once nobody holds it. AWS
credentials stay where botocore's chain finds them, in the environment too: no process
is started that could inherit them (but a profile's own `credential_process`, by botocore),
and the environment belongs to root as the memory does.

A process of the same uid that opens /proc/PID/mem before all this may read on through
what it has opened. So `run` does it first of all, some 50 ms after the process began; in
the image the interpreter may be executed and not read by its user, and then the kernel
keeps such a process from the first instruction on (execve(2)).

Not defended: root on the node, and a debugger with CAP_SYS_PTRACE.
"""

import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <sys/prctl.h> and <sys/mman.h>, the same on every architecture of Linux but alpha.
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
CAP_IPC_LOCK: Final = 14


@dataclass(frozen=True, slots=True)
class HardeningStatus:
    """How well the process guards its memory; for `/status` and `sidecar check`."""

    dumpable: bool
    core_bytes: int
    """The most that a core file may have; 0: none is written."""
    memory_locked: bool
    no_new_privileges: bool

    def as_dict(self) -> dict[str, bool | int]:
        """The same for JSON."""
        return {
            "dumpable": self.dumpable,
            "core_bytes": self.core_bytes,
            "memory_locked": self.memory_locked,
            "no_new_privileges": self.no_new_privileges,
        }


def harden() -> HardeningStatus:
    """Do all of it as far as the system allows, and tell how far that was."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _may_lock():
        libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    return read_status()


def read_status() -> HardeningStatus:
    """Read back what is in force: what was asked for may have been refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    return HardeningStatus(
        dumpable=libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0,
        core_bytes=resource.getrlimit(resource.RLIMIT_CORE)[0],
        memory_locked=_locked_kilobytes() > 0,
        no_new_privileges=libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
    )


def _locked_kilobytes() -> int:
    """Return how much memory is locked, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmLck:"):
            return int(line.split()[1])
    return 0


def _may_lock() -> bool:
    """Tell whether locked memory is unlimited: by the limit, or by a capability."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_IPC_LOCK & 1)
    return False
