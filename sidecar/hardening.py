"""
Closes the memory of the process to other processes.

- Not dumpable (prctl(2), PR_SET_DUMPABLE 0): /proc/PID/mem, environ and maps belong to
  root, and a process of the same uid can neither trace nor dump this one.
- No core file (setrlimit(2), RLIMIT_CORE 0), not even for a handler in core_pattern.
- Other users can read no file of this process (umask 077).
- Memory is locked when it is first used (mlockall(2), MCL_ONFAULT), so that no key reaches
  a swap device. This needs an unlimited RLIMIT_MEMLOCK: at a limit the next allocation
  would fail.
- No new privileges (PR_SET_NO_NEW_PRIVS): a set-uid program started by a bug gains none.

A key is in no environment, argument, file or child process: it goes from its source into
memory. AWS credentials stay where the chain of botocore finds them, possibly in the
environment. That belongs to root as the memory does, and the sidecar starts no process
that could inherit it (except a `credential_process` of a profile, by botocore).

A process of the same uid that opens /proc/PID/mem before `harden()` can continue to read.
So `run` calls it first, about 50 ms after the start. In the image the user may execute the
interpreter but not read it, so the kernel refuses from the first instruction (execve(2)).

Root on the node and a debugger with CAP_SYS_PTRACE can read everything.
"""

import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <sys/prctl.h> and <sys/mman.h>; the same on every architecture of Linux except alpha.
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
    """Which protections are in force; for `/status` and `sidecar check`."""

    dumpable: bool
    core_bytes: int
    """The size limit of a core file; 0: none is written."""
    memory_locked: bool
    no_new_privileges: bool

    def as_dict(self) -> dict[str, bool | int]:
        """Return the fields for JSON."""
        return {
            "dumpable": self.dumpable,
            "core_bytes": self.core_bytes,
            "memory_locked": self.memory_locked,
            "no_new_privileges": self.no_new_privileges,
        }


def harden() -> HardeningStatus:
    """Apply every protection that the system allows; return those in force."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _may_lock():
        libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    return read_status()


def read_status() -> HardeningStatus:
    """Return the protections in force, as the kernel reports them."""
    libc = ctypes.CDLL(None, use_errno=True)
    return HardeningStatus(
        dumpable=libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0,
        core_bytes=resource.getrlimit(resource.RLIMIT_CORE)[0],
        memory_locked=_locked_kilobytes() > 0,
        no_new_privileges=libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
    )


def _locked_kilobytes() -> int:
    """Return the locked memory in KiB, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmLck:"):
            return int(line.split()[1])
    return 0


def _may_lock() -> bool:
    """Return whether locked memory is unlimited, by the limit or by CAP_IPC_LOCK."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_IPC_LOCK & 1)
    return False
