"""Files: `services.host.Disk` and `File`, on a folder and on a simulated disk.

What a crash takes cannot be the same in both worlds: a SIGKILL loses no page cache, a simulated crash does.
So these cases hold both to what POSIX promises (what was synced is there, the rest may be), and
`test_crashes.py` checks over many seeds that the simulation makes use of what POSIX allows.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance import programs

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from services.host import Disk
    from tests.conformance.rig import Rig


async def error_of(awaitable: Awaitable[Any]) -> Any:
    """Returns the kind and errno of what an operation raises, or what it returns."""
    try:
        return await awaitable
    except OSError as error:
        return type(error).__name__, errno.errorcode[error.errno or 0]
    except ValueError:
        return "ValueError"


async def put(disk: Disk, path: str, data: bytes = b"") -> None:
    file = await disk.open(path, "w")
    await file.append(data)
    await file.close()


async def get(disk: Disk, path: str) -> bytes:
    file = await disk.open(path)
    data = await file.read()
    await file.close()
    return data


async def test_writing_and_reading(rig: Rig) -> None:
    """What was appended can be read at once, whole or in part."""
    file = await rig.disk.open("a", "w")
    await file.append(b"hello ")
    await file.append(b"world")
    assert await file.read() == b"hello world"
    assert await file.read(5) == b"hello"
    assert await file.read(5, 6) == b"world"
    assert await file.read(-1, 6) == b"world"
    assert await file.size() == 11
    await file.close()
    assert await get(rig.disk, "a") == b"hello world"


async def test_reading_past_the_end(rig: Rig) -> None:
    """What is not there is not read, and that is no error."""
    await put(rig.disk, "a", b"hello")
    file = await rig.disk.open("a")
    assert [await file.read(10, 3), await file.read(10, 5), await file.read(10, 99)] == [b"lo", b"", b""]
    assert [await file.read(0), await file.read(-1, 99)] == [b"", b""]


async def test_overwriting(rig: Rig) -> None:
    """`write` changes bytes in place, goes on past the end, and fills a gap with zeros."""
    file = await rig.disk.open("a", "w")
    await file.append(b"0123456789")
    await file.write(b"ab", 2)
    assert await file.read() == b"01ab456789"
    await file.write(b"xyz", 8)
    assert await file.read() == b"01ab4567xyz"
    await file.write(b"!", 13)
    assert await file.read() == b"01ab4567xyz\0\0!"


async def test_truncating(rig: Rig) -> None:
    """`truncate` cuts, or fills up with zeros; appends go to the new end."""
    file = await rig.disk.open("a", "w")
    await file.append(b"0123456789")
    await file.truncate(4)
    await file.append(b"ab")
    assert await file.read() == b"0123ab"
    await file.truncate(8)
    assert (await file.read(), await file.size()) == (b"0123ab\0\0", 8)
    await file.truncate(0)
    assert (await file.read(), await file.size()) == (b"", 0)


@pytest.mark.parametrize(
    ("mode", "old", "new"),
    [
        ("r", b"old", ("FileNotFoundError", "ENOENT")),
        ("w", b"", b""),
        ("a", b"old", b""),
        ("x", ("FileExistsError", "EEXIST"), b""),
    ],
)
async def test_modes(rig: Rig, mode: str, old: Any, new: Any) -> None:
    """What each mode makes of a file that is there, and of one that is not."""
    await put(rig.disk, "old", b"old")

    async def opened(path: str) -> bytes:
        file = await rig.disk.open(path, mode)
        return await file.read()

    assert (await error_of(opened("old")), await error_of(opened("new"))) == (old, new)
    assert await rig.disk.exists("new") is (mode != "r")


async def test_an_unknown_mode(rig: Rig) -> None:
    """Only those four."""
    assert await error_of(rig.disk.open("a", "rb")) == "ValueError"


async def test_writing_to_a_file_open_for_reading(rig: Rig) -> None:
    """Mode "r" cannot write; it can sync."""
    await put(rig.disk, "a", b"old")
    file = await rig.disk.open("a")
    refused = ("OSError", "EBADF")
    assert await error_of(file.append(b"new")) == refused
    assert await error_of(file.write(b"new", 0)) == refused
    assert await error_of(file.truncate(0)) == refused
    assert await error_of(file.sync()) is None
    assert await file.read() == b"old"


async def test_a_closed_file(rig: Rig) -> None:
    """It can be closed again, and nothing else."""
    file = await rig.disk.open("a", "w")
    await file.close()
    await file.close()
    used: list[Awaitable[Any]] = [file.read(), file.append(b"x"), file.sync(), file.size(), file.truncate(0)]
    assert [await error_of(use) for use in used] == ["ValueError"] * 5


async def test_folders(rig: Rig) -> None:
    """Folders come into being with their files; `list` gives sorted names, `exists` knows both."""
    for path in ("b/two", "b/one", "a", "c/d/e"):
        await put(rig.disk, path)
    assert await rig.disk.list() == ["a", "b", "c"]
    assert await rig.disk.list("b") == ["one", "two"]
    assert await rig.disk.list("c") == ["d"]
    assert await rig.disk.list("nowhere") == []
    assert [await rig.disk.exists(path) for path in ("a", "b", "c/d", "c/d/e", "c/x", "nowhere/x")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


async def test_a_folder_is_no_file(rig: Rig) -> None:
    """A folder cannot be opened, whatever the mode; a file is no folder."""
    await put(rig.disk, "folder/file", b"x")
    for mode in ("r", "w", "a"):
        assert await error_of(rig.disk.open("folder", mode)) == ("IsADirectoryError", "EISDIR")
    assert await error_of(rig.disk.list("folder/file")) == ("NotADirectoryError", "ENOTDIR")
    assert await error_of(rig.disk.sync("folder/file")) == ("NotADirectoryError", "ENOTDIR")
    assert await rig.disk.list() == ["folder"]


async def test_a_file_in_the_way_of_a_folder(rig: Rig) -> None:
    """No file can be made below a file."""
    await put(rig.disk, "a", b"x")
    assert await error_of(rig.disk.open("a/b", "w")) == ("NotADirectoryError", "ENOTDIR")
    assert await error_of(rig.disk.open("a/b")) == ("NotADirectoryError", "ENOTDIR")


async def test_renaming(rig: Rig) -> None:
    """A rename replaces its target; an open file goes with its name."""
    await put(rig.disk, "old", b"old")
    await put(rig.disk, "new", b"new")
    file = await rig.disk.open("new", "a")
    await rig.disk.rename("new", "old")
    assert (await rig.disk.list(), await get(rig.disk, "old")) == (["old"], b"new")
    await file.append(b"er")
    assert await get(rig.disk, "old") == b"newer"


async def test_renaming_what_is_not_there(rig: Rig) -> None:
    """It fails, and nothing changes."""
    await put(rig.disk, "a", b"a")
    assert await error_of(rig.disk.rename("b", "a")) == ("FileNotFoundError", "ENOENT")
    assert await get(rig.disk, "a") == b"a"


async def test_renaming_to_itself(rig: Rig) -> None:
    """It does nothing."""
    await put(rig.disk, "a", b"a")
    await rig.disk.rename("a", "a")
    assert await get(rig.disk, "a") == b"a"


async def test_renaming_into_a_new_folder(rig: Rig) -> None:
    """Only opening makes folders."""
    await put(rig.disk, "a", b"a")
    assert await error_of(rig.disk.rename("a", "new/a")) == ("FileNotFoundError", "ENOENT")
    assert await rig.disk.list() == ["a"]


async def test_renaming_onto_a_folder(rig: Rig) -> None:
    """A file does not replace a folder."""
    await put(rig.disk, "folder/file")
    await put(rig.disk, "a", b"a")
    assert await error_of(rig.disk.rename("a", "folder")) == ("IsADirectoryError", "EISDIR")
    assert await rig.disk.list() == ["a", "folder"]


async def test_removing(rig: Rig) -> None:
    """A file is gone by name; who has it open keeps it. What is not there cannot be removed."""
    await put(rig.disk, "a", b"hello")
    file = await rig.disk.open("a")
    await rig.disk.remove("a")
    assert (await rig.disk.exists("a"), await file.read()) == (False, b"hello")
    assert await error_of(rig.disk.remove("a")) == ("FileNotFoundError", "ENOENT")


async def test_two_handles(rig: Rig) -> None:
    """All who have a file open see the same bytes; appends go to the end that there is."""
    one = await rig.disk.open("a", "w")
    two = await rig.disk.open("a", "a")
    await one.append(b"1")
    await two.append(b"2")
    await one.append(b"3")
    assert (await one.read(), await two.read()) == (b"123", b"123")
    await rig.disk.open("a", "w")
    assert (await one.read(), await two.size()) == (b"", 0)


async def test_appends_at_once(rig: Rig) -> None:
    """Concurrent appends take turns: none is lost, none is mixed with another."""
    file = await rig.disk.open("a", "w")
    await asyncio.gather(*(file.append(bytes([number]) * 100) for number in range(50)))
    data = await file.read()
    pieces = [data[start : start + 100] for start in range(0, len(data), 100)]
    assert sorted(pieces) == [bytes([number]) * 100 for number in range(50)]


async def test_leaving_the_disk(rig: Rig) -> None:
    """A path stays in the host's folder."""
    for path in ("../a", "b/../../a"):
        assert await error_of(rig.disk.open(path, "w")) == "ValueError"
    await put(rig.disk, "./b//c", b"x")
    assert await get(rig.disk, "b/c") == b"x"


async def test_syncing_what_is_not_there(rig: Rig) -> None:
    """A folder that is not there cannot be synced; one that is can, as often as one likes."""
    await put(rig.disk, "folder/file")
    assert await error_of(rig.disk.sync("nowhere")) == ("FileNotFoundError", "ENOENT")
    assert [await error_of(rig.disk.sync(path)) for path in ("", "folder", "folder")] == [None] * 3


# Failures, injected as `sim.faults` has them


async def test_a_full_disk(rig: Rig) -> None:
    """Writing and creating fail with ENOSPC; reading, and what was there, are as before."""
    disk: Any = rig.disk
    file = await disk.open("a", "w")
    await file.append(b"before")
    disk.full = True
    full = ("OSError", "ENOSPC")
    assert await error_of(file.append(b"more")) == full
    assert await error_of(file.write(b"more", 6)) == full
    assert await error_of(disk.open("b", "w")) == full
    assert (await file.read(), await disk.list()) == (b"before", ["a"])
    disk.full = False
    await file.append(b" after")
    assert await file.read() == b"before after"


async def test_a_sync_that_fails(rig: Rig) -> None:
    """`sync` of a file or a folder raises EIO; when the device is well again, both work."""
    disk: Any = rig.disk
    file = await disk.open("a", "w")
    await file.append(b"x")
    disk.sync_fails = True
    failed = ("OSError", "EIO")
    assert (await error_of(file.sync()), await error_of(disk.sync())) == (failed, failed)
    assert await error_of(file.append(b"y", sync=True)) == failed
    disk.sync_fails = False
    assert (await error_of(file.sync()), await error_of(disk.sync())) == (None, None)
    assert await error_of(file.append(b"z", sync=True)) is None


async def test_bytes_appended_with_a_sync_survive(rig: Rig) -> None:
    """`append(sync=True)` is `append` and `sync`."""
    disk = await rig.crash(programs.appended_with_sync)
    assert (await disk.list(), await get(disk, "log")) == (["log"], b"synced")


# Crashes: what both worlds must guarantee


async def test_synced_bytes_survive(rig: Rig) -> None:
    """File and folder synced: everything is there."""
    disk = await rig.crash(programs.synced)
    assert (await disk.list(), await get(disk, "log")) == (["log"], b"synced")


async def test_append_then_crash(rig: Rig) -> None:
    """After what was synced there may be a prefix of what was not, and nothing else."""
    disk = await rig.crash(programs.half_synced)
    data = await get(disk, "log")
    assert data.startswith(b"synced") and (b"synced" + programs.UNSYNCED).startswith(data)


async def test_overwrite_then_crash(rig: Rig) -> None:
    """An unsynced overwrite leaves the old bytes, the new ones, or new ones before old ones."""
    disk = await rig.crash(programs.overwriting)
    data = await get(disk, "log")
    assert data in {b"n" * count + b"o" * (10_000 - count) for count in range(10_001)}


async def test_rename_then_crash(rig: Rig) -> None:
    """An unsynced rename is there whole or not at all: the target has the old bytes or the new ones."""
    disk = await rig.crash(programs.renaming, sync=False)
    names, data = await disk.list(), await get(disk, "config")
    assert (names, data) in ((["config", "config.new"], b"old"), (["config"], b"new"))


async def test_synced_rename_then_crash(rig: Rig) -> None:
    """Sync the file, rename it, sync the folder: the new one is there, for certain."""
    disk = await rig.crash(programs.renaming, sync=True)
    assert (await disk.list(), await get(disk, "config")) == (["config"], b"new")


async def test_create_then_crash(rig: Rig) -> None:
    """A synced file in a folder that was not synced may be nowhere; if it is there, so are its bytes."""
    disk = await rig.crash(programs.creating)
    names = await disk.list()
    assert names in ([], ["log"])
    assert not names or await get(disk, "log") == b"synced"


async def test_remove_then_crash(rig: Rig) -> None:
    """An unsynced removal may not have happened; a synced one has."""
    disk = await rig.crash(programs.removing)
    assert await disk.list() in (["kept"], ["kept", "perhaps"])


async def test_truncate_then_crash(rig: Rig) -> None:
    """An unsynced truncation leaves the old length or the new."""
    disk = await rig.crash(programs.truncating)
    assert await get(disk, "log") in (b"0123456789", b"01234")


async def test_crash_in_the_middle_of_appends(rig: Rig) -> None:
    """A log whose records are each synced before they are told of keeps all that were told."""
    disk = await rig.crash(programs.logging)
    data = await get(disk, "log")
    assert data[:50] == bytes(range(50))
    assert data == bytes(range(len(data)))
