"""Damage is repaired, said, or refused: what is found is never anything else than what was written."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from services.coordination.storage import Storage, StorageFailed, StorageRefused
from services.durable.headers import HEADER_SIZE
from tests.coordination.storage.disk import Files, MemoryDisk, finish
from tests.coordination.storage.rig import ENSEMBLE, Rig, State, history, matches, record, recovered

FIRST, SECOND, THIRD = (f"log/segment-0000000{number}" for number in range(3))


def written() -> tuple[Files, State]:
    """Returns a disk with two snapshots and three segments, and what it holds."""

    async def story() -> Rig:
        rig = Rig(keep=2)
        await rig.start()
        rig.accepted(2)
        rig.current(1)
        rig.append(record(1, 1), record(1, 2))
        await rig.idle()
        await rig.save_snapshot(record(1, 1)[0], [b"first", b"state"], upto=record(1, 2)[0])
        rig.append(record(1, 3))
        await rig.idle()
        rig.append(record(1, 4))
        await rig.idle()
        await rig.save_snapshot(record(1, 3)[0], [b"second", b"state"], upto=record(1, 4)[0])
        for counter in (5, 6, 7):
            rig.append(record(1, counter))
            await rig.idle()
        await rig.stop()
        return rig

    rig = asyncio.run(story())
    return {path: bytes(inode.data) for path, inode in rig.disk.names.items()}, rig.certain


def test_each_byte_of_each_file() -> None:
    files, state = written()
    assert matches(recovered(dict(files))[1], state)
    refused = repaired = 0
    for path, data in files.items():
        for at in range(len(data)):
            for flip in (1 << at % 8, 0xFF):
                damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
                try:
                    storage, found = recovered({**files, path: damaged})
                except StorageRefused:
                    refused += 1
                    continue
                if matches(found, state):
                    repaired += bool(storage.repaired)
                    continue
                # The end of a write that was never acknowledged, or so it looks.
                assert path == THIRD, (path, at)
                assert "torn end" in storage.repaired[0]
                assert matches(found, State(2, 1, 0, state.records[:-1]))
                repaired += 1
    assert refused > 1000 and repaired > 100


def test_old_segments_are_looked_at_when_they_are_read() -> None:
    files, state = written()
    first = files[FIRST]
    files[FIRST] = first[:-1] + bytes([first[-1] ^ 1])
    storage, _ = recovered(files)
    with pytest.raises(StorageRefused, match="segment-00000000 is damaged at byte"):
        finish(history(storage, 0, storage.last))
    assert finish(history(storage, record(1, 3)[0], storage.last)) == list(state.records[3:])


def test_a_damaged_snapshot_is_replaced_by_the_one_before() -> None:
    files, state = written()
    newest = max(path for path in files if path.startswith("data/snapshot-"))
    files[newest] = files[newest][:-3]
    storage, found = recovered(files)
    assert found.base == record(1, 1)[0] and matches(found, state)
    assert "older snapshot and the log take its place" in storage.repaired[0]


def test_what_refuses_says_what_is_wrong_and_what_to_do() -> None:
    files, _ = written()

    def refusal(**changes: bytes | None) -> str:
        changed = {**files, **{path.replace("__", "/").replace("_", "-"): d for path, d in changes.items()}}
        with pytest.raises(StorageRefused) as refused:
            recovered({path: data for path, data in changed.items() if data is not None})
        return str(refused.value)

    third = files[THIRD]
    middle = third[: HEADER_SIZE + 3] + b"\0" + third[HEADER_SIZE + 4 :]
    assert "segment-00000002 is damaged at byte 512, after zxid 100000004" in refusal(
        log__segment_00000002=middle
    )
    assert "add it again with empty folders" in refusal(log__segment_00000002=middle)
    assert "a part is missing" in refusal(log__segment_00000001=None, log__segment_00000002=None)
    assert "segments are missing" in refusal(log__segment_00000001=None)
    assert "data/acceptedEpoch is missing" in refusal(data__acceptedEpoch=None)
    assert "data/currentEpoch is damaged" in refusal(data__currentEpoch=b"7\n")
    assert "above" in refusal(
        data__currentEpoch=files["data/acceptedEpoch"].replace(b"2", b"2"),
        data__acceptedEpoch=files["data/currentEpoch"],
    )
    assert "log is empty: is its disk there?" in refusal(
        **{path.replace("/", "__").replace("-", "_"): None for path in files if path.startswith("log/")}
    )
    assert "data/identity is missing" in refusal(
        **{path.replace("/", "__").replace("-", "_"): None for path in files if path.startswith("data/")}
    )
    newer = third[:8] + (2).to_bytes(2, "little") + third[10:]
    assert "has format 2, this program knows formats up to 1: start the newer program" in refusal(
        log__segment_00000002=newer
    )


@pytest.mark.parametrize(("ensemble", "server"), [("other", 1), (ENSEMBLE, 2)])
def test_the_folder_of_another_server_or_ensemble_is_refused(ensemble: str, server: int) -> None:
    files, _ = written()
    with pytest.raises(
        StorageRefused,
        match=rf'belongs to server 1 of ensemble "test", this is server {server} of ensemble "{ensemble}"',
    ):
        finish(Storage.open(MemoryDisk(files), random.Random(1), ensemble, server))  # type: ignore[arg-type]


def test_an_image_of_a_batch_in_a_transaction_does_not_make_a_torn_end_damage() -> None:
    async def story() -> MemoryDisk:
        rig = Rig()
        await rig.start()
        rig.append(record(1, 1))
        await rig.idle()
        image = bytes(rig.disk.names[FIRST].data[HEADER_SIZE:])
        other = b"\1\2\3\4" + image[4:]  # as somebody would make it who cannot know the segment's mark
        rig.append((record(1, 2)[0], other * 3, ""))
        await rig.idle()
        await rig.stop()
        return rig.disk

    data = bytes(asyncio.run(story()).names[FIRST].data)
    files = {path: bytes(inode.data) for path, inode in asyncio.run(story()).names.items()}
    storage, found = recovered({**files, FIRST: data[:-1]})
    assert "torn end" in storage.repaired[0] and [one[0] for one in found.records] == [record(1, 1)[0]]


@pytest.mark.parametrize(
    ("what", "number"), [("sync", errno.EIO), ("append", errno.ENOSPC), ("sync folder", errno.EIO)]
)
def test_a_disk_that_fails_stops_the_log(what: str, number: int) -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        if what != "sync folder":
            rig.append(record(1, 1))
            await rig.idle()
        rig.disk.fail[what] = number
        rig.append(record(1, 2))
        with pytest.raises(
            StorageFailed, match=r"the disk of server 1 fails: .*nothing more is acknowledged"
        ):
            await rig.task
        rig.disk.fail.clear()
        rig.append(record(1, 3))
        await asyncio.sleep(0)
        assert len(rig.pending) == 2  # nothing is confirmed, then or later
        # What the cache shows is written again and synced before it counts.
        synced: list[str] = []
        rig.disk.before = synced.append
        storage = await Storage.open(rig.disk, random.Random(1), ENSEMBLE, 1)  # type: ignore[arg-type]
        segment = rig.disk.names.get(FIRST)
        assert segment is None or (not segment.unsynced and "write" in synced)
        assert storage.last in (0, record(1, 1)[0], record(1, 2)[0])

    asyncio.run(story())


@pytest.mark.parametrize("what", ["append", "sync", "rename", "sync folder"])
def test_a_snapshot_that_cannot_be_written_is_given_up(what: str) -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        rig.append(record(1, 1))
        await rig.idle()
        rig.disk.fail[what] = errno.EIO
        with pytest.raises(OSError):
            await rig.save_snapshot(record(1, 1)[0], [b"state"])
        rig.disk.fail.clear()
        rig.append(record(1, 2))
        await rig.idle()
        await rig.save_snapshot(record(1, 2)[0], [b"state"])
        assert rig.snapshot == record(1, 2)[0]
        assert not [path for path in rig.disk.names if path.endswith(".part")]
        await rig.stop()
        assert matches(recovered(rig.disk)[1], rig.certain)

    asyncio.run(story())
