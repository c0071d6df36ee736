"""A crash at every step of a workload, with every state that it may leave: nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest

from services.spanner.storage import storage
from tests.coordination.storage.disk import Files, MemoryDisk, every, few
from tests.spanner.storage.rig import Rig, State, recovered

Case = tuple[Files, list[State]]


def crashes(story: Callable[[Rig], Awaitable[None]]) -> list[Case]:
    """Returns what each crash leaves, and which states are right then."""
    found: dict[tuple[tuple[str, bytes], ...], Case] = {}
    rig = Rig()

    def before(_: str) -> None:
        possible = rig.possible()
        for files in rig.disk.outcomes(few):
            # The same files may be left earlier and later: the later demands more.
            found[tuple(files.items())] = (files, possible)

    async def tell() -> None:
        rig.disk.before = before
        await rig.start()
        await story(rig)
        await rig.idle()
        before("the end")
        await rig.stop()

    asyncio.run(tell())
    return list(found.values())


def survives(files: Files, possible: list[State]) -> None:
    _, state = recovered(files)
    assert state in possible, (state, possible)
    # It goes on from there, and finds that again.
    disk = MemoryDisk(files)

    async def go_on() -> State:
        rig = Rig(disk, state)
        await rig.start()
        rig.create(99)
        rig.write(99, "state", 1, b"entry")
        await rig.idle()
        await rig.stop()
        return rig.certain

    assert asyncio.run(go_on()) == recovered(disk)[1]


async def entries(rig: Rig) -> None:
    rig.create(1)
    rig.write(1, "promised 7")
    rig.write(1, "promised 7", 1, b"first", b"second")
    await rig.idle()
    rig.create(2, b"others")
    rig.write(2, "", 1, b"in another group")
    rig.write(1, "promised 8", 2, b"second, of another reign", b"third", b"fourth")
    await asyncio.sleep(0)
    rig.write(1, "promised 9", 3)
    rig.write(1, "voted")
    await rig.idle()
    await rig.restart()
    rig.write(1, "voted", 3, b"third, again")


async def groups_come_and_go(rig: Rig) -> None:
    rig.create(1)
    rig.create(2)
    rig.write(2, "state", 1, b"entry")
    await rig.idle()
    await rig.checkpoint(2, 1)
    rig.drop(2)
    await rig.idle()
    await asyncio.sleep(0)
    await rig.restart()
    rig.create(3)
    rig.drop(1)


async def checkpoints(rig: Rig) -> None:
    rig.create(1)
    rig.create(2)
    rig.write(1, "one", 1, b"entry 1", b"entry 2", b"entry 3")
    rig.write(2, "two", 1, b"other 1", b"other 2", b"other 3")
    await rig.idle()
    await rig.checkpoint(1, 2)
    rig.write(1, "one", 4, b"entry 4")
    await rig.checkpoint(1, 3)
    await rig.install(2, 2, keep=True)
    rig.write(2, "two", 4, b"other 4")
    await rig.install(2, 3, keep=False)
    await rig.idle()
    rig.write(2, "two", 4, b"the leader's 4")
    await rig.install(2, 7, keep=False)
    await rig.idle()
    await rig.restart()
    rig.write(2, "two", 8, b"the leader's 8")
    await rig.checkpoint(1, 4)


async def segments(rig: Rig) -> None:
    """Segments of a few records each: old ones are emptied and go."""
    rig.create(1)
    rig.create(2)
    rig.write(2, "idle from now on", 1, b"x")
    for index in range(1, 9):
        rig.write(1, "busy", index, b"entry %d" % index)
        await rig.idle()
        if index == 5:
            await rig.checkpoint(1, 4)


@pytest.mark.parametrize("story", [entries, groups_come_and_go, checkpoints, segments])
def test_nothing_confirmed_is_lost_and_nothing_else_appears(
    story: Callable[[Rig], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if story is segments:
        monkeypatch.setattr(storage, "SEGMENT", 560)
        monkeypatch.setattr(storage, "SEGMENTS", 3)
    cases = crashes(story)
    assert len(cases) > 30
    for case in cases:
        survives(*case)


def test_every_torn_length_of_the_last_write_is_repaired() -> None:
    async def story() -> Rig:
        rig = Rig()
        await rig.start()
        rig.create(1)
        rig.write(1, "state", 1, b"first")
        await rig.idle()
        rig.disk.fail["sync"] = errno.EIO
        rig.write(1, "state", 2, b"x" * 40)
        rig.write(1, "state", 3, b"y" * 40)
        await asyncio.gather(rig.task, return_exceptions=True)
        return rig

    rig = asyncio.run(story())
    torn = list(rig.disk.outcomes(every))
    assert len(torn) > 100
    lengths = sorted(len(files["log/segment-00000000"]) for files in torn)
    for files in torn:
        found, state = recovered(files)
        assert state in (rig.certain, rig.possible()[-1])
        if lengths[0] < len(files["log/segment-00000000"]) < lengths[-1]:
            assert "torn end" in found.repaired[0]
