"""What a storage tells: histories, epochs, confirmations, snapshots."""

from __future__ import annotations

import asyncio

import pytest

from services.coordination.storage import StorageRefused, storage
from tests.coordination.storage.disk import finish
from tests.coordination.storage.rig import Rig, history, record, recovered


def zxid(epoch: int, counter: int) -> int:
    return (epoch << 32) + counter


def test_recent_history_is_in_memory_and_the_rest_on_the_disk() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        records = [record(1, counter) for counter in range(1, 2001)]
        for start in range(0, 2000, 100):
            rig.append(*records[start : start + 100])
            await rig.idle()
        rig.append(record(1, 2001))  # not durable yet
        opened: list[str] = []
        rig.disk.before = opened.append
        recent = await history(rig.storage, zxid(1, 1600), zxid(1, 2001))
        assert recent == [*records[1600:], record(1, 2001)] and opened == []
        assert await history(rig.storage, 0, zxid(1, 2000)) == records and opened
        assert await history(rig.storage, zxid(1, 777), zxid(1, 779)) == records[777:779]
        assert await history(rig.storage, zxid(1, 5), zxid(1, 5)) == []
        assert len(rig.storage._tail) <= storage.COMMIT_LOG + 1
        await rig.stop()

    asyncio.run(story())


def test_few_large_transactions_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MEMORY", 8 << 10)

    async def story() -> None:
        rig = Rig()
        await rig.start()
        for counter in range(1, 40):
            rig.append((zxid(1, counter), b"x" * (1 << 10), ""))
            await rig.idle()
        assert len(rig.storage._tail) <= 9
        assert len(await history(rig.storage, 0, zxid(1, 39))) == 39
        await rig.stop()

    asyncio.run(story())


def test_who_queues_too_much_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "ROOM", 16 << 10)

    async def story() -> None:
        rig = Rig()
        await rig.start()
        await rig.storage.room()
        rig.append(*[(zxid(1, counter), b"x" * (1 << 10), "") for counter in range(1, 21)])
        with pytest.raises(AssertionError, match="it waited"):
            finish(rig.storage.room())
        assert len(rig.pending) == 20
        await rig.storage.room()
        assert len(rig.pending) < 20
        await rig.stop()

    asyncio.run(story())


def test_the_ends_of_epochs_and_reconfigurations_are_found_again() -> None:
    async def story() -> Rig:
        rig = Rig()
        await rig.start()
        rig.append(record(1, 1, "first"), record(1, 2), record(1, 3, "void"))
        rig.append(record(2, 1), record(3, 1), record(3, 2, "void, too"))
        rig.truncate(zxid(1, 2))
        rig.append(record(4, 1), record(4, 2, "second"), record(5, 1))
        await rig.idle()
        rig.storage.save_configuration("configuration")
        await asyncio.sleep(0)
        await rig.stop()
        return rig

    found, _ = recovered(asyncio.run(story()).disk)
    assert found.epochs == {1: zxid(1, 2), 4: zxid(4, 2), 5: zxid(5, 1)}
    assert found.reconfigurations == {zxid(1, 1): "first", zxid(4, 2): "second"}
    assert found.configuration == "configuration"


def test_what_was_truncated_is_not_confirmed() -> None:
    async def story() -> None:
        rig = Rig()
        confirmed: list[int] = []
        rig._logged = confirmed.append  # type: ignore[method-assign]
        await rig.start()
        rig.append(record(1, 1), record(1, 2))
        rig.storage.truncate(zxid(1, 1), lambda: confirmed.append(-1))
        rig.storage.append(record(2, 1))
        await asyncio.sleep(0.01)
        assert confirmed == [zxid(1, 1), -1, zxid(2, 1)]
        await rig.stop()

    asyncio.run(story())


def test_snapshots_that_are_not_needed_go_with_their_log() -> None:
    async def story() -> None:
        rig = Rig(keep=2)
        await rig.start()
        purged: list[int] = []
        for counter in range(1, 9):
            rig.append(record(1, counter))
            await rig.idle()
            await rig.storage.save_snapshot(
                zxid(1, counter), "m", iter([b"piece"]), lambda now=counter: zxid(1, now), purged.append
            )
        names = sorted(rig.disk.names)
        assert len([name for name in names if "snapshot" in name]) == 2
        assert len([name for name in names if "segment" in name]) == 1
        assert purged[-1] == zxid(1, 7)
        with pytest.raises(StorageRefused, match="nothing before"):
            await history(rig.storage._log, 0, zxid(1, 8))  # type: ignore[arg-type]
        await rig.stop()
        found, _ = recovered(rig.disk)
        assert found.snapshot is not None and found.snapshot.zxid == zxid(1, 8) and found.members == "m"

        async def pieces() -> list[bytes]:
            return [piece async for piece in found.pieces()]

        assert finish(pieces()) == [b"piece"]

    asyncio.run(story())
