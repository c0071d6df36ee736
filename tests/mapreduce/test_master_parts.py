"""The master's parts by themselves: splits, locality, locations, journal, workers' turns."""

from __future__ import annotations

import asyncio
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import mapreduce_pb2 as pb
from services.files.api import FileInfo, Range
from services.mapreduce.master import checkpoint
from services.mapreduce.master.checkpoint import Failed, Journal, Over, frame, unframe
from services.mapreduce.master.locality import Locality, Near, Racks, most
from services.mapreduce.master.locations import Locations
from services.mapreduce.master.splits import TooManyMaps, plan_splits
from sim.faults import Crash, DiskFull, SyncFails
from sim.world.faults import Faults
from sim.world.simulation import Simulation

from .fakes import entries

# Splits


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(1, 200))
def test_splits_hold_every_byte_once_and_are_no_larger_than_asked_for(sizes: list[int], split: int) -> None:
    files = [FileInfo(f"f{number}", size) for number, size in enumerate(sizes)]
    splits = plan_splits(files, split)
    pieces = [piece for pieces in splits for piece in pieces]
    for file in files:
        held = sorted((p.offset, p.size) for p in pieces if p.path == file.path)
        ends = [offset + size for offset, size in held]
        assert [offset for offset, _ in held] == [0, *ends[:-1]][: len(held)]
        assert (ends[-1] if ends else 0) == file.size
    assert all(0 < sum(piece.size for piece in pieces) <= split for pieces in splits)


def test_a_large_file_is_cut_at_multiples_of_the_split_size() -> None:
    assert plan_splits([FileInfo("a", 250)], 100) == [
        (Range("a", 0, 100),),
        (Range("a", 100, 100),),
        (Range("a", 200, 50),),
    ]


def test_small_files_share_a_split_and_empty_ones_are_in_none() -> None:
    files = [FileInfo("a", 40), FileInfo("b", 0), FileInfo("c", 50), FileInfo("d", 20)]
    assert plan_splits(files, 100) == [(Range("a", 0, 40), Range("c", 0, 50)), (Range("d", 0, 20),)]


def test_compressed_files_are_one_split_each() -> None:
    files = [FileInfo("a.gz", 1000), FileInfo("b", 150), FileInfo("c.zst", 5)]
    assert plan_splits(files, 100) == [
        (Range("a.gz", 0, -1),),
        (Range("b", 0, 100),),
        (Range("b", 100, 50),),
        (Range("c.zst", 0, -1),),
    ]


def test_an_input_type_may_say_that_its_files_cannot_be_cut_or_plan_them_itself() -> None:
    assert plan_splits([FileInfo("a", 250)], 100, {"dsim.input.whole": "1"}) == [(Range("a", 0, -1),)]
    planned = {"dsim.input.splits": '[[["x", 1, 2], ["y", 0, -1]]]'}
    assert plan_splits([], 100, planned) == [(Range("x", 1, 2), Range("y", 0, -1))]


def test_a_terabyte_in_splits_of_one_byte_is_refused_before_it_is_planned() -> None:
    with pytest.raises(TooManyMaps, match="at least 2,199,024 bytes"):
        plan_splits([FileInfo("a", 1 << 40)], 1)


# Locality


def test_3_4_a_map_is_never_taken_from_far_away_while_there_is_a_nearer_one() -> None:
    """Against a search through all idle maps, over random clusters, orders and returns."""
    for seed in range(40):
        chance = random.Random(seed)
        names = [f"h{number}" for number in range(chance.randint(1, 8))]
        racks = Racks()
        hosts = [
            tuple(chance.sample(names, chance.randint(0, min(3, len(names)))))
            for _ in range(chance.randint(1, 30))
        ]
        locality = Locality(hosts, racks)
        for number, name in enumerate(names):
            if chance.random() < 0.8:
                racks.learn(name, f"rack{number % 3}")
                locality.learn(name)
        idle = dict.fromkeys(range(len(hosts)))
        gone: list[int] = []
        for _ in range(120):
            if gone and chance.random() < 0.3:
                number = gone.pop(chance.randrange(len(gone)))
                idle[number] = None
                locality.back(number)
            worker = chance.choice(names)
            unfit = {number for number in idle if chance.random() < 0.1}
            fitting = [number for number in idle if number not in unfit]
            at_most = chance.choice(list(Near))
            picked = locality.take(worker, idle, lambda number, unfit=unfit: number not in unfit, at_most)
            rack = racks.of.get(worker, "")
            best = min((distance(hosts[n], worker, rack, racks) for n in fitting), default=None)
            if picked is None:
                assert best is None or best > at_most
                continue
            number, near = picked
            assert number in fitting
            assert near == best == distance(hosts[number], worker, rack, racks)
            del idle[number]
            gone.append(number)


def distance(holders: tuple[str, ...], worker: str, rack: str, racks: Racks) -> Near:
    if worker in holders:
        return Near.HOST
    return Near.RACK if rack and any(racks.of.get(name) == rack for name in holders) else Near.ANY


def test_the_hosts_of_a_split_are_those_that_hold_most_of_it() -> None:
    assert most({"a": 10, "b": 100, "c": 60, "d": 50, "e": 55}) == ("b", "c", "e")
    assert most({}) == ()


# Locations


class Reader:
    """What a reduce task knows after the messages so far."""

    def __init__(self, locations: Locations, reduce: int):
        self.known: dict[int, tuple[str, int, int]] = {}
        self._stream = locations.follow(reduce)
        self._next: asyncio.Task[pb.Locations] | None = None

    async def read(self):
        while True:
            self._next = self._next or asyncio.ensure_future(anext(self._stream))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not self._next.done():
                return
            message, self._next = self._next.result(), None
            for number, attempt in zip(message.lost, message.lost_attempts, strict=True):
                if number in self.known and self.known[number][1] == attempt:
                    del self.known[number]
            for number, worker, attempt, size in entries(message):
                self.known[number] = (worker, attempt, size)


@pytest.mark.parametrize("seed", range(20))
def test_every_stream_knows_in_the_end_where_each_output_is(seed: int) -> None:
    async def story():
        chance = random.Random(seed)
        maps, reduces = chance.randint(1, 20), chance.randint(1, 4)
        locations = Locations(maps, reduces)
        truth: dict[int, tuple[str, int, bytes]] = {}
        readers = [(r, Reader(locations, r)) for r in range(reduces)]
        for attempt in range(80):
            number = chance.randrange(maps)
            if number in truth:
                locations.lose(number)
                del truth[number]
            else:
                sizes = chance.randbytes(reduces)
                truth[number] = (f"w{chance.randrange(3)}", attempt, sizes)
                locations.add(number, (truth[number][0], 0), attempt, sizes)
            if chance.random() < 0.3:
                locations.publish()
            if chance.random() < 0.2:
                for _, reader in readers:
                    if chance.random() < 0.7:
                        await reader.read()
            if chance.random() < 0.1:
                number = chance.randrange(reduces)
                readers.append((number, Reader(locations, number)))  # begins late, or again
        locations.publish()
        for number, reader in readers:
            await reader.read()
            assert reader.known == {m: (w, a, sizes[number]) for m, (w, a, sizes) in truth.items()}
        for number, (_, _, sizes) in truth.items():
            assert locations.sizes(number) == sizes

    asyncio.run(story())


def test_a_message_stays_far_below_grpcs_limit() -> None:
    async def story():
        locations = Locations(200_000, 1)
        for number in range(200_000):
            locations.add(number, (f"worker-number-{number % 2000}", 0), number, b"\x01")
            if number % 1000 == 0:
                locations.publish()
        locations.publish()
        seen = 0
        async for message in locations.follow(0):
            assert message.ByteSize() < 2 << 20
            maps = array("I", message.maps)
            seen += len(maps)
            if seen == 200_000:
                return

    asyncio.run(story())


def test_sizes_that_are_not_r_are_refused() -> None:
    async def story():
        with pytest.raises(ValueError, match="map 0 says the sizes of 2 regions, not of 3"):
            Locations(1, 3).add(0, ("w", 0), 1, b"ab")

    asyncio.run(story())


# Journal


def records(count: int) -> list[Failed]:
    return [Failed(f"w{number}", number) for number in range(count)]


@given(st.integers(0, 200), st.binary(max_size=20))
def test_a_torn_tail_is_dropped(cut: int, noise: bytes) -> None:
    data = b"".join(map(frame, records(8)))
    whole = len(frame(records(1)[0]))
    found = unframe(data[: min(cut, len(data))] + noise)
    assert found[: min(cut, len(data)) // whole] == records(8)[: min(cut, len(data)) // whole]
    assert unframe(data) == records(8)


@pytest.mark.parametrize("seed", range(15))
def test_what_was_said_to_be_durable_is_there_after_a_crash(seed: int) -> None:
    simulation = Simulation(seed, limit_s=120)
    faults = Faults(simulation)
    chance = random.Random(seed)
    state: list[Failed] = []
    durable = 0
    loaded: list[list[object]] = []

    async def program(host):
        nonlocal durable
        journal = Journal(host, lambda: list(state))
        found = await journal.load()
        loaded.append(found)
        state[:] = found
        writer = asyncio.create_task(journal.write())
        while True:
            for _ in range(chance.randint(1, 5)):
                state.append(Failed("w", len(state)))
                journal.append(state[-1])
            count = len(state)
            if await journal.durable():
                durable = max(durable, count)
            await asyncio.sleep(chance.uniform(0, 0.05))
            assert not writer.done()

    async def main():
        nonlocal durable
        for _ in range(6):
            await asyncio.sleep(chance.uniform(0.0, 0.4))
            if chance.random() < 0.5:
                fault = chance.choice([DiskFull(host="master"), SyncFails(host="master")])
                number = faults.inject(fault)
                await asyncio.sleep(chance.uniform(0.0, 2.5))
                faults.lift(number)
                await asyncio.sleep(chance.uniform(0.0, 1.2))
            said = durable
            faults.lift(faults.inject(Crash(host="master")))
            await asyncio.sleep(0.2)
            assert [record.incarnation for record in loaded[-1]] == list(range(len(loaded[-1])))
            assert len(loaded[-1]) >= said
            durable = len(loaded[-1])

    simulation.boot("master", program)
    simulation.run(main(), name="user")
    assert simulation.failures == []


def test_a_journal_of_jobs_long_over_is_written_anew(monkeypatch) -> None:
    monkeypatch.setattr(checkpoint, "COMPACT_BYTES", 1000)
    simulation = Simulation(0, limit_s=60)
    kept = [Over(b"the last")]

    async def main(host):
        journal = Journal(host, lambda: kept)
        writer = asyncio.create_task(journal.write())
        for number in range(200):
            journal.append(Over(b"x" * 20 + bytes([number])))
            await journal.durable()
        assert journal.bytes > 5000
        journal.compact()
        await asyncio.sleep(1.0)
        assert await journal.load() == kept
        journal.append(Over(b"later"))
        await journal.durable()
        assert await journal.load() == [*kept, Over(b"later")]
        writer.cancel()

    simulation.run(main(simulation.boot("master")), name="user")
