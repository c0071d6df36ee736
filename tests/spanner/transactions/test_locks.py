"""The lock table: who holds what, who waits, who is wounded; against the plain definition of it."""

from __future__ import annotations

import asyncio
import random
import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.spanner.keys import KeyRange, only
from services.spanner.transactions.locks import Holder, LockTable
from services.spanner.transactions.overlaps import Overlaps

keys = st.binary(min_size=0, max_size=2).map(lambda key: bytes(byte % 4 for byte in key))
ranges = st.one_of(
    keys.map(only),
    st.tuples(keys, keys)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: KeyRange(min(pair), max(pair))),
)


@given(st.lists(st.tuples(st.booleans(), ranges), max_size=40), st.lists(ranges, max_size=5))
def test_ranges_are_found_by_overlap(steps: list[tuple[bool, KeyRange]], asked: list[KeyRange]) -> None:
    index: Overlaps[KeyRange] = Overlaps()
    there: set[KeyRange] = set()
    for add, within in steps:
        if add and within not in there:
            index.put(within, within)
            there.add(within)
        elif not add and within in there:
            index.remove(within)
            there.remove(within)
    for within in [*asked, *there]:
        assert index.get(within) == (within if within in there else None)
        found = index.overlapping(within)
        assert len(found) == len(set(found))
        assert set(found) == {one for one in there if one.overlaps(within)}
    assert sorted(index) == sorted(there)
    assert len(index) == len(there)
    for within in there:
        index.remove(within)
    assert not index._cuts and not index._keys


class Table:
    """A lock table whose wounded holders are aborted at once, unless they are prepared."""

    def __init__(self) -> None:
        self.table = LockTable(self._wound)
        self.holders: list[Holder] = []
        self.prepared: set[Holder] = set()
        self.wounded: list[Holder] = []

    def holder(self, age: int) -> Holder:
        one = Holder(age, str(len(self.holders)))
        self.holders.append(one)
        return one

    def _wound(self, victim: Holder, by: Holder) -> None:
        assert victim.order > by.order
        self.wounded.append(victim)
        if victim not in self.prepared:
            self.table.release(victim)

    def check(self) -> None:
        """What must hold at any time."""
        held = [(one, within, its) for one in self.holders for within, its in one.locks.items()]
        for one, within, its in held:
            for other, elsewhere, others in held:
                if one is not other and (its or others):
                    assert not within.overlaps(elsewhere), "conflicting locks are held together"
        for one in self.holders:
            for request in one.requests:
                within = request.place.range
                older = younger = False
                for other, elsewhere, others in held:
                    if other is not one and (request.exclusive or others) and within.overlaps(elsewhere):
                        if other.order > one.order:
                            assert other in self.prepared, "waits for a younger one that is not prepared"
                            younger = True
                        else:
                            older = True
                for other in self.holders:
                    for ahead in other.requests:
                        conflict = request.exclusive or ahead.exclusive
                        if conflict and within.overlaps(ahead.place.range) and other.order < one.order:
                            older = True
                assert older or younger, "waits for nobody"


class Schedule:
    """A random run of transactions over a table."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.table = Table()

    def a_range(self) -> KeyRange:
        first, second = sorted(self.rng.sample(range(8), 2))
        if self.rng.random() < 0.7:
            return only(bytes([first]))
        return KeyRange(bytes([first]), bytes([second]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
@example(185577)  # one transaction waits for a row twice, to write and to read it
def test_whatever_is_asked_conflicting_locks_are_never_held_together_and_nobody_waits_for_nothing(
    seed: int,
) -> None:
    async def main() -> None:
        schedule = Schedule(seed)
        rng, table = schedule.rng, schedule.table
        for _ in range(60):
            pick = rng.random()
            open_ = [one for one in table.holders if one not in table.prepared]
            if pick < 0.2 or not open_:
                table.holder(rng.randrange(20))
            elif pick < 0.8:
                one = rng.choice(open_)
                table.table.acquire(one, schedule.a_range(), rng.random() < 0.5)
            elif pick < 0.85:
                one = rng.choice(open_)
                if not one.requests:
                    table.prepared.add(one)
            elif pick < 0.9 and any(one.requests for one in open_):
                one = rng.choice([one for one in open_ if one.requests])
                table.table.withdraw(rng.choice(one.requests))
            else:
                one = rng.choice(table.holders)
                table.prepared.discard(one)
                table.table.release(one)
            table.check()
        for one in table.holders:
            table.table.release(one)
        assert not list(table.table.places())

    asyncio.run(main())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_no_schedule_ends_in_a_deadlock_and_everybody_finishes(seed: int) -> None:
    """Each transaction takes locks in its own order, gives them up when wounded, and begins again with
    its age."""

    async def main() -> None:
        schedule = Schedule(seed)
        rng, table = schedule.rng, schedule.table
        wants = [
            [(schedule.a_range(), rng.random() < 0.6) for _ in range(rng.randrange(1, 5))] for _ in range(8)
        ]
        done = [False] * len(wants)
        tries = [0] * len(wants)

        async def one(number: int) -> None:
            while not done[number]:
                tries[number] += 1
                holder = table.holder(number)
                await _transaction(holder, wants[number])
                done[number] = holder in table.prepared
                table.prepared.discard(holder)
                table.table.release(holder)
                await asyncio.sleep(0)

        async def _transaction(holder: Holder, locks: list[tuple[KeyRange, bool]]) -> None:
            for within, exclusive in locks:
                request = table.table.acquire(holder, within, exclusive)
                if request is not None and not await request.granted:
                    return
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
                if within not in holder.locks:
                    return  # wounded
            table.prepared.add(holder)
            await asyncio.sleep(0)

        async with asyncio.timeout(5):
            await asyncio.gather(*(one(number) for number in range(len(wants))))
        assert tries[0] == 1, "the oldest is never wounded"

    asyncio.run(main())


def run(story: object) -> None:
    asyncio.run(story())  # type: ignore[operator]


def test_readers_share_and_a_younger_writer_waits_for_them() -> None:
    async def story() -> None:
        table = Table()
        old, middle, young = table.holder(1), table.holder(2), table.holder(3)
        row = only(b"k")
        assert table.table.acquire(old, row, False) is None
        assert table.table.acquire(middle, row, False) is None
        waiting = table.table.acquire(young, row, True)
        assert waiting is not None
        table.table.release(old)
        assert not waiting.granted.done()
        table.table.release(middle)
        assert await waiting.granted
        assert young.locks == {row: True}

    run(story)


def test_an_older_one_wounds_younger_holders_but_not_prepared_ones() -> None:
    async def story() -> None:
        table = Table()
        old, young, prepared = table.holder(1), table.holder(2), table.holder(3)
        table.prepared.add(prepared)
        assert table.table.acquire(young, only(b"a"), True) is None
        assert table.table.acquire(prepared, only(b"b"), False) is None
        request = table.table.acquire(old, KeyRange(b"a", b"z"), True)
        assert request is not None
        assert table.wounded == [young, prepared]
        assert not young.locks
        table.table.release(prepared)
        assert await request.granted

    run(story)


def test_the_older_of_two_that_read_a_row_gets_to_write_it() -> None:
    async def story() -> None:
        table = Table()
        old, young = table.holder(1), table.holder(2)
        row = only(b"k")
        assert table.table.acquire(old, row, False) is None
        assert table.table.acquire(young, row, False) is None
        upgrade = table.table.acquire(young, row, True)
        assert upgrade is not None
        assert table.table.acquire(old, row, True) is None
        assert table.wounded == [young]
        assert not await upgrade.granted
        assert old.locks == {row: True}

    run(story)


def test_a_stream_of_readers_does_not_starve_an_older_writer() -> None:
    async def story() -> None:
        table = Table()
        writer = table.holder(5)
        row = only(b"k")
        reader = table.holder(1)
        assert table.table.acquire(reader, row, False) is None
        waiting = table.table.acquire(writer, row, True)
        assert waiting is not None
        younger = table.table.acquire(table.holder(6), row, False)
        assert younger is not None, "it comes behind the writer, though only readers hold the row"
        table.table.release(reader)
        assert await waiting.granted
        assert not younger.granted.done()

    run(story)


def test_who_stops_waiting_lets_those_behind_pass() -> None:
    async def story() -> None:
        table = Table()
        row = only(b"k")
        reader, writer, other = table.holder(1), table.holder(2), table.holder(3)
        table.table.acquire(reader, row, False)
        waiting = table.table.acquire(writer, row, True)
        behind = table.table.acquire(other, row, False)
        assert waiting is not None and behind is not None
        table.table.withdraw(waiting)
        assert await behind.granted

    run(story)


def test_a_lock_on_one_row_among_thousands_costs_little_more_than_among_few() -> None:
    def cost(rows: int) -> float:
        table = Table()
        for number in range(rows):
            table.table.acquire(table.holder(1), only(b"%06d" % number), True)
            start = b"r%06d" % number
            table.table.acquire(table.holder(1), KeyRange(start, start + b"~"), False)
        one = table.holder(2)
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for number in range(200):
                table.table.acquire(one, only(b"%06d~" % (number * (rows // 200))), True)
            best = min(best, time.perf_counter() - began)
            table.table.release(one)
        return best

    few, many = cost(200), cost(8000)
    assert many < 5 * few, (few, many)
