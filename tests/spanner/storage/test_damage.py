"""Damage is repaired, said, or refused: what is found is never anything else than what was written."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from services.durable.headers import HEADER_SIZE
from services.spanner.storage import Storage, StorageFailed, StorageRefused
from services.spanner.storage.records import BATCHES
from tests.coordination.storage.disk import Files, MemoryDisk, finish
from tests.spanner.storage.rig import SERVER, UNIVERSE, Rig, State, recovered

FIRST, SECOND = (f"log/segment-0000000{number}" for number in range(2))
CHECKPOINT = "checkpoints/00000001-000000000002"


def written() -> tuple[Files, State, State]:
    """Returns a disk with two segments and a checkpoint, what it holds, and that without the last batch."""

    async def story() -> tuple[Rig, State]:
        rig = Rig()
        await rig.start()
        rig.create(1)
        rig.create(2)
        for index in (1, 2, 3):
            rig.write(1, "promised", index, b"entry %d" % index)
            await rig.idle()
        await rig.checkpoint(1, 2)
        await rig.restart()
        rig.write(2, "other", 1, b"in the other")
        await rig.idle()
        before = rig.certain
        rig.write(2, "last", 2, b"the last")
        await rig.idle()
        await rig.stop()
        return rig, before

    rig, before = asyncio.run(story())
    return {path: bytes(inode.data) for path, inode in rig.disk.names.items()}, rig.certain, before


def test_each_byte_of_each_file() -> None:
    files, state, before = written()
    assert set(files) == {FIRST, SECOND, CHECKPOINT, "log/identity"}
    assert recovered(dict(files))[1] == state
    refused = repaired = 0
    for path, data in files.items():
        for at in range(len(data)):
            for flip in (1 << at % 8, 0xFF):
                damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
                try:
                    storage, found = recovered({**files, path: damaged})
                except StorageRefused as exc:
                    assert "\n" not in str(exc)
                    refused += 1
                    continue
                if found != state:  # the end of a write that was never acknowledged, or so it looks
                    assert path == SECOND and found == before
                    assert "torn end" in storage.repaired[0]
                    repaired += 1
                elif at > HEADER_SIZE or path == "log/identity":
                    raise AssertionError((path, at))  # only a header has bytes that mean nothing
    assert refused > 1000 and repaired > 50


def test_each_length_of_each_file() -> None:
    files, _, before = written()
    second = files[SECOND][HEADER_SIZE:]
    end = HEADER_SIZE + (BATCHES.size(second[:4], second) or 0)  # of the first batch
    for path, data in files.items():
        for size in range(len(data)):
            try:
                storage, found = recovered({**files, path: data[:size]})
            except StorageRefused:
                continue
            assert path == SECOND
            assert storage.repaired or size in (HEADER_SIZE, end)
            assert found in (before, {**before, 2: (b"members", 0, None, ())}), (size, found)


def test_what_refuses_says_what_is_wrong_and_what_to_do() -> None:
    files, _, _ = written()

    def refusal(changes: dict[str, bytes | None]) -> str:
        changed = {path: data for path, data in {**files, **changes}.items() if data is not None}
        with pytest.raises(StorageRefused) as refused:
            recovered(changed)
        return str(refused.value)

    first, second = files[FIRST], files[SECOND]
    middle = second[: HEADER_SIZE + 3] + b"\0" + second[HEADER_SIZE + 4 :]
    assert "segment-00000001 is damaged at byte 512: what was promised" in refusal({SECOND: middle})
    assert "under another name" in refusal({SECOND: middle})
    assert f"{FIRST} is missing" in refusal({FIRST: None})
    assert "but what is before it ends before" in refusal({FIRST: first[:HEADER_SIZE]})
    assert f"{CHECKPOINT} is missing" in refusal({CHECKPOINT: None})
    assert "log has no segment" in refusal({FIRST: None, SECOND: None})
    assert "log/identity is missing, yet there is" in refusal({"log/identity": None})
    assert "log/identity is damaged" in refusal({"log/identity": b"7\n"})
    newer = second[:8] + (2).to_bytes(2, "little") + second[10:]
    assert "has format 2, this program knows formats up to 1" in refusal({SECOND: newer})


@pytest.mark.parametrize(("universe", "server"), [("other", SERVER), (UNIVERSE, "s2")])
def test_the_folder_of_another_server_or_universe_is_refused(universe: str, server: str) -> None:
    files, _, _ = written()
    with pytest.raises(StorageRefused, match=r'belongs to server s1 of universe "test"'):
        finish(Storage.open(MemoryDisk(files), random.Random(1), universe, server))  # type: ignore[arg-type]


def test_files_of_another_server_are_refused() -> None:
    files, _, _ = written()

    async def other() -> Files:
        disk = MemoryDisk()
        storage = await Storage.open(disk, random.Random(1), "elsewhere", SERVER)  # type: ignore[arg-type]
        await storage.close()
        return {path: bytes(inode.data) for path, inode in disk.names.items()}

    strange = asyncio.run(other())
    with pytest.raises(StorageRefused, match='is segment 0 of server s1 of universe "elsewhere"'):
        recovered({**files, FIRST: strange[FIRST]})


@pytest.mark.parametrize(("what", "number"), [("sync", errno.EIO), ("append", errno.ENOSPC)])
def test_a_disk_that_fails_stops_the_log(what: str, number: int) -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        rig.create(1)
        await rig.idle()
        rig.disk.fail[what] = number
        rig.write(1, "", 1, b"first")
        with pytest.raises(
            StorageFailed, match=r"the disk of spanserver s1 fails: .*nothing more is acknowledged"
        ):
            await rig.task
        rig.disk.fail.clear()
        rig.write(1, "", 2, b"second")
        await asyncio.sleep(0)
        assert len(rig.pending) == 2  # nothing is confirmed, then or later
        # What the cache shows is written again and synced before it counts.
        synced: list[str] = []
        rig.disk.before = synced.append
        _, state = recovered(rig.disk)
        assert not rig.disk.names[FIRST].unsynced and "write" in synced
        assert state in rig.possible()

    asyncio.run(story())


@pytest.mark.parametrize("what", ["append", "sync", "rename", "sync folder"])
def test_a_checkpoint_that_cannot_be_written_is_given_up(what: str) -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        rig.create(1)
        rig.write(1, "", 1, b"first")
        await rig.idle()
        rig.disk.fail[what] = errno.EIO
        with pytest.raises(OSError, match="the test wants it"):
            await rig.checkpoint(1, 1)
        rig.saving.clear()
        rig.disk.fail.clear()
        rig.write(1, "", 2, b"second")
        await rig.idle()
        assert await rig.checkpoint(1, 2)
        assert not [path for path in rig.disk.names if path.endswith(".part")]
        await rig.stop()
        assert recovered(rig.disk)[1] == rig.certain

    asyncio.run(story())
