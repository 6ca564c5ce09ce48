"""Keys from files: swapped links, replaced and rewritten files, bad ones."""

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.core.secrecy.secret import digest_of
from sidecar.credential.sources import file as file_module
from sidecar.credential.sources.file import FileSource, Signature
from sidecar.errors import RefreshResult, SourceFailed
from tests.support.waiting import until


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """A file with a key."""
    path = tmp_path / "key"
    path.write_text("key-1\n")
    path.chmod(0o400)
    return path


@pytest.fixture(name="source")
def _source(path: Path) -> Iterator[FileSource]:
    """A source of it, and its thread given back."""
    source = FileSource(path)
    yield source
    source._worker.close()


async def test_a_file_has_one_version_the_digest_of_its_key(
    source: FileSource,
) -> None:
    """The first 8 hex digits of SHA-256; a newline at the end does not count."""
    versions = await source.describe()
    fetched = await source.fetch("AWSCURRENT")

    assert versions.current == fetched.version_id == digest_of("key-1")
    assert versions.previous is None
    assert fetched.raw == "key-1\n"
    assert fetched.created is None
    assert repr(source).startswith("FileSource(")


async def test_a_file_that_was_read_has_not_moved(source: FileSource) -> None:
    """However often one asks."""
    await source.describe()

    assert [await source.moved() for _ in range(3)] == [False] * 3


async def test_a_file_that_is_moved_into_place_is_seen(
    source: FileSource, path: Path
) -> None:
    """Another inode; at the second look, when it holds still."""
    await source.describe()
    replace(path, "key-2")
    seen = [await source.moved(), await source.moved()]
    versions = await source.describe()

    assert seen == [False, True]
    assert versions.current == digest_of("key-2")
    assert not await source.moved()


async def test_a_swapped_link_is_seen(tmp_path: Path) -> None:
    """Kubernetes: `key` -> `..data/key`, and `..data` -> a new folder."""
    mount(tmp_path, 1)
    (tmp_path / "key").symlink_to("..data/key")
    source = FileSource(tmp_path / "key")
    await source.describe()
    mount(tmp_path, 2)
    await until(source.moved)
    versions = await source.describe()
    await source.close()

    assert versions.current == digest_of("key-2")


async def test_a_file_that_is_rewritten_is_seen_when_it_holds_still(
    source: FileSource, path: Path
) -> None:
    """A file that is empty, or grows at every look, is being written."""
    await source.describe()
    write(path, "")
    first = await source.moved()
    write(path, "key")
    os.utime(path, ns=(1, 1))
    second = await source.moved()
    write(path, "key-22")
    third = await source.moved()
    fourth = await source.moved()
    versions = await source.describe()

    assert [first, second, third, fourth] == [False, False, False, True]
    assert versions.current == digest_of("key-22")


async def test_a_file_that_changes_while_it_is_read_is_no_key(
    source: FileSource, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again at once: it has moved since."""
    monkeypatch.setattr(file_module, "SETTLE_SECONDS", 0.2)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_failure(source))
        await asyncio.sleep(0.05)
        write(path, "key-2 is longer")
    failed = reading.result()
    await until(source.moved)

    assert failed.result is RefreshResult.UNREACHABLE
    assert "changed while it was read" in failed.reason


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
async def test_an_empty_file_is_no_key(
    source: FileSource, path: Path, content: str
) -> None:
    """It may be about to be written: still serving the last good key."""
    write(path, content)
    failed = await _failure(source)

    assert failed.result is RefreshResult.INVALID
    assert failed.reason == "the file is empty"


async def test_a_missing_file_is_not_found_and_seen_when_it_comes(
    source: FileSource, path: Path
) -> None:
    """The mount may come later than we do."""
    move(path, aside(path))
    failed = await _failure(source)
    moved = await source.moved()
    write(path, "key-1")
    await until(source.moved)

    assert failed.result is RefreshResult.NOT_FOUND
    assert not moved


async def test_a_file_that_is_gone_and_comes_back_is_looked_at_again(
    source: FileSource, path: Path
) -> None:
    """With the same content, too: the failure has to end."""
    await source.describe()
    move(path, aside(path))
    await _failure(source)
    move(aside(path), path)
    await until(source.moved)

    assert (await source.describe()).current == digest_of("key-1")


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A mount path instead of the key in it."""
    failed = await _failure(FileSource(tmp_path))

    assert failed.result is RefreshResult.INVALID
    assert failed.reason == "the path is no file"


async def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """And does not hang the thread."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    failed = await _failure(FileSource(pipe))

    assert failed.result is RefreshResult.INVALID


async def test_a_circle_of_links_cannot_be_read(tmp_path: Path) -> None:
    """Nor looked at."""
    link = tmp_path / "key"
    link.symlink_to(link)
    source = FileSource(link)
    failed = await _failure(source)

    assert failed.result is RefreshResult.UNREACHABLE
    assert not await source.moved()


async def test_a_file_that_may_not_be_read_is_denied(
    source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner."""

    def fail(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    failed = await _failure(source)

    moved = [await source.moved(), await source.moved()]

    assert failed.result is RefreshResult.DENIED
    assert "runAsUser" in failed.remedy
    assert moved == [False, False]


async def test_a_file_that_was_made_readable_is_seen(
    source: FileSource, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By chmod: neither its content nor its time changed."""
    with monkeypatch.context() as patch:
        patch.setattr(file_module, "_read", lambda _: _denied())
        await _failure(source)
    give(path, 0o440)
    await until(source.moved)

    assert (await source.describe()).current == digest_of("key-1")


async def test_a_binary_file_stays_bytes(source: FileSource, path: Path) -> None:
    """The rules for keys refuse it."""
    write(path, b"\xff\xfe\x00")
    fetched = await source.fetch("AWSCURRENT")

    assert fetched.raw == b"\xff\xfe\x00"


async def test_a_huge_file_is_not_read_whole(source: FileSource, path: Path) -> None:
    """One byte more than a value may have is enough to refuse it."""
    write(path, "k" * 200_000)
    fetched = await source.fetch("AWSCURRENT")

    assert len(fetched.raw) == 65537


@pytest.mark.parametrize(
    ("mode", "warned"),
    [(0o400, 0), (0o440, 0), (0o640, 0), (0o644, 1), (0o660, 1), (0o602, 1)],
)
async def test_a_file_that_others_can_read_or_replace_is_warned_about_once(
    source: FileSource,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    mode: int,
    warned: int,
) -> None:
    """A group may read it: fsGroup does that."""
    give(path, mode)
    with caplog.at_level(logging.WARNING):
        await source.describe()
        await source.describe()
    lines = [line for line in caplog.messages if "key_file_too_open" in line]

    assert len(lines) == warned


def test_a_signature_changes_with_what_a_writer_changes(path: Path) -> None:
    """Size, time, inode and place."""
    before = file_module._signature(path)
    write(path, "key-2 is longer")
    after = file_module._signature(path)

    assert isinstance(before, Signature)
    assert before != after


def write(path: Path, content: str | bytes) -> None:
    """Write a file in place."""
    if path.exists():
        path.chmod(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def give(path: Path, mode: int) -> None:
    """Give a file a mode."""
    path.chmod(mode)


def aside(path: Path) -> Path:
    """Return a place beside a file."""
    return path.with_suffix(".aside")


def move(path: Path, place: Path) -> None:
    """Move a file."""
    path.rename(place)


def replace(path: Path, content: str) -> None:
    """Write a file beside, and move it into place."""
    new = path.with_suffix(".new")
    new.write_text(content)
    new.replace(path)


def mount(volume: Path, number: int) -> None:
    """Mount a version as Kubernetes does: a new folder, and `..data` swapped."""
    folder = volume / f"..2024_{number}"
    folder.mkdir()
    (folder / "key").write_text(f"key-{number}")
    fresh = volume / "..data_tmp"
    fresh.symlink_to(folder.name)
    fresh.replace(volume / "..data")


def _denied() -> SourceFailed:
    """What an unreadable file gives."""
    return SourceFailed(RefreshResult.DENIED, "the file may not be read")


async def _failure(source: FileSource) -> SourceFailed:
    """Describe, and return why it failed."""
    with pytest.raises(SourceFailed) as caught:
        await source.describe()
    return caught.value
