"""The file service as its users see it: the interface, replicas, locality, fail-over."""

from __future__ import annotations

import asyncio
import errno

import pytest

from services.files import chunkserver, connect, master, server
from services.files.api import FileInfo, Range
from services.files.client import FileClient
from sim.world.simulation import Simulation

RACKS = {"c1": "a", "c2": "a", "c3": "b", "c4": "b", "c5": "c"}


def told(story, seed: int = 0):
    """Runs `story(simulation, files)` against a service on a single host."""
    simulation = Simulation(seed)

    async def main():
        simulation.boot("files", server.serve, {"chunk_bytes": 100_000})
        return await story(simulation, connect(simulation.boot("client"), "files"))

    return simulation.run(main())


def spread(story, seed: int = 0, **parameters):
    """Runs `story(simulation, files)` against a master and five chunkservers in three racks."""
    simulation = Simulation(seed)

    async def main():
        simulation.boot("files", master.serve, {"chunk_bytes": 100_000, **parameters})
        for name, rack in RACKS.items():
            simulation.boot(name, chunkserver.serve, {"rack": rack})
        await asyncio.sleep(4)
        return await story(simulation, FileClient(simulation.boot("client"), "files"))

    return simulation.run(main())


def test_what_was_written_is_read_back_by_parts() -> None:
    content = bytes(range(256)) * 4000

    async def story(simulation, files):
        await files.write("a/b", content)
        return (
            await files.read("a/b", 300, 5),
            await files.read("a/b"),
            await files.read("a/b", 99_990, 20),
            await files.read("a/b", 10**7),
        )

    assert told(story) == (bytes(range(44, 49)), content, content[99_990:100_010], b"")


def test_a_listing_names_what_is_below_a_folder_without_what_is_hidden() -> None:
    async def story(simulation, files):
        for path in ("in/x", "in/y/z", "in/_SUCCESS", "in/.temporary/part", "inner", "out"):
            await files.write(path, path.encode())
        with pytest.raises(FileNotFoundError, match="nowhere"):
            await files.list("nowhere")
        assert await files.exists("in/.temporary")
        return await files.list("/in/"), await files.list("out"), await files.list("in/.temporary")

    assert told(story) == (
        [FileInfo("in/x", 4), FileInfo("in/y/z", 6)],
        [FileInfo("out", 3)],
        [FileInfo("in/.temporary/part", 18)],
    )


def test_errors_are_those_of_files_and_name_the_path() -> None:
    async def story(simulation, files):
        await files.write("file", b"x")
        await files.create("folder")
        for call, kind in (
            (files.read("gone"), FileNotFoundError),
            (files.read("folder"), IsADirectoryError),
            (files.write("folder", b""), IsADirectoryError),
            (files.write("file/below", b""), NotADirectoryError),
            (files.create("folder", exclusive=True), FileExistsError),
            (files.create("file"), FileExistsError),
            (files.commit("gone", "there"), FileNotFoundError),
            (files.commit("file", "nowhere/there"), FileNotFoundError),
            (files.locate([Range("gone", 0, 1)]), FileNotFoundError),
        ):
            with pytest.raises(kind) as caught:
                await call
            assert caught.value.filename
        await files.create("folder")
        return await files.list("folder")

    assert told(story) == []


def test_of_two_commits_the_first_wins_and_hears_so_again() -> None:
    async def story(simulation, files):
        await files.write("out/.temporary/a", b"a")
        await files.write("out/.temporary/b", b"b")
        answers = [
            await files.commit("out/.temporary/a", "out/part"),
            await files.commit("out/.temporary/b", "out/part"),
            await files.commit("out/.temporary/a", "out/part"),
        ]
        return answers, await files.read("out/part"), await files.list("out/.temporary")

    assert told(story) == ([True, False, True], b"a", [FileInfo("out/.temporary/b", 1)])


def test_names_may_hold_anything_and_lead_nowhere_else() -> None:
    async def story(simulation, files):
        for path in ("../../etc/passwd", "100% ü", "%temporary", "a//b/./c"):
            await files.write(path, b"x")
        return [info.path for info in await files.list("")]

    assert told(story) == ["%temporary", "100% ü", "a/b/c", "etc/passwd"]


def test_replicas_lie_on_different_racks_the_first_one_at_the_writer() -> None:
    async def story(simulation, files):
        await files.write("file", bytes(450_000))
        (held,) = await files.locate([Range("file", 0, -1)])
        at_writer = FileClient(simulation.machines["c4"].host, "files")
        await at_writer.write("local", bytes(450_000), replicas=2)
        (local,) = await files.locate([Range("local", 0, -1)])
        parts = await files.locate([Range("local", 0, 10), Range("local", 99_990, 20)])
        return held, local, parts

    held, local, parts = spread(story)
    assert sum(held.values()) == 3 * 450_000
    for rack in "abc":
        assert sum(size for host, size in held.items() if RACKS[host] == rack) == 450_000
    assert local["c4"] == 450_000
    assert sum(local.values()) == 2 * 450_000
    assert "c3" not in local, "the second replica is in another rack"
    assert [sum(part.values()) for part in parts] == [2 * 10, 2 * 20]


def test_a_lost_chunkserver_is_replaced_and_one_that_returns_gives_up_what_is_too_many() -> None:
    async def story(simulation, files):
        content = bytes(range(250)) * 1000
        await files.write("file", content)
        (before,) = await files.locate([Range("file", 0, -1)])
        victim = next(iter(before))
        simulation.machines[victim].crash()
        assert await files.read("file") == content, "while nobody knows yet"
        await asyncio.sleep(40)
        (after,) = await files.locate([Range("file", 0, -1)])
        simulation.machines[victim].restart()
        await asyncio.sleep(20)
        (at_last,) = await files.locate([Range("file", 0, -1)])
        disks = [await chunks(simulation, name) for name in RACKS]
        return victim, after, at_last, disks

    victim, after, at_last, disks = spread(story)
    assert victim not in after
    assert sum(after.values()) == sum(at_last.values()) == 3 * 250_000
    assert sum(len(names) for names in disks) == 3 * 3, "nine replicas of three chunks, no more"


async def chunks(simulation, name):
    return await simulation.machines[name].disk.list("chunks")


def test_a_rotten_replica_is_never_handed_out_and_is_made_anew() -> None:
    async def story(simulation, files):
        content = bytes(range(250)) * 100
        await files.write("file", content)
        (held,) = await files.locate([Range("file", 0, -1)])
        for name in list(held)[:2]:
            (chunk,) = await chunks(simulation, name)
            simulation.machines[name].disk.corrupt(f"chunks/{chunk}")
        for name in held:  # each host reads its own replica first
            assert await FileClient(simulation.machines[name].host, "files").read("file") == content
        await asyncio.sleep(30)
        (after,) = await files.locate([Range("file", 0, -1)])
        return after

    assert sum(spread(story).values()) == 3 * 25_000


def test_when_all_replicas_have_rotted_reading_fails_and_says_what() -> None:
    async def story(simulation, files):
        await files.write("file", bytes(90_000), replicas=1)
        (held,) = await files.locate([Range("file", 0, -1)])
        for name in held:
            (chunk,) = await chunks(simulation, name)
            simulation.machines[name].disk.corrupt(f"chunks/{chunk}")
        with pytest.raises(OSError, match=r"No replica can be read.*file") as caught:
            await files.read("file")
        return caught.value.errno, [await chunks(simulation, name) for name in held]

    number, left = spread(story)
    assert number == errno.EIO
    assert len(left[0]) == 1, "the last replica stays, damaged as it is"


def test_a_full_disk_is_avoided() -> None:
    async def story(simulation, files):
        for name in ("c1", "c2", "c3"):
            simulation.machines[name].disk.full = True
        await files.write("file", bytes(250_000))
        await asyncio.sleep(20)
        (held,) = await files.locate([Range("file", 0, -1)])
        return held

    assert spread(story) == {"c4": 250_000, "c5": 250_000}


def test_files_that_are_replaced_or_removed_leave_no_chunk_behind() -> None:
    async def story(simulation, files):
        for _ in range(3):
            await files.write("folder/file", bytes(250_000))
        await files.write("folder/other", bytes(250_000))
        await files.remove("folder")
        await files.remove("folder")
        await asyncio.sleep(10)
        return [await chunks(simulation, name) for name in RACKS], await files.exists("folder")

    assert spread(story) == ([[]] * 5, False)


def test_a_file_that_nobody_finished_is_garbage() -> None:
    async def story(simulation, files):
        writing = asyncio.create_task(files.write("file", bytes(4_000_000)))
        await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.sleep(5)
        had = [await chunks(simulation, name) for name in RACKS]
        await asyncio.sleep(120)
        return sum(map(len, had)), [await chunks(simulation, name) for name in RACKS]

    had, left = spread(story, write_within=60.0)
    assert had > 0
    assert left == [[]] * 5


def test_the_master_remembers_through_a_crash_and_learns_where_chunks_are() -> None:
    async def story(simulation, files):
        content = bytes(range(250)) * 1000
        await files.write("file", content)
        simulation.machines["files"].crash()
        simulation.machines["files"].restart()
        assert await files.read("file") == content
        await files.write("other", content)
        await asyncio.sleep(15)
        return await files.locate([Range("file", 0, -1), Range("other", 0, -1)])

    assert [sum(held.values()) for held in spread(story)] == [750_000, 750_000]
