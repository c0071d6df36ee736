"""What a simulated disk promises, and what a crash may do: POSIX, against a model of it."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world import inode as inodes
from sim.world.disk import FREE, DiskModel, SimDisk
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sim.world.inode import Inode


def on_disk(
    story: Callable[[SimDisk], Awaitable[Any]], *, seed: int = 0, model: DiskModel = FREE
) -> tuple[Any, float]:
    """Returns what a story about one disk returns, and how long it took."""
    simulation = Simulation(seed)

    async def main() -> Any:
        return await story(SimDisk(simulation.loop.env, random.Random(seed), model))

    return simulation.run(main()), simulation.now() / 1e9


async def put(disk: SimDisk, path: str, data: bytes, *, sync: bool = True) -> None:
    file = await disk.open(path, "w")
    await file.append(data)
    if sync:
        await file.sync()
    await file.close()


async def get(disk: SimDisk, path: str) -> bytes | None:
    if not await disk.exists(path):
        return None
    return await (await disk.open(path)).read()


# As long as nothing goes wrong


def test_files_do_what_files_do() -> None:
    async def story(disk: SimDisk) -> None:
        file = await disk.open("log/a", "w")
        await file.append(b"hello ")
        await file.append(b"world")
        await file.write(b"J", 0)
        await file.write(b"!", 12)
        assert await file.size() == 13
        assert await file.read() == b"Jello world\0!"
        assert await file.read(4, 6) == b"worl"
        assert await file.read(4, 99) == b""
        await file.truncate(5)
        assert await file.read() == b"Jello"
        assert await disk.list() == ["log"]
        assert await disk.list("log") == ["a"]
        assert await disk.list("nothing/here") == []
        await disk.rename("log/a", "b")
        assert await file.read() == b"Jello", "an open file does not mind its name"
        assert await disk.list("log") == []
        assert await disk.exists("log")
        await disk.remove("b")
        assert await file.read() == b"Jello", "an open file outlives its name"
        assert not await disk.exists("b")
        again = await disk.open("c", "a")
        await again.append(b"1")
        again = await disk.open("c", "a")
        await again.append(b"2")
        assert await get(disk, "c") == b"12"
        await disk.open("c", "w")
        assert await get(disk, "c") == b""

    on_disk(story)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda disk: disk.open("none"), FileNotFoundError),
        (lambda disk: disk.open("there", "x"), FileExistsError),
        (lambda disk: disk.open("folder"), IsADirectoryError),
        (lambda disk: disk.open("there/below", "w"), NotADirectoryError),
        (lambda disk: disk.remove("none"), FileNotFoundError),
        (lambda disk: disk.remove("folder"), IsADirectoryError),
        (lambda disk: disk.rename("none", "x"), FileNotFoundError),
        (lambda disk: disk.rename("there", "folder"), IsADirectoryError),
        (lambda disk: disk.rename("there", "nowhere/x"), FileNotFoundError),
        (lambda disk: disk.sync("nowhere"), FileNotFoundError),
        (lambda disk: disk.list("there"), NotADirectoryError),
        (lambda disk: disk.open("/etc/passwd"), ValueError),
        (lambda disk: disk.open("../outside", "w"), ValueError),
        (lambda disk: disk.open("there", "r+"), ValueError),
    ],
)
def test_errors_are_the_operating_systems(
    act: Callable[[SimDisk], Awaitable[Any]], expected: type[Exception]
) -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "there", b"")
        await put(disk, "folder/x", b"")
        with pytest.raises(expected):
            await act(disk)

    on_disk(story)


def test_a_file_opened_for_reading_cannot_be_written_and_a_closed_one_not_used() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"x")
        file = await disk.open("a")
        with pytest.raises(OSError) as info:
            await file.append(b"y")
        assert info.value.errno == errno.EBADF
        await file.close()
        await file.close()
        with pytest.raises(ValueError, match="a is closed"):
            await file.read()

    on_disk(story)


# Crashes

PATHS = ("a", "b", "d/a", "d/b")
OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(PATHS), st.binary(min_size=1, max_size=11)),
    st.tuples(st.just("write"), st.sampled_from(PATHS), st.binary(min_size=1, max_size=9), st.integers(0, 9)),
    st.tuples(st.just("truncate"), st.sampled_from(PATHS), st.integers(0, 12)),
    st.tuples(st.just("sync"), st.sampled_from(PATHS)),
    st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("remove"), st.sampled_from(PATHS)),
    st.tuples(st.just("sync folder"), st.sampled_from(("", "d"))),
    st.tuples(st.just("crash")),
)


class Model:
    """What POSIX allows: for each file its durable bytes and the writes since, for each name its holders."""

    def __init__(self) -> None:
        self.durable: dict[Inode, bytes] = {}
        self.since: dict[Inode, list[tuple[bytes, bytes, int]]] = {}  # before, written, at
        self.present: dict[Inode, bytes] = {}
        self.names: dict[str, Inode | None] = dict.fromkeys(PATHS)  # as they are now
        self.held: dict[str, list[Inode | None]] = {path: [None] for path in PATHS}  # since the last sync
        self.kept: dict[Inode, None] = {}  # files that were durably somewhere and have a name ever since

    def change(self, path: str, holder: Inode | None) -> None:
        self.names[path] = holder
        self.held[path].append(holder)

    def allows(self, inode: Inode, found: bytes) -> bool:
        """Says whether a crash may have left these bytes: a prefix of what was written since the sync."""
        if found in (self.durable[inode], self.present[inode]):
            return True
        return any(
            found == before[:at] + written[:size] + before[at + size :]
            for before, written, at in self.since[inode]
            for size in range(len(written) + 1)
        )


@settings(max_examples=150, deadline=None)
@given(st.lists(OPERATIONS, max_size=30), st.integers(0, 2**32), st.booleans())
def test_a_crash_leaves_what_posix_allows(operations: list[Any], seed: int, tear: bool) -> None:
    async def story(disk: SimDisk) -> None:
        model = Model()
        start = [("append", path, b"123456") for path in ("a", "d/a")]
        synced = [("sync", "a"), ("sync folder", ""), ("sync folder", "d")]
        for operation in [*start, *synced, *operations, ("crash",)]:
            await step(disk, model, operation)

    async def step(disk: SimDisk, model: Model, operation: Any) -> None:
        match operation:
            case ("append" | "write" | "truncate", path, *arguments):
                file = await disk.open(path, "a")
                inode = disk._files[path]
                if model.names[path] is None:
                    model.durable[inode] = b""
                    model.since[inode] = []
                    model.present[inode] = b""
                    model.change(path, inode)
                before = bytes(inode.data)
                if operation[0] == "append":
                    await file.append(arguments[0])
                    model.since[inode].append((before, arguments[0], len(before)))
                elif operation[0] == "write":
                    await file.write(arguments[0], arguments[1])
                    gap = bytes(max(0, arguments[1] - len(before)))  # filled with zeros, first
                    model.since[inode].append((before, gap + arguments[0], arguments[1] - len(gap)))
                else:
                    await file.truncate(arguments[0])
                    grown = bytes(max(0, arguments[0] - len(before)))
                    model.since[inode].append((before, grown, len(before)))
                model.present[inode] = bytes(inode.data)
            case ("sync", path) if model.names[path] is not None:
                await (await disk.open(path)).sync()
                inode = disk._files[path]
                model.durable[inode], model.since[inode] = bytes(inode.data), []
            case ("rename", source, target) if (
                source != target
                and model.names[source] is not None
                and (target in "ab" or await disk.exists("d"))
            ):
                await disk.rename(source, target)
                inode = model.names[source]
                if model.names[target] is not None:
                    model.kept.pop(model.names[target], None)
                model.change(source, None)
                model.change(target, inode)
            case ("remove", path) if model.names[path] is not None:
                await disk.remove(path)
                model.kept.pop(model.names[path], None)
                model.change(path, None)
            case ("sync folder", folder) if await disk.exists(folder) or not folder:
                await disk.sync(folder)
                for path in PATHS:
                    if path.rpartition("/")[0] == folder:
                        model.held[path] = [model.names[path]]
                        if model.names[path] is not None:
                            model.kept[model.names[path]] = None
            case ("crash",):
                disk.tear = tear
                disk.crash()
                found = {path: disk._files.get(path) for path in PATHS}
                assert all(path in PATHS for path in disk._files)
                for path, inode in found.items():
                    assert inode in model.held[path], f"{path} was not that file since the last sync"
                    if inode is not None:
                        left = await get(disk, path)
                        assert left is not None
                        assert model.allows(inode, left)
                for inode in model.kept:
                    places = [path for path in PATHS if found[path] is inode]
                    assert len(places) == 1, f"a renamed file is at one of its names, not at {places}"
                held = [inode for inode in found.values() if inode is not None]
                assert len(held) == len(set(map(id, held))), "no file has two names"
                model.names = dict(found)
                model.held = {path: [inode] for path, inode in found.items()}
                model.kept = dict.fromkeys(held)
                model.durable = {inode: bytes(inode.data) for inode in held}
                model.present = dict(model.durable)
                model.since = {inode: [] for inode in held}

    page, inodes.PAGE = inodes.PAGE, 4  # many pages in few bytes
    try:
        on_disk(story, seed=seed)
    finally:
        inodes.PAGE = page


def after_crash(story: Callable[[SimDisk], Awaitable[Any]], path: str, seeds: int = 40) -> set[bytes | None]:
    """Returns all that one finds in a file when a story ends in a crash, over many seeds."""

    async def whole(disk: SimDisk) -> bytes | None:
        await story(disk)
        disk.crash()
        return await get(disk, path)

    return {on_disk(whole, seed=seed)[0] for seed in range(seeds)}


def test_what_was_synced_is_there_in_every_future() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "d/a", b"kept")
        await disk.sync("d")

    assert after_crash(story, "d/a") == {b"kept"}


def test_syncing_a_file_does_not_sync_its_entry() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"kept")

    assert after_crash(story, "a") == {b"kept", None}


def test_an_unsynced_rename_is_old_or_new() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"old")
        await disk.sync()
        await put(disk, "a.new", b"new")
        await disk.rename("a.new", "a")

    assert after_crash(story, "a") == {b"old", b"new"}


def test_a_synced_rename_of_unsynced_bytes_is_the_classic_mistake() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"old")
        await disk.sync()
        await put(disk, "a.new", b"new", sync=False)
        await disk.rename("a.new", "a")
        await disk.sync()

    found = after_crash(story, "a")
    assert b"" in found
    assert b"old" not in found


def test_unsynced_bytes_survive_as_nothing_whole_pages_or_a_torn_page() -> None:
    data = bytes(range(1, 251)) * 66  # 4.03 pages

    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"")
        await disk.sync()
        await put(disk, "a", data, sync=False)

    found = after_crash(story, "a", seeds=100)
    assert all(left is not None and data.startswith(left) for left in found)
    sizes = {len(left) for left in found if left is not None}
    assert {0, 4096, 8192, len(data)} <= sizes
    assert any(size % 4096 for size in sizes - {len(data)}), "some page is torn"


def test_a_torn_write_leaves_a_part_of_the_last_write() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"first ")
        await disk.sync()
        file = await disk.open("a", "a")
        await file.append(b"second ")
        await file.append(b"third")
        disk.tear = True

    found = after_crash(story, "a")
    assert found == {b"first second " + b"third"[:size] for size in range(1, 5)}


def test_a_failed_sync_loses_its_bytes_for_good() -> None:
    page = b"x" * 4096
    read_meanwhile: set[bytes] = set()

    async def story(disk: SimDisk) -> None:
        await put(disk, "a", page)
        await disk.sync()
        file = await disk.open("a", "a")
        await file.append(page)
        disk.sync_fails = True
        with pytest.raises(OSError) as info:
            await file.sync()
        assert info.value.errno == errno.EIO
        disk.sync_fails = False
        read_meanwhile.add(await file.read())
        await file.sync()  # succeeds, and does not bring them back

    assert after_crash(story, "a") == {page}
    assert read_meanwhile == {page, page + page}, "the pages are dropped, or only marked clean"


def test_what_is_written_after_a_failed_sync_is_durable_and_leaves_a_hole() -> None:
    page = b"x" * 4096

    async def story(disk: SimDisk) -> None:
        await put(disk, "a", page)
        await disk.sync()
        file = await disk.open("a", "a")
        await file.append(page)
        disk.sync_fails = True
        with pytest.raises(OSError):
            await file.sync()
        disk.sync_fails = False
        await file.append(b"after")
        await file.sync()

    assert after_crash(story, "a") == {page + b"after", page + bytes(4096) + b"after"}


def test_a_failed_sync_of_a_folder_leaves_its_entries_undecided() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"x")
        disk.sync_fails = True
        with pytest.raises(OSError, match="Input/output error"):
            await disk.sync()

    assert after_crash(story, "a") == {b"x", None}


def test_bytes_appended_during_a_sync_are_not_covered_by_it() -> None:
    async def story(disk: SimDisk) -> None:
        file = await disk.open("a", "w")
        await disk.sync()
        await file.append(b"before ")
        syncing = asyncio.create_task(file.sync())
        await asyncio.sleep(0)
        await file.append(b"after")
        await syncing

    found = after_crash(story, "a")
    assert b"before " in found
    assert b"before after" in found
    assert all(left is not None and left.startswith(b"before ") for left in found)


# Capacity, corruption, time


def test_a_full_disk_takes_no_more() -> None:
    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"x" * 60)
        file = await disk.open("b", "w")
        with pytest.raises(OSError) as info:
            await file.append(b"x" * 41)
        assert info.value.errno == errno.ENOSPC
        assert await file.size() == 0
        await disk.remove("a")
        await file.append(b"x" * 41)
        disk.full = True
        with pytest.raises(OSError, match="No space left"):
            await file.append(b"x")
        with pytest.raises(OSError, match="No space left"):
            await disk.open("c", "w")

    on_disk(story, model=DiskModel(capacity=100))


def test_corruption_flips_one_bit() -> None:
    async def story(disk: SimDisk) -> tuple[str, int, str]:
        nothing = disk.corrupt()
        await put(disk, "a", bytes(100))
        where = disk.corrupt()
        data = await get(disk, "a")
        assert data is not None
        return where, sum(byte.bit_count() for byte in data), nothing

    assert on_disk(story)[0] == ("a", 1, "")


def test_a_sync_pays_for_seek_stream_and_flush_and_reads_from_the_cache_are_free() -> None:
    model = DiskModel(call=0.0, seek=0.010, flush=0.100, bandwidth=1000.0)

    async def story(disk: SimDisk) -> None:
        await put(disk, "a", b"x" * 1000, sync=True)
        await disk.sync()
        assert await get(disk, "a") == b"x" * 1000

    assert on_disk(story, model=model)[1] == pytest.approx(0.010 + 1.0 + 0.100 + 0.010 + 0.100)


def test_after_a_crash_the_cache_is_cold() -> None:
    model = DiskModel(call=0.0, seek=0.010, flush=0.0, bandwidth=1000.0)

    async def story(disk: SimDisk) -> float:
        await put(disk, "a", b"x" * 1000)
        await disk.sync()
        disk.crash()
        before = disk._env.now
        await get(disk, "a")
        await get(disk, "a")
        return (disk._env.now - before) / 1e9

    assert on_disk(story, model=model)[0] == pytest.approx(1.010), "paid once"


def test_one_head_serves_one_request_at_a_time_and_a_slow_disk_takes_longer() -> None:
    model = DiskModel(call=0.0, seek=1.0, flush=0.0, bandwidth=float("inf"))

    async def story(disk: SimDisk) -> None:
        files = [await disk.open(name, "w") for name in "abc"]
        await asyncio.gather(*(file.sync() for file in files))
        disk.slow = 10.0
        await files[0].sync()

    assert on_disk(story, model=model)[1] == pytest.approx(3.0 + 10.0)


def test_a_sync_that_the_crash_interrupted_promises_nothing() -> None:
    found: set[bytes] = set()

    async def program(host: Any) -> None:
        file = await host.disk.open("a", "w")
        await host.disk.sync()
        await file.append(b"x" * 5000)
        await file.sync()

    for seed in range(30):
        simulation = Simulation(seed)

        async def main(simulation: Simulation = simulation) -> None:
            machine = simulation.add_host("a", disk=DiskModel(flush=10.0))
            machine.boot(program)
            await asyncio.sleep(15)
            machine.crash()
            data = await get(machine.disk, "a")
            assert data is not None
            found.add(data)

        simulation.run(main())
    assert len(found) > 1
    assert all((b"x" * 5000).startswith(data) for data in found)


@pytest.mark.parametrize(("field", "value"), [("seek", -1.0), ("bandwidth", 0.0), ("capacity", -1)])
def test_a_disk_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"disk: {field} is"):
        DiskModel(**{field: value})
