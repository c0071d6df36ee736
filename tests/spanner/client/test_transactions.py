"""Transactions of the client: what is sent to whom, what is run again, what is refused."""

from __future__ import annotations

import asyncio

import pytest

from services.spanner.client import ALL, OutcomeUnknown, SpannerError, connect, keys
from sim.faults import Crash, Pause
from tests.spanner.client.rig import COLUMNS, Rig, cut


async def deposit(database, *accounts, amount=100):
    async with database.batch() as batch:
        batch.insert("Accounts", COLUMNS, [(one, amount) for one in accounts])
    return batch.commit_timestamp


async def balances(database, *accounts):
    rows = await database.snapshot().read("Accounts", COLUMNS, keys(*([one] for one in accounts)))
    return dict(rows)


async def transfer(transaction, source, target, amount):
    rows = dict(await transaction.read("Accounts", COLUMNS, keys([source], [target])))
    transaction.update(
        "Accounts", COLUMNS, [(source, rows[source] - amount), (target, rows[target] + amount)]
    )
    return rows


def test_a_transaction_of_one_group_is_one_commit_at_its_leader():
    async def story(rig, database):
        await deposit(database, 1, 2)
        rig.one.asked.clear()
        read = await database.run_in_transaction(transfer, 1, 2, 30)
        assert read == {1: 100, 2: 100}
        assert await balances(database, 1, 2) == {1: 70, 2: 130}
        assert rig.one.asked == [("s1", "read"), ("s1", "commit"), ("s1", "strong read")]
        assert rig.two.asked == []

    Rig().run(story)


def test_a_transaction_of_two_groups_prepares_at_one_and_commits_at_the_other():
    async def story(rig, database):
        await deposit(database, 1, 200)
        rig.one.asked.clear(), rig.two.asked.clear()
        await database.run_in_transaction(transfer, 1, 200, 30)
        assert rig.one.asked == [("s1", "read"), ("s1", "commit")]
        assert rig.two.asked == [("s2", "read"), ("s2", "prepare")]
        assert await balances(database, 1, 200) == {1: 70, 200: 130}

    Rig().run(story)


def test_reads_do_not_see_the_transactions_own_writes():
    async def story(rig, database):
        await deposit(database, 1)
        async with await database.transaction() as transaction:
            transaction.update("Accounts", COLUMNS, [(1, 5)])
            assert await transaction.read("Accounts", COLUMNS, keys([1])) == [(1, 100)]
        assert await balances(database, 1) == {1: 5}

    Rig().run(story)


def test_an_aborted_transaction_is_run_again_with_its_age_and_another_id():
    seen = []

    async def work(transaction):
        seen.append((transaction.id, transaction.age))
        await transaction.read("Accounts", COLUMNS, keys([1]))
        transaction.update("Accounts", COLUMNS, [(1, len(seen))])

    async def story(rig, database):
        await deposit(database, 1)
        rig.one.refusals = [SpannerError("ABORTED", "wounded", "wounded", retry_s=0.01) for _ in range(2)]
        await database.run_in_transaction(work)
        assert len(seen) == len(dict(seen)) == 3
        assert len({age for _, age in seen}) == 1
        assert await balances(database, 1) == {1: 3}

    Rig().run(story)


def test_a_refusal_for_good_is_told_and_nothing_is_committed():
    async def story(rig, database):
        await deposit(database, 1, 200)
        for accounts in ([2, 1], [2, 200], [1, 201]):
            with pytest.raises(SpannerError, match="ALREADY_EXISTS"):
                await deposit(database, *accounts)
        assert await balances(database, 2, 201) == {}

    Rig().run(story)


def test_a_failure_of_the_work_rolls_back():
    async def work(transaction):
        await transaction.read("Accounts", COLUMNS, ALL)
        transaction.insert("Accounts", COLUMNS, [(1, 1)])
        raise KeyError("mine")

    async def story(rig, database):
        with pytest.raises(KeyError):
            await database.run_in_transaction(work)
        await asyncio.sleep(0.1)
        assert ("s1", "rollback") in rig.one.asked
        assert ("s2", "rollback") in rig.two.asked
        assert await balances(database, 1) == {}

    Rig().run(story)


def test_who_runs_out_of_time_gives_its_locks_up():
    async def work(transaction):
        await transaction.read("Accounts", COLUMNS, ALL)
        await asyncio.sleep(2.0)
        await transaction.read("Accounts", COLUMNS, ALL)

    async def story(rig, database):
        await deposit(database, 1)
        async with connect(rig.main, ["location"], timeout=1.0) as impatient:
            with pytest.raises(SpannerError, match="in time"):
                await impatient.run_in_transaction(work)
            await asyncio.sleep(0.1)
            assert ("s1", "rollback") in rig.one.asked
            assert ("s2", "rollback") in rig.two.asked

    Rig().run(story)


def test_who_asks_again_after_the_outcome_is_forgotten_is_told_that_nobody_knows():
    async def story(rig, database):
        await deposit(database, 1, 2)
        forgotten = SpannerError("FAILED_PRECONDITION", "it began too long ago", "forgotten")
        rig.one.refusals = [SpannerError("UNAVAILABLE", "the answer is lost"), forgotten]
        with pytest.raises(OutcomeUnknown, match="too long ago"):
            await deposit(database, 3)
        rig.one.refusals = [forgotten]  # nobody had asked before
        with pytest.raises(SpannerError, match="too long ago") as refused:
            await deposit(database, 3)
        assert not isinstance(refused.value, OutcomeUnknown)

    Rig().run(story)


def test_a_lost_answer_never_commits_twice():
    async def story(rig, database):
        await deposit(database, 1, 2)
        rig.one.lost = 2
        await database.run_in_transaction(transfer, 1, 2, 30)
        assert await balances(database, 1, 2) == {1: 70, 2: 130}

    Rig().run(story)


def test_who_gets_no_answer_in_time_is_told_that_nobody_knows():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.delay = 50.0
        async with connect(rig.main, ["location"], timeout=2.0) as impatient:
            with pytest.raises(OutcomeUnknown):
                await deposit(impatient, 2)

    Rig().run(story)


def test_a_transaction_that_is_over_cannot_be_used():
    async def story(rig, database):
        await deposit(database, 1)
        transaction = await database.transaction()
        await transaction.commit()
        with pytest.raises(SpannerError, match="is over: it is committed"):
            await transaction.read("Accounts", COLUMNS, keys([1]))
        with pytest.raises(SpannerError, match="is over"):
            transaction.insert("Accounts", COLUMNS, [(1, 1)])
        with pytest.raises(SpannerError, match="is over"):
            await transaction.commit()
        batch = database.batch()
        batch.insert("Accounts", COLUMNS, [(5, 1)])
        await batch.commit()
        with pytest.raises(SpannerError, match="was committed"):
            await batch.commit()

    Rig().run(story)


def test_the_leader_is_found_by_hints_and_remembered():
    async def story(rig, database):
        rig.one.leader = "s3"
        await deposit(database, 1)
        assert [server for server, what in rig.one.asked if what == "commit"][-1] == "s3"
        rig.one.asked.clear()
        await deposit(database, 2)
        assert rig.one.asked == [("s3", "commit")]

    Rig().run(story)


def test_a_leader_that_comes_late_is_soon_found():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.leader = "nobody"
        waiting = asyncio.ensure_future(deposit(database, 2))
        await asyncio.sleep(10.0)
        rig.one.leader = "s3"
        began = asyncio.get_running_loop().time()
        await waiting
        assert asyncio.get_running_loop().time() - began < 0.5
        tries = sum(what == "commit" for _, what in rig.one.asked)
        assert tries < 200, "nobody is asked without a pause"

    for seed in range(5):
        Rig(seed=seed).run(story)


def test_who_waits_for_a_leader_together_asks_together():
    async def story(rig, database):
        await deposit(database, 1)
        rig.one.leader = "nobody"
        waiting = [asyncio.ensure_future(deposit(database, 2 + number)) for number in range(50)]
        await asyncio.sleep(5.0)
        tries = sum(what == "commit" for _, what in rig.one.asked)
        assert tries < 300, "one goes round, the others wait"
        rig.one.leader = "s3"
        async with asyncio.timeout(1.0):
            await asyncio.gather(*waiting)

    Rig().run(story)


@pytest.mark.parametrize("fault", [Crash(host="s1"), Pause(host="s1")])
def test_another_leader_is_found_when_a_server_says_nothing(fault):
    async def story(rig, database):
        await deposit(database, 1)
        rig.faults.inject(fault)
        rig.one.leader = "s2"
        began = asyncio.get_running_loop().time()
        await deposit(database, 2)
        assert asyncio.get_running_loop().time() - began < 3.0
        assert await balances(database, 1, 2) == {1: 100, 2: 100}

    Rig().run(story)


def test_locks_lost_with_their_leader_abort():
    seen = []

    async def work(transaction, rig):
        seen.append(transaction.id)
        rows = dict(await transaction.read("Accounts", COLUMNS, keys([1])))
        if len(seen) == 1:
            rig.one.leader, rig.one.term = "s2", 2
        transaction.update("Accounts", COLUMNS, [(1, rows[1] + 1)])

    async def story(rig, database):
        await deposit(database, 1)
        await database.run_in_transaction(work, rig)
        assert len(seen) == 2
        assert await balances(database, 1) == {1: 101}

    Rig().run(story)


def test_what_has_moved_is_found_again():
    async def story(rig, database):
        await deposit(database, 1, 50)
        moved = rig.one.owned[0].meet(rig.one.owned[0]).__class__(cut(50), cut(100))
        rig.one.owned = [rig.one.owned[0].__class__(b"", cut(50))]
        rig.two.owned = [moved.__class__(cut(50), rig.two.owned[0].end)]
        rig.two.rows.update({key: rig.one.rows.pop(key) for key in list(rig.one.rows) if key in moved})
        await database.run_in_transaction(transfer, 1, 50, 10)
        await deposit(database, 51)
        rows = await database.snapshot().read("Accounts", COLUMNS, ALL)
        assert rows == [(1, 90), (50, 110), (51, 100)]
        assert rig.universe.location.asked == 2

    Rig().run(story)


def test_a_newer_schema_is_fetched():
    async def story(rig, database):
        from services.spanner.schema import AddColumn, ColumnSpec, apply_change

        await deposit(database, 1)
        rig.universe.schema = apply_change(
            rig.universe.schema, AddColumn("Accounts", ColumnSpec("Owner", "STRING(MAX)"))
        )
        assert await balances(database, 1) == {1: 100}
        async with database.batch() as batch:
            batch.update("Accounts", ("Id", "Owner"), [(1, "ann")])
        assert await database.snapshot().read("Accounts", ("Owner",), keys([1])) == [("ann",)]

    Rig().run(story)


def test_a_table_or_column_that_is_not_there_is_named():
    async def story(rig, database):
        with pytest.raises(SpannerError, match="Table not found: Nothing"):
            await database.snapshot().read("Nothing", COLUMNS, ALL)
        with pytest.raises(SpannerError, match="Column not found in table Accounts: Name"):
            async with database.batch() as batch:
                batch.insert("Accounts", ("Id", "Name"), [(1, 2)])

    Rig().run(story)


def test_an_open_transaction_says_that_it_is_there():
    async def story(rig, database):
        await deposit(database, 1)
        async with await database.transaction() as transaction:
            await transaction.read("Accounts", COLUMNS, keys([1]))
            await asyncio.sleep(10.0)
        assert 2 <= rig.one.asked.count(("s1", "keep alive")) <= 8
        rig.one.asked.clear()
        await asyncio.sleep(10.0)
        assert rig.one.asked == []

    Rig().run(story)


def test_calls_made_at_once_travel_together():
    async def story(rig, database):
        await deposit(database, 1)
        await asyncio.gather(*(deposit(database, number) for number in range(10, 60)))
        assert len(await database.snapshot().read("Accounts", COLUMNS, ALL)) == 51

    for seed in range(3):
        Rig(seed=seed, interleave=True).run(story)
