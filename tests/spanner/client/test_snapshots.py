"""Snapshots of the client: bounds, replicas, going on elsewhere."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from services.spanner.client import ALL, Range, SpannerError, beginning, connect, keys
from services.spanner.client.bounds import Bound, bound
from services.spanner.client.locations import Locations
from services.spanner.keys import END, FIRST, KeyRange
from services.spanner.schema import KeySet
from sim.faults import Crash, Partition
from tests.spanner.client.rig import COLUMNS, Rig, cut
from tests.spanner.client.test_transactions import deposit


def test_the_bounds_are_those_of_cloud_spanner():
    second = datetime.timedelta(seconds=1)
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert bound() == bound(strong=True) == Bound("strong")
    assert bound(exact_staleness=second) == Bound("exact_staleness", 10**9)
    assert bound(max_staleness=5) == Bound("max_staleness", 5)
    assert bound(read_timestamp=moment) == Bound("read_timestamp", 1767225600 * 10**9)
    assert bound(min_read_timestamp=7) == Bound("min_read_timestamp", 7)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"strong": True, "max_staleness": 1}, "one timestamp bound, not strong and max_staleness"),
        ({"read_timestamp": 1, "exact_staleness": 1}, "one timestamp bound"),
        ({"exact_staleness": -1}, "must be from 0"),
        ({"max_staleness": datetime.timedelta(seconds=-1)}, "must be from 0"),
        ({"read_timestamp": 0}, "must be from 1"),
        ({"read_timestamp": 1 << 63}, "must be from 1"),
        ({"read_timestamp": datetime.datetime(2026, 1, 1)}, "needs a time zone"),
        ({"read_timestamp": datetime.timedelta(1)}, "is a moment"),
        ({"max_staleness": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, "is a duration"),
        ({"max_staleness": True}, "must be nanoseconds"),
        ({"max_staleness": 1.5}, "must be nanoseconds"),
        ({"max_staleness": 1, "multi_use": True}, "for a single read"),
        ({"min_read_timestamp": 1, "multi_use": True}, "for a single read"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(how, why):
    async def story(rig, database):
        with pytest.raises(SpannerError, match=why) as caught:
            database.snapshot(**how)
        assert caught.value.code == "INVALID_ARGUMENT"

    Rig().run(story)


def test_a_strong_read_of_one_group_is_answered_by_its_leader():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.asked.clear()
        snapshot = database.snapshot()
        assert await snapshot.read("Accounts", COLUMNS, keys([1])) == [(1, 100)]
        assert rig.one.asked == [("s1", "strong read")]
        assert snapshot.timestamp == rig.universe.clock

    Rig().run(story, zone="z3")


def test_a_strong_read_of_two_groups_takes_one_timestamp_and_the_near_replicas():
    async def story(rig, database):
        written = await deposit(database, 1, 200)
        rig.one.asked.clear(), rig.two.asked.clear()
        snapshot = database.snapshot()
        assert await snapshot.read_stamped("Accounts", COLUMNS, ALL) == [
            ((1, 100), written),
            ((200, 100), written),
        ]
        assert rig.one.asked == [("s3", "strong"), ("s3", "read_timestamp")]
        assert rig.two.asked == [("s3", "read_timestamp")]

    Rig().run(story, zone="z3")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_strong_read_of_what_one_group_had_and_two_have_by_now_sees_what_either_has_committed(streamed):
    """Swarm, seed 593: it took LastTS() of the first group, and missed what the other had committed."""

    async def story(rig, database):
        await deposit(database, 1, 50)
        there = KeyRange(cut(50), cut(100))
        rig.one.owned = [KeyRange(FIRST, cut(50))]
        rig.two.owned = [KeyRange(cut(50), END)]
        rig.two.rows.update({key: rig.one.rows.pop(key) for key in list(rig.one.rows) if key in there})
        async with connect(rig.main, ["location"]) as other, other.batch() as batch:
            batch.update("Accounts", COLUMNS, [(50, 7)])  # in group 2, above all that group 1 has
        snapshot = database.snapshot()
        both = keys([1], [50])
        if streamed:
            rows = [row async for row in snapshot.stream("Accounts", COLUMNS, both)]
        else:
            rows = await snapshot.read("Accounts", COLUMNS, both)
        assert rows == [(1, 100), (50, 7)]

    Rig().run(story)


def test_stale_reads_of_one_group_are_answered_by_the_nearest_replica():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.asked.clear()
        for how in ({"max_staleness": 5}, {"exact_staleness": 5}, {"min_read_timestamp": 7}):
            await database.snapshot(**how).read("Accounts", COLUMNS, keys([1]))
        assert rig.one.asked == [
            ("s3", "max_staleness"),
            ("s3", "exact_staleness"),
            ("s3", "min_read_timestamp"),
        ]

    Rig().run(story, zone="z3")


def test_a_bounded_stale_read_of_two_groups_has_one_timestamp_which_both_have():
    async def story(rig, database):
        await deposit(database, 1, 200)
        snapshot = database.snapshot(max_staleness=100)
        await snapshot.read("Accounts", COLUMNS, ALL)
        assert snapshot.timestamp == rig.universe.clock - 2

    Rig().run(story)


def test_reads_of_a_snapshot_see_one_moment():
    async def story(rig, database):
        await deposit(database, 1, 200)
        snapshot = database.snapshot(multi_use=True)
        before = await snapshot.read("Accounts", COLUMNS, ALL)
        await deposit(database, 2, 201)
        assert await snapshot.read("Accounts", COLUMNS, ALL) == before
        assert (
            await database.snapshot(read_timestamp=snapshot.timestamp).read("Accounts", COLUMNS, ALL)
            == before
        )
        assert len(await database.snapshot().read("Accounts", COLUMNS, ALL)) == 4

    Rig().run(story)


def test_a_single_use_snapshot_is_used_once():
    async def story(rig, database):
        snapshot = database.snapshot()
        await snapshot.read("Accounts", COLUMNS, ALL)
        with pytest.raises(SpannerError, match="for a single read"):
            await snapshot.read("Accounts", COLUMNS, ALL)

    Rig().run(story)


def test_key_sets_and_limits():
    async def story(rig, database):
        await deposit(database, *range(95, 105))

        async def ids(key_set, limit=0):
            rows = await database.snapshot().read("Accounts", ("Id",), key_set, limit=limit)
            return [one for (one,) in rows]

        assert await ids(ALL) == list(range(95, 105))
        assert await ids(ALL, 7) == list(range(95, 102))
        assert await ids(keys([103], [96], [500])) == [96, 103]
        assert await ids(KeySet(ranges=(Range((98,), (101,)),))) == [98, 99, 100]
        assert await ids(beginning(99)) == [99]
        assert await ids(KeySet()) == []
        found = []
        async for (one,) in database.snapshot().stream("Accounts", ("Id",), ALL, limit=8):
            found.append(one)
        assert found == list(range(95, 103))

    Rig().run(story)


@pytest.mark.parametrize("how", ["crash", "partition"])
def test_a_read_goes_on_at_another_replica_where_it_was(how):
    async def story(rig, database):
        await deposit(database, *range(20))
        await database.snapshot(exact_staleness=0).read("Accounts", COLUMNS, keys([1]))
        rig.universe.paused["s3"] = asyncio.Event()  # it answers with one part, and stops
        found = []

        async def hurt():
            await asyncio.sleep(0.05)
            rig.faults.inject(Crash(host="s3") if how == "crash" else Partition(groups=[["s3"], ["main"]]))

        task = asyncio.ensure_future(hurt())
        snapshot = database.snapshot(exact_staleness=0)
        async for (one,) in snapshot.stream("Accounts", ("Id",), ALL):
            found.append(one)
        await task
        assert found == list(range(20))
        stamps = {what for _, what in rig.one.asked if what == "read_timestamp"}
        assert stamps == {"read_timestamp"}

    Rig().run(story, zone="z3")


def test_a_replica_that_lags_is_left_for_another():
    async def story(rig, database):
        await deposit(database, *range(20))
        rig.universe.paused["s3"] = asyncio.Event()
        rows = await database.snapshot(exact_staleness=0).read("Accounts", ("Id",), ALL)
        assert [one for (one,) in rows] == list(range(20))

    Rig().run(story, zone="z3")


def test_a_replica_that_does_not_know_the_time_is_left_for_another():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.refusals = [SpannerError("UNAVAILABLE", "no time", "no-time")]
        assert await database.snapshot(exact_staleness=0).read("Accounts", COLUMNS, keys([1])) == [(1, 100)]

    Rig().run(story)


def test_a_deadline_is_kept():
    async def story(rig, database):
        rig.one.delay = 100.0
        began = asyncio.get_running_loop().time()
        with pytest.raises(SpannerError, match="DEADLINE_EXCEEDED"):
            await database.snapshot(timeout=2.0).read("Accounts", COLUMNS, keys([1]))
        assert 1.9 < asyncio.get_running_loop().time() - began < 2.1

    Rig().run(story)


def test_ranges_are_cut_where_groups_begin():
    rig = Rig()
    locations = Locations(rig.main, ["location"])

    async def story():
        await locations.known(10.0)

    rig.simulation.run(story(), name="main")
    table = rig.universe.schema.table("Accounts")
    pieces = locations.split(table.ranges(ALL))
    assert [group for group, _ in pieces] == [1, 2]
    assert pieces[0][1][0].end == pieces[1][1][0].start
    assert [group for group, _ in locations.split(table.ranges(keys([1], [2], [150], [160])))] == [1, 2]
