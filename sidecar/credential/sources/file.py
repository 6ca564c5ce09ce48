"""
A key from a file: a Kubernetes mount, or a file on a developer's machine.

The file is checked every half second, by its resolved path and its inode's data. So a
swapped symlink (the `..data` of Kubernetes), a file moved into place and a rewritten file
are all noticed. A change counts once the next check finds the file unchanged, and a value
counts only if the file did not change while it was read: a file that is being written is
not taken for a key.
"""

import asyncio
import os
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from sidecar.aws.worker import Worker
from sidecar.core.secrecy.secret import MAX_VALUE_BYTES, digest_of
from sidecar.credential.sources.base import Fetched, Versions
from sidecar.errors import RefreshResult, SourceFailed
from sidecar.log import get_logger

POLL_SECONDS: Final = 0.5
"""A change is in use within 2 s: one check finds it, the next one confirms it."""
SETTLE_SECONDS: Final = 0.1
"""The file must be the same this long after it was read."""

_log = get_logger("sidecar.credential.file")


@dataclass(frozen=True, slots=True)
class Signature:
    """The properties that change when a file changes."""

    path: str
    device: int
    inode: int
    modified_ns: int
    changed_ns: int
    """Also by `chmod` and `chown`, which may make a file readable."""
    size: int


class FileSource:
    """
    One file.

    Args:
        path: The file; links are followed at each check.
    """

    kind = "file"
    poll_seconds: float | None = POLL_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path
        # Reading a file may block for long when its volume is unavailable.
        self._worker = Worker("sidecar-file")
        self._read: Signature | None = None
        self._seen: Signature | None = None
        self._warned = False

    def __repr__(self) -> str:
        return f"FileSource({str(self._path)!r})"

    async def describe(self) -> Versions:
        """Read the file; its version is a digest of it. Raises `SourceFailed`."""
        fetched = await self._load()
        return Versions(fetched.version_id)

    async def fetch(self, stage: str) -> Fetched:
        """Read the file, whatever the stage: it has but one. Raises `SourceFailed`."""
        del stage
        return await self._load()

    async def moved(self) -> bool:
        """Return whether the file changed since it was read, and no longer changes."""
        signature = await self._worker.run(partial(_signature, self._path))
        before, self._seen = self._seen, signature
        if signature is None or signature == self._read:
            return False
        return signature == before

    async def close(self) -> None:
        """End the thread."""
        self._worker.close()

    async def _load(self) -> Fetched:
        """Read the file once it no longer changes. Raises `SourceFailed`."""
        read = await self._worker.run(partial(_read, self._path))
        if isinstance(read, SourceFailed):
            # A file that cannot be read is read again when it changes.
            self._read = await self._worker.run(partial(_signature, self._path))
            raise read
        signature, data, mode = read
        await asyncio.sleep(SETTLE_SECONDS)
        after = await self._worker.run(partial(_signature, self._path))
        if after != signature:
            raise SourceFailed(
                RefreshResult.UNREACHABLE,
                "the file changed while it was read",
                "nothing to do: it is read again at once",
            )
        # Remember only what was read: otherwise a change would be missed.
        self._read = signature
        self._warn(mode)
        if not data.strip():
            raise SourceFailed(
                RefreshResult.INVALID, "the file is empty", "write the key to it"
            )
        return _fetched(data)

    def _warn(self, mode: int) -> None:
        """Log once that other users may read or replace the key."""
        if self._warned or not mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
            return
        self._warned = True
        _log.warning(
            "key_file_too_open",
            path=str(self._path),
            mode=f"{stat.S_IMODE(mode):04o}",
            remedy="chmod 0400, or defaultMode: 0400 on the volume",
        )


def _fetched(data: bytes) -> Fetched:
    """Return the value of a file; bytes that are no text stay bytes."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        return Fetched(data, digest_of(data.hex()))
    return Fetched(text, digest_of(text.removesuffix("\n").removesuffix("\r")))


def _signature(path: Path) -> Signature | None:
    """Return the signature of a file without reading it; None if it has none."""
    try:
        resolved = os.path.realpath(path, strict=True)
        return _of(resolved, os.stat(resolved))  # noqa: PTH116 - a str, not a Path
    except (OSError, ValueError):
        return None


def _of(resolved: str, found: os.stat_result) -> Signature:
    return Signature(
        path=resolved,
        device=found.st_dev,
        inode=found.st_ino,
        modified_ns=found.st_mtime_ns,
        changed_ns=found.st_ctime_ns,
        size=found.st_size,
    )


def _read(path: Path) -> tuple[Signature, bytes, int] | SourceFailed:
    """Read a file, not more than a value may have. Never raises."""
    try:
        resolved = os.path.realpath(path, strict=True)
        # Not blocking: a pipe in place of the file must not hang the thread.
        descriptor = os.open(resolved, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                data = os.read(descriptor, MAX_VALUE_BYTES + 1)
                return _of(resolved, found), data, found.st_mode
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        return SourceFailed(*_meaning(error))
    return SourceFailed(RefreshResult.INVALID, "the path is no file", "check the path")


def _meaning(error: Exception) -> tuple[RefreshResult, str, str]:
    """Say what an error of the system means, without its text."""
    if isinstance(error, FileNotFoundError):
        remedy = "check the path and the mount"
        return RefreshResult.NOT_FOUND, "the file does not exist", remedy
    if isinstance(error, PermissionError):
        remedy = "check its owner and mode, and runAsUser or fsGroup"
        return RefreshResult.DENIED, "the file may not be read", remedy
    reason = f"the file cannot be read ({type(error).__name__})"
    return RefreshResult.UNREACHABLE, reason, "check the path and the mount"
