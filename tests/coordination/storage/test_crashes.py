"""A crash at every step of a workload, with every state that it may leave: nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest

from tests.coordination.storage.disk import Files, MemoryDisk, every, few
from tests.coordination.storage.rig import Rig, State, matches, record, recovered

Case = tuple[Files, list[State], int]


def crashes(story: Callable[[Rig], Awaitable[None]], keep: int = 2) -> list[Case]:
    """Returns what each crash leaves, which states are right then, and the newest snapshot for sure."""
    found: dict[tuple[tuple[str, bytes], ...], Case] = {}
    rig = Rig(keep=keep)

    def before(_: str) -> None:
        possible = rig.possible()
        for files in rig.disk.outcomes(few):
            key = tuple(files.items())
            # The same files may be left earlier and later: the later demands more.
            found[key] = (files, possible, rig.snapshot)

    async def tell() -> None:
        rig.disk.before = before
        await rig.start()
        await story(rig)
        await rig.idle()
        before("the end")
        await rig.stop()

    asyncio.run(tell())
    return list(found.values())


def survives(files: Files, possible: list[State], snapshot: int) -> None:
    _, state = recovered(files)
    assert any(matches(state, expected) for expected in possible), (state, possible)
    assert state.base >= snapshot or possible[-1].base > snapshot
    # It goes on from there, and finds that again.
    disk = MemoryDisk(files)

    async def go_on() -> State:
        rig = Rig(disk, state)
        await rig.start()
        rig.accepted(9)
        rig.append(record(9, 1))
        await rig.idle()
        await rig.stop()
        return rig.certain

    assert recovered(disk)[1] == asyncio.run(go_on()) or recovered(disk)[1].records[-1] == record(9, 1)


async def appends(rig: Rig) -> None:
    rig.accepted(1)
    rig.current(1)
    rig.append(record(1, 1), record(1, 2, "members"))
    await rig.idle()
    rig.append(record(1, 3))
    await asyncio.sleep(0)
    rig.append(record(1, 4), record(1, 5))
    rig.accepted(2)
    rig.append(record(2, 1))
    rig.current(2)
    await rig.idle()
    await rig.restart()
    rig.append(record(2, 2))


async def truncations(rig: Rig) -> None:
    rig.append(record(1, 1), record(1, 2), record(1, 3))
    rig.truncate(record(1, 2)[0])
    rig.append(record(2, 1))
    await rig.idle()
    await rig.restart()
    rig.truncate(record(1, 1)[0])
    rig.accepted(3)
    rig.current(3)
    rig.append(record(3, 1), record(3, 2))
    await rig.idle()
    rig.truncate(record(3, 1)[0])


async def snapshots(rig: Rig) -> None:
    rig.append(record(1, 1), record(1, 2))
    await rig.idle()
    await rig.save_snapshot(record(1, 1)[0], [b"state", b"of 1"], upto=record(1, 2)[0])
    rig.append(record(1, 3))
    await rig.save_snapshot(record(1, 2)[0], [b"state", b"of 2"], upto=record(1, 3)[0])
    rig.append(record(1, 4), record(1, 5))
    await rig.save_snapshot(record(1, 4)[0], [], upto=record(1, 5)[0])
    rig.append(record(1, 6))


async def installation(rig: Rig) -> None:
    rig.append(record(1, 1), record(1, 2))
    await rig.save_snapshot(record(1, 1)[0], [b"own"])
    rig.append(record(1, 3))
    rig.install(record(3, 5)[0], [b"the", b"leader's", b""])
    rig.accepted(4)
    rig.current(4)
    rig.append(record(3, 6), record(4, 1))
    await rig.idle()
    await rig.save_snapshot(record(4, 1)[0], [b"own again"])
    rig.append(record(4, 2))
    await rig.idle()
    rig.install(record(4, 1)[0], [b"older than the own"])
    rig.append(record(5, 1))


@pytest.mark.parametrize("story", [appends, truncations, snapshots, installation])
def test_nothing_confirmed_is_lost_and_nothing_else_appears(story: Callable[[Rig], Awaitable[None]]) -> None:
    cases = crashes(story)
    assert len(cases) > 50
    for case in cases:
        survives(*case)


def test_every_torn_length_of_the_last_write_is_repaired() -> None:
    async def story() -> Rig:
        rig = Rig()
        await rig.start()
        rig.append(record(1, 1), record(1, 2))
        await rig.idle()
        rig.disk.fail["sync"] = errno.EIO
        rig.append(record(1, 3, size=40), record(1, 4, size=40))
        await asyncio.gather(rig.task, return_exceptions=True)
        return rig

    rig = asyncio.run(story())
    torn = list(rig.disk.outcomes(every))
    assert len(torn) > 100
    for files in torn:
        storage, state = recovered(files)
        assert state.records in (rig.certain.records, rig.possible()[-1].records)
        if len(files["log/segment-00000000"]) not in map(
            len, (torn[0]["log/segment-00000000"], torn[-1]["log/segment-00000000"])
        ):
            assert "torn end" in storage.repaired[0]
