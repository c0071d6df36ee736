"""The shared file system: whole files or none, whatever crashes when."""

from __future__ import annotations

import asyncio

import pytest

from services.files import server
from services.files.client import FileSystem
from sim.world.simulation import Simulation


def told(story, seed: int = 0):
    """Runs `story(simulation, storage)` against a file server on a host of its own."""
    simulation = Simulation(seed)

    async def main():
        simulation.boot("files", server.serve)
        client = simulation.boot("client")
        return await story(simulation, FileSystem(client, "files"))

    return simulation.run(main())


def test_what_was_written_is_read_back_by_parts() -> None:
    async def story(simulation, storage):
        await storage.write("a/b", bytes(range(256)) * 4000)
        return (
            await storage.read("a/b", 300, 5),
            len(await storage.read("a/b")),
            await storage.read("a/b", 10**7),
        )

    assert told(story) == (bytes(range(44, 49)), 1_024_000, b"")


def test_listing_a_folder_names_what_is_below_it_and_not_its_neighbours() -> None:
    async def story(simulation, storage):
        for path in ("in/x", "in/y/z", "inner", "out"):
            await storage.write(path, path.encode())
        return await storage.list("in"), await storage.list("out"), await storage.list("nowhere")

    assert told(story) == ([("in/x", 4), ("in/y/z", 6)], [("out", 3)], [])


def test_a_file_that_is_not_there_is_named() -> None:
    async def story(simulation, storage):
        with pytest.raises(FileNotFoundError, match="no such file: gone"):
            await storage.read("gone")
        with pytest.raises(FileNotFoundError, match="no such file: gone"):
            await storage.rename("gone", "here")

    told(story)


def test_a_rename_replaces_its_target_and_done_twice_is_done_once() -> None:
    async def story(simulation, storage):
        await storage.write("new", b"new")
        await storage.write("final", b"old")
        await storage.rename("new", "final")
        await storage.rename("new", "final")  # the first reply was lost, say
        return await storage.read("final"), await storage.list()

    assert told(story) == (b"new", [("final", 3)])


def test_names_may_hold_anything_and_lead_nowhere_else() -> None:
    async def story(simulation, storage):
        for path in ("../../etc/passwd", "100% ü", "%temporary", "a//b/./c"):
            await storage.write(path, b"x")
        return [path for path, _ in await storage.list()]

    assert told(story) == ["%temporary", "100% ü", "a/b/c", "etc/passwd"]


def test_after_a_crash_at_any_moment_a_file_is_there_whole_or_not_at_all() -> None:
    """And one whose write was acknowledged is there."""
    content = bytes(300_000)

    async def story(simulation, storage, moment):
        await storage.write("before", content)
        writing = asyncio.create_task(storage.write("file", content))
        moving = asyncio.create_task(storage.rename("before", "after"))
        await asyncio.sleep(moment)
        acknowledged = [writing.done(), moving.done()]
        simulation.machines["files"].crash()
        await asyncio.sleep(0.1)
        for task in (writing, moving):
            task.cancel()
        await asyncio.gather(writing, moving, return_exceptions=True)
        simulation.machines["files"].restart()
        return acknowledged, dict(await storage.list())

    seen = set()
    for step in range(60):
        moment = step * 0.0005
        acknowledged, files = told(lambda s, f, m=moment: story(s, f, m), seed=step)
        assert set(files.values()) == {len(content)}, (moment, files)
        assert ("before" in files) != ("after" in files)
        assert "file" in files or not acknowledged[0]
        assert "after" in files or not acknowledged[1]
        seen.add((*acknowledged, "file" in files, "after" in files))
    assert len(seen) >= 4, "crashes before, between and after"
