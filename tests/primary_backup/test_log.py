"""A replica's log on its disk: what was appended survives crashes and failures, and nothing else does."""

from __future__ import annotations

import random

import pytest

from protos.log_pb2 import Entry
from services.primary_backup.log import Log
from sim.world.simulation import Simulation


def entry(number: int, view: int = 1) -> Entry:
    return Entry(view=view, client="c", request=number, data=b"x" * 100)


def on_a_disk(work, seed=0):
    """Runs `work(disk)` on a simulated host."""
    simulation = Simulation(seed)
    host = simulation.boot("a")

    async def main():
        await work(host.disk)

    simulation.run(main(), name="a")


def test_appended_entries_survive_a_crash():
    async def work(disk):
        log = Log(disk)
        await log.load()
        await log.append([entry(1), entry(2)])
        await log.append([entry(3)])
        disk.crash()
        again = Log(disk)
        await again.load()
        assert again.entries == [entry(1), entry(2), entry(3)]
        assert again.find("c", 2) == 1
        assert again.find("c", 4) is None

    for seed in range(20):
        on_a_disk(work, seed)


def test_cut_entries_stay_cut():
    async def work(disk):
        log = Log(disk)
        await log.load()
        await log.append([entry(1), entry(2), entry(3)])
        await log.cut(1)
        await log.append([entry(4, view=2)])
        assert log.entries == [entry(1), entry(4, view=2)]
        assert log.find("c", 2) is None
        disk.crash()
        again = Log(disk)
        await again.load()
        assert again.entries == log.entries

    for seed in range(20):
        on_a_disk(work, seed)


@pytest.mark.parametrize("fault", ["full", "sync_fails"])
def test_after_a_failure_the_log_is_as_it_was_and_works_when_the_disk_does(fault):
    async def work(disk):
        log = Log(disk)
        await log.load()
        await log.append([entry(1)])
        setattr(disk, fault, True)
        for _ in range(2):
            with pytest.raises(OSError):
                await log.append([entry(2)])
        assert log.entries == [entry(1)]
        setattr(disk, fault, False)
        await log.append([entry(3)])
        disk.crash()
        again = Log(disk)
        await again.load()
        assert again.entries == [entry(1), entry(3)]

    for seed in range(20):
        on_a_disk(work, seed)


def test_a_torn_write_at_the_end_is_dropped():
    async def work(disk):
        log = Log(disk)
        await log.load()
        await log.append([entry(1)])
        for garbage in (b"\x01", bytes(8), random.Random(0).randbytes(200)):
            file = await disk.open("log", "a")
            await file.append(garbage)
            await file.sync()
            again = Log(disk)
            await again.load()
            assert again.entries == [entry(1)]

    on_a_disk(work)
