"""Reads without locks, by hand: which timestamp is chosen, what is waited for, what is refused.

Time, t_Paxos_safe and who leads are what the test says; nothing here sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from protos import spanner_pb2 as pb
from services.spanner.entries import Collect, Commit, Effects, Entry, Outcome, Prepare
from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader
from services.spanner.keys import EVERYTHING, KeyRange, only
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, KeySet, Schema, apply_change, keys
from services.spanner.tablet import Tablet
from services.spanner.transactions import pages, read_only
from services.spanner.truetime import Interval
from services.spanner.truetime.interval import Unsynchronized

OLD = apply_change(
    EMPTY, CreateTable("T", (ColumnSpec("K", "INT64"), ColumnSpec("V", "STRING(MAX)")), ("K",))
)
SCHEMA = apply_change(OLD, CreateTable("U", (ColumnSpec("K", "INT64"),), ("K",)))
T = SCHEMA.table("T")
EPSILON = 100
ALL = KeySet(all=True)


class Time:
    """A TrueTime that says what it is told."""

    def __init__(self) -> None:
        self.time: int | None = 10_000
        self.waits: dict[asyncio.Future[None], int] = {}

    @property
    def last(self) -> Interval | None:
        return None if self.time is None else self.now()

    def now(self) -> Interval:
        if self.time is None:
            raise Unsynchronized
        return Interval(self.time - EPSILON, self.time + EPSILON)

    def after(self, t: int) -> bool:
        return self.time is not None and t < self.now().earliest

    def before(self, t: int) -> bool:
        return self.time is not None and t > self.now().latest

    async def until_after(self, t: int) -> bool:
        waited = False
        while not self.after(t):
            waited = True
            wait = asyncio.get_running_loop().create_future()
            self.waits[wait] = t
            await wait
        return waited

    def go(self, to: int) -> None:
        self.time = to
        for wait in [wait for wait, t in self.waits.items() if self.after(t)]:
            del self.waits[wait]
            wait.set_result(None)


class Replica:
    """A replica of a group that owns everything, and its Paxos (`group.Group`, as far as reads go)."""

    def __init__(self) -> None:
        self.truetime = Time()
        self.tablet = Tablet()
        self.leader, self.term = "here", 1
        self.paxos_safe_now = 0
        self.asked: list[int] = []
        self._waits: dict[asyncio.Future[None], int] = {}
        self.index = 0
        self.lapses = 0
        self.commit(1_000, acquired=(EVERYTHING,), schema=SCHEMA.encode())

    async def lead(self, now: Interval | None = None) -> int:
        if not self.term:
            raise NotLeader(self.leader)
        if self.lapses:
            self.lapses -= 1
            self.term += 1
            return self.term - 1
        return self.term

    async def paxos_safe(self, t: int) -> None:
        self.asked.append(t)
        while self.paxos_safe_now < t:
            wait = asyncio.get_running_loop().create_future()
            self._waits[wait] = t
            await wait

    def safe(self, t: int) -> None:
        self.paxos_safe_now = t
        for wait in [wait for wait, wanted in self._waits.items() if wanted <= t]:
            del self._waits[wait]
            wait.set_result(None)

    def apply(self, timestamp: int, entry: Entry) -> None:
        self.index += 1
        self.tablet.apply(self.index, timestamp, entry)
        self.paxos_safe_now = max(self.paxos_safe_now, timestamp)

    def commit(self, timestamp: int, **effects: Any) -> None:
        self.apply(timestamp, Commit(f"c{timestamp}", timestamp, Effects(**effects)))

    def put(self, timestamp: int, *numbers: int, value: str = "v") -> None:
        self.commit(timestamp, writes=tuple((T.key([n]), row(value)) for n in numbers))

    def prepare(self, timestamp: int, number: int) -> None:
        effects = Effects(((T.key([number]), row("prepared")),))
        self.apply(timestamp, Prepare("p", 1, timestamp, effects, (), 9))


def row(value: str) -> bytes:
    return T.row({T.column("V").number: value})


def request(key_set: KeySet = ALL, *, table: str = "T", version: int = SCHEMA.version, **fields: Any) -> Any:
    bound = {
        name: fields.pop(name) for name in list(fields) if name in pb.TimestampBound.DESCRIPTOR.fields_by_name
    }
    schema: Schema = SCHEMA
    return pb.ReadRequest(
        transaction=pb.TransactionSelector(read_only=pb.TimestampBound(**(bound or {"strong": True}))),
        table=table,
        columns=["K", "V"][: 2 if table == "T" else 1],
        ranges=[pb.KeyRange(start=one.start, end=one.end) for one in schema.table(table).ranges(key_set)],
        schema_version=version,
        **fields,
    )


def one(*numbers: int) -> KeySet:
    return keys(*([number] for number in numbers))


async def parts(replica: Replica, wanted: pb.ReadRequest) -> list[pb.PartialResultSet]:
    return [part async for part in read_only.read(replica, replica.tablet, wanted)]  # type: ignore[arg-type]


async def values(replica: Replica, wanted: pb.ReadRequest) -> tuple[int, list[Any]]:
    """Returns the timestamp and the rows."""
    found = await parts(replica, wanted)
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
    assert len({part.read_timestamp for part in found}) == 1
    return found[0].read_timestamp, [row for part in found for row in msgspec.msgpack.decode(part.rows)]


async def waiting(work: Awaitable[Any]) -> asyncio.Task[Any]:
    """Returns a read that goes as far as it can."""

    async def run() -> Any:
        return await work

    task = asyncio.ensure_future(run())
    for _ in range(10):
        await asyncio.sleep(0)
    return task


def story(test: Callable[[Replica], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def begin() -> None:
            await test(Replica())

        asyncio.run(begin())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def refused(replica: Replica, wanted: pb.ReadRequest) -> tuple[str, str]:
    with pytest.raises(SpannerError) as caught:
        await parts(replica, wanted)
    return caught.value.code, caught.value.reason


@story
async def test_a_strong_read_takes_the_last_write_of_what_it_reads(replica: Replica) -> None:
    """LastTS() by ranges (4.2.4): no wait, and no promise is asked of Paxos."""
    replica.put(2_000, 1)
    replica.put(3_000, 2)
    assert await values(replica, request(one(1))) == (2_000, [[1, "v"]])
    assert await values(replica, request()) == (3_000, [[1, "v"], [2, "v"]])
    assert await values(replica, request(one(7))) == (1_000, [])
    assert replica.asked == []


@story
async def test_a_strong_read_beside_a_prepared_transaction_takes_now(replica: Replica) -> None:
    replica.put(2_000, 1, 2)
    replica.prepare(3_000, 1)
    assert await values(replica, request(one(2))) == (2_000, [[2, "v"]])
    read = await waiting(values(replica, request(one(1))))
    replica.safe(20_000)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not read.done()
    replica.apply(20_500, Outcome("p", 4_000))
    assert await read == (10_000 + EPSILON, [[1, "prepared"]])


@story
async def test_a_strong_read_waits_until_what_it_sees_has_committed(replica: Replica) -> None:
    """4.1.2: an entry may be applied while its commit wait goes on."""
    replica.put(9_950, 1)
    read = await waiting(values(replica, request(one(1))))
    assert not read.done()
    assert await values(replica, request(one(2))) == (1_000, [])
    replica.truetime.go(9_950 + EPSILON + 1)
    assert await read == (9_950, [[1, "v"]])


@story
async def test_a_strong_read_is_for_the_leader_while_its_lease_holds(replica: Replica) -> None:
    replica.lapses = 3
    assert (await values(replica, request(one(1))))[0] == 1_000
    assert replica.lapses == 0
    replica.term, replica.leader = 0, "there"
    with pytest.raises(SpannerError) as caught:
        await parts(replica, request())
    assert (caught.value.code, caught.value.reason, caught.value.hint) == (
        "UNAVAILABLE",
        "not-leader",
        "there",
    )


@story
async def test_the_timestamp_of_a_strong_read_of_several_groups_is_now(replica: Replica) -> None:
    """4.2.2: TT.now().latest, of any replica; it does not wait."""
    replica.term = 0
    (part,) = await parts(replica, request(only_timestamp=True))
    assert (part.read_timestamp, part.rows, part.last) == (10_000 + EPSILON, b"", True)


@story
async def test_a_read_at_a_timestamp_waits_for_both_halves_of_t_safe(replica: Replica) -> None:
    replica.term = 0
    replica.put(2_000, 1)
    assert await values(replica, request(read_timestamp=1_999)) == (1_999, [])
    assert await values(replica, request(read_timestamp=2_000)) == (2_000, [[1, "v"]])
    read = await waiting(values(replica, request(read_timestamp=5_000)))
    assert replica.asked == [5_000]
    replica.prepare(4_000, 1)
    replica.safe(5_000)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not read.done()
    assert (await values(replica, request(one(2), read_timestamp=5_000)))[1] == []
    assert await values(replica, request(read_timestamp=3_999)) == (3_999, [[1, "v"]])
    replica.apply(5_500, Outcome("p", None))
    assert await read == (5_000, [[1, "v"]])


@story
async def test_a_read_in_the_future_waits_before_it_asks_for_a_promise(replica: Replica) -> None:
    read = await waiting(values(replica, request(read_timestamp=50_000)))
    assert replica.asked == []
    replica.truetime.go(50_000 + EPSILON + 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert replica.asked == [50_000]
    replica.safe(50_000)
    assert (await read)[0] == 50_000


@story
async def test_ages_count_from_the_latest_that_it_may_be(replica: Replica) -> None:
    """Invariant 18: what is read is never older than the bound."""
    replica.safe(60_000)
    assert (await values(replica, request(exact_staleness=3_000)))[0] == 10_000 + EPSILON - 3_000
    assert (await values(replica, request(max_staleness=9_000)))[0] == 10_000 - EPSILON - 1
    replica.paxos_safe_now = 4_000
    assert (await values(replica, request(max_staleness=9_000)))[0] == 4_000
    assert (await values(replica, request(min_read_timestamp=3_500)))[0] == 4_000
    read = await waiting(values(replica, request(max_staleness=1_000)))
    assert replica.asked[-1] == 10_000 + EPSILON - 1_000
    replica.safe(9_500)
    assert (await read)[0] == 10_000 + EPSILON - 1_000


@story
async def test_bounded_staleness_stays_below_what_is_prepared(replica: Replica) -> None:
    replica.put(2_000, 1, 2)
    replica.prepare(3_000, 1)
    replica.safe(8_000)
    assert (await values(replica, request(min_read_timestamp=2_500)))[0] == 2_999
    assert (await values(replica, request(one(2), min_read_timestamp=2_500)))[0] == 8_000


@story
async def test_a_read_goes_on_at_another_replica_where_it_stopped(replica: Replica) -> None:
    """4.1.4: (timestamp, position); after any part, and what was written since does not show."""
    other = Replica()
    for each in (replica, other):
        each.put(2_000, *range(3_000), value="x" * 90)
        each.put(3_000, 5, 2_990, value="later")
    wanted = request(read_timestamp=2_500)
    found = await parts(replica, wanted)
    assert len(found) > 2
    assert all(len(part.rows) < pages.PAGE + 1_000 for part in found)
    rows = [msgspec.msgpack.decode(part.rows) for part in found]
    assert [key for part in rows for key, _ in part] == list(range(3_000))
    assert all(list(part.timestamps) == [2_000] * len(read) for part, read in zip(found, rows, strict=True))
    for place, part in enumerate(found):
        rest = request(strong=True, resume_token=part.resume_token)
        expected = [values for later in rows[place + 1 :] for values in later]
        assert await values(other, rest) == (2_500, expected)


@story
async def test_limits_count_what_is_left(replica: Replica) -> None:
    replica.put(2_000, *range(100))
    (first,) = await parts(replica, request(one(*range(0, 100, 3)), limit=4))
    assert [key for key, _ in msgspec.msgpack.decode(first.rows)] == [0, 3, 6, 9]
    rest = request(one(*range(0, 100, 3)), limit=2, resume_token=first.resume_token)
    assert [key for key, _ in (await values(replica, rest))[1]] == [12, 15]


@story
async def test_reads_of_collected_versions_are_refused_also_midway(replica: Replica) -> None:
    """Invariant 19."""
    replica.put(2_000, *range(3_000), value="x" * 90)
    replica.put(4_000, 1)
    reading = read_only.read(replica, replica.tablet, request(read_timestamp=3_000))  # type: ignore[arg-type]
    await anext(reading)
    replica.apply(5_000, Collect(4_500))
    with pytest.raises(SpannerError) as caught:
        await anext(reading)
    assert caught.value.code == "OUT_OF_RANGE"
    assert await refused(replica, request(read_timestamp=4_499)) == ("OUT_OF_RANGE", "")
    assert (await values(replica, request(one(1), read_timestamp=4_500)))[1] == [[1, "v"]]


@story
async def test_a_range_that_moved_is_read_elsewhere_from_then_on(replica: Replica) -> None:
    replica.put(2_000, 1)
    replica.commit(3_000, released=(only(T.key([1])),))
    replica.safe(9_000)
    assert await refused(replica, request(one(1))) == ("UNAVAILABLE", "moved")
    assert await refused(replica, request(read_timestamp=3_000)) == ("UNAVAILABLE", "moved")
    assert (await values(replica, request(read_timestamp=2_999)))[1] == [[1, "v"]]
    assert (await values(replica, request(one(2))))[1] == []


@story
async def test_a_read_goes_by_the_schema_of_its_timestamp(replica: Replica) -> None:
    """Invariant 15."""
    replica.put(2_000, 1)
    newer = apply_change(SCHEMA, CreateTable("W", (ColumnSpec("K", "INT64"),), ("K",)))
    replica.commit(3_000, schema=newer.encode())
    replica.safe(9_000)
    assert await refused(replica, request()) == ("UNAVAILABLE", "schema")
    assert (await values(replica, request(read_timestamp=2_999)))[1] == [[1, "v"]]
    assert (await values(replica, request(version=newer.version))) == (3_000, [[1, "v"]])
    assert (await values(replica, request(version=newer.version, read_timestamp=2_500)))[1] == [[1, "v"]]
    missing = request(version=newer.version, read_timestamp=2_500)
    missing.table = "W"
    assert (await refused(replica, missing))[0] == "NOT_FOUND"
    strange = request(version=newer.version)
    strange.ranges.append(pb.KeyRange(start=b"\x01", end=b"\xff"))
    assert (await refused(replica, strange))[0] == "FAILED_PRECONDITION"


@story
async def test_hosts_without_time_refuse(replica: Replica) -> None:
    replica.truetime.time = None
    for wanted in (request(), request(read_timestamp=2_000), request(max_staleness=1)):
        assert await refused(replica, wanted) == ("UNAVAILABLE", "no-time")


@pytest.mark.parametrize("token", [b"x", b"\x92\x01", b"\x92\xffA", b"\x93\x01\xc4\x01a\x01"])
def test_tokens_that_are_none_are_refused(token: bytes) -> None:
    @story
    async def read(replica: Replica) -> None:
        assert (await refused(replica, request(resume_token=token)))[0] == "INVALID_ARGUMENT"

    read()


@story
async def test_a_read_that_was_served_holds_later_entries_above_it(replica: Replica) -> None:
    """Invariant 11: what Paxos promised is held against it."""
    replica.safe(5_000)
    await values(replica, request(read_timestamp=5_000))
    with pytest.raises(AssertionError, match="after a read"):
        replica.put(5_000, 1)


@story
async def test_a_cancelled_read_leaves_nothing_that_breaks(replica: Replica) -> None:
    replica.prepare(3_000, 1)
    replica.safe(6_000)
    read = await waiting(values(replica, request(read_timestamp=4_000)))
    read.cancel()
    await asyncio.gather(read, return_exceptions=True)
    replica.apply(7_000, Outcome("p", 3_500))
    assert (await values(replica, request(read_timestamp=4_000)))[1] == [[1, "prepared"]]
    assert replica.tablet.blocking((KeyRange(b"", b"\xff"),), 9_000) == []
