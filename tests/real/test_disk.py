"""Files of a real host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.real.disk import FolderDisk


@pytest.fixture
def disk(tmp_path: Path) -> FolderDisk:
    return FolderDisk(tmp_path / "data", tmp_path / "lost.json")


def test_files_are_written_read_and_cut(disk: FolderDisk) -> None:
    async def main() -> None:
        file = await disk.open("a/b/c", "x")
        await file.append(b"0123456789")
        await file.write(b"ABC", 2)
        assert await file.read() == b"01ABC56789"
        assert await file.read(3, 4) == b"C56"
        assert await file.read(10, 8) == b"89"
        assert await file.read(1, 99) == b""
        await file.truncate(4)
        assert await file.size() == 4
        await file.append(b"!")
        assert await file.read() == b"01AB!"
        await file.sync()
        await disk.sync("a/b")
        await file.close()
        await file.close()
        again = await disk.open("a/b/c", "a")
        await again.append(b"?")
        assert await (await disk.open("a/b/c")).read() == b"01AB!?"
        assert await (await disk.open("a/b/c", "w")).size() == 0

    asyncio.run(main())


def test_names_in_folders(disk: FolderDisk) -> None:
    async def main() -> None:
        for path in ("z", "folder/two", "folder/one"):
            await disk.open(path, "w")
        assert await disk.list() == ["folder", "z"]
        assert await disk.list("folder") == ["one", "two"]
        assert await disk.list("nowhere") == []
        await disk.rename("folder/one", "folder/three")
        assert await disk.list("folder") == ["three", "two"]
        await disk.rename("folder/three", "z")
        await disk.remove("z")
        assert not await disk.exists("z")

    asyncio.run(main())


def test_errors_are_those_of_posix(disk: FolderDisk) -> None:
    async def main() -> None:
        await disk.open("folder/file", "w")
        with pytest.raises(FileNotFoundError):
            await disk.open("nothing")
        with pytest.raises(FileExistsError):
            await disk.open("folder/file", "x")
        with pytest.raises(IsADirectoryError):
            await disk.open("folder")
        with pytest.raises(FileNotFoundError):
            await disk.remove("nothing")
        with pytest.raises(FileNotFoundError):
            await disk.rename("nothing", "something")
        reading = await disk.open("folder/file")
        with pytest.raises(OSError, match="Bad file descriptor"):
            await reading.append(b"x")
        await reading.close()
        with pytest.raises(ValueError, match="is closed"):
            await reading.read()
        with pytest.raises(ValueError, match='mode "rw" of "f" is none of r, w, a, x'):
            await disk.open("f", "rw")

    asyncio.run(main())


@pytest.mark.parametrize("path", ["../out", "a/../../out", "link/out", "a/..", "nul\0"])
def test_no_path_leads_out_of_the_folder(disk: FolderDisk, tmp_path: Path, path: str) -> None:
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    (tmp_path / "out").write_text("secret")

    async def main() -> None:
        for attempt in (disk.open(path), disk.open(path, "w"), disk.remove(path), disk.rename(path, "in")):
            with pytest.raises(ValueError, match="leads out of the host's folder"):
                await attempt
        with pytest.raises(ValueError, match="leads out"):
            await disk.rename("in", path)

    asyncio.run(main())
    assert (tmp_path / "out").read_text() == "secret"


def test_an_absolute_path_is_below_the_folder(disk: FolderDisk, tmp_path: Path) -> None:
    asyncio.run(disk.open("/etc/passwd", "w"))
    assert (tmp_path / "data" / "etc" / "passwd").exists()


def test_what_a_failed_sync_lost_is_gone_at_the_next_start_and_nothing_else(tmp_path: Path) -> None:
    folder, lost = tmp_path / "data", tmp_path / "lost.json"

    async def first() -> None:
        disk = FolderDisk(folder, lost)
        file = await disk.open("log", "w")
        await file.append(b"kept")
        await file.sync()
        await file.append(b"lost")
        disk.sync_fails = True
        with pytest.raises(OSError, match="Input/output error"):
            await file.sync()
        with pytest.raises(OSError, match="Input/output error"):
            await disk.sync()
        disk.sync_fails = False
        await file.append(b"later")
        await file.sync()
        assert await file.read() == b"keptlostlater"  # the page cache still has it

    asyncio.run(first())
    FolderDisk(folder, lost)
    assert (folder / "log").read_bytes() == b"kept\0\0\0\0later"
    FolderDisk(folder, lost)
    assert (folder / "log").read_bytes() == b"kept\0\0\0\0later"


@pytest.mark.parametrize("again", ["overwritten", "emptied", "replaced", "removed"])
def test_what_is_written_again_after_a_failed_sync_stays(tmp_path: Path, again: str) -> None:
    folder, lost = tmp_path / "data", tmp_path / "lost.json"

    async def first() -> None:
        disk = FolderDisk(folder, lost)
        file = await disk.open("log", "w")
        await file.append(b"header")
        disk.sync_fails = True
        with pytest.raises(OSError, match="Input/output error"):
            await file.sync()
        disk.sync_fails = False
        if again == "overwritten":
            await file.write(b"HEADER", 0)
        elif again == "removed":
            await disk.remove("log")
            await file.close()
        if again != "overwritten":
            file = await disk.open("new" if again == "replaced" else "log", "w")
            await file.append(b"HEADER")
        await file.append(b"batch")
        await file.sync()
        if again == "replaced":
            await disk.rename("new", "log")

    asyncio.run(first())
    FolderDisk(folder, lost)
    assert (folder / "log").read_bytes() == b"HEADERbatch"


def test_a_failed_sync_loses_what_was_written_and_not_what_had_been_there(tmp_path: Path) -> None:
    folder, lost = tmp_path / "data", tmp_path / "lost.json"

    async def first() -> None:
        disk = FolderDisk(folder, lost)
        file = await disk.open("log", "w")
        await file.append(b"headerbatch")
        await file.sync()
        disk.sync_fails = True
        for again in (b"HEADER", b"header"):
            await file.write(again, 0)
            await file.write(again, 0)
            with pytest.raises(OSError, match="Input/output error"):
                await file.sync()
        await file.write(b"CHxyz", 9)  # beyond the end
        with pytest.raises(OSError, match="Input/output error"):
            await file.sync()
        assert await file.read() == b"headerbatCHxyz"

    asyncio.run(first())
    FolderDisk(folder, lost)
    assert (folder / "log").read_bytes() == b"headerbatch"


def test_a_torn_append_is_whole_to_whoever_looks(disk: FolderDisk, tmp_path: Path) -> None:
    async def main() -> None:
        disk.tear = True
        file = await disk.open("log", "w")
        await file.append(b"0123456789")
        assert (tmp_path / "data" / "log").read_bytes() == b"01234"
        other = await disk.open("log")
        assert await other.read() == b"0123456789"
        await file.append(b"ab")
        assert await file.size() == 12
        await file.append(b"cd")
        await disk.rename("log", "renamed")
        assert (tmp_path / "data" / "renamed").read_bytes() == b"0123456789abc"
        await file.close()
        assert (tmp_path / "data" / "renamed").read_bytes() == b"0123456789abcd"

    asyncio.run(main())
