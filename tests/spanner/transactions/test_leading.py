"""What a leader remembers, and for how long: locks, wounds, and what was asked before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protos import spanner_pb2 as pb
from services.spanner.entries import Commit, decode
from services.spanner.errors import SpannerError
from services.spanner.schema import delete
from services.spanner.schema.key_sets import KeySet, Range
from services.spanner.tablet import Tablet
from tests.spanner.transactions.clients import request_of
from tests.spanner.transactions.groups import BASE, WIDTH, World, now_ns
from tests.spanner.transactions.test_in_doubt import prepare
from tests.spanner.transactions.test_moves import leader, put, run

S = 10**9


async def read(world: World, key: int, id: str, age: int | None = None, term: int = 0) -> int:
    """Reads a key under a lock; returns the leader's term."""
    who = pb.Transaction(id=id, age=now_ns() if age is None else age, term=term)
    request = request_of(key, pb.TransactionSelector(read_write=who))
    parts = [part async for part in leader(world, key // WIDTH).transactions.read(request)]
    return int(parts[-1].term)


def who(id: str, term: int = 0, group: int = 0) -> pb.TransactionRequest:
    return pb.TransactionRequest(group=group, transaction=pb.Transaction(id=id, age=now_ns(), term=term))


def commits(world: World, group: int, id: str) -> list[Commit]:
    entries = [decode(entry) for _, entry in world.cores[group].log]
    return [one for one in entries if isinstance(one, Commit) and one.transaction == id]


async def refused(work: Any, code: str, reason: str) -> None:
    with pytest.raises(SpannerError) as error:
        await work
    assert (error.value.code, error.value.reason) == (code, reason)


def test_who_is_not_heard_of_loses_its_locks_and_who_is_keeps_them() -> None:
    async def story(world: World) -> None:
        idle = world.settings.idle_transaction_s
        old = now_ns() - S
        term = await read(world, 5, "silent", old)
        again = await read(world, 6, "heard", old)
        for _ in range(3):
            await asyncio.sleep(idle * 0.45)
            await leader(world, 0).transactions.keep_alive(who("heard", again))
        await leader(world, 0).transactions.commit(put(world, 5))
        await refused(leader(world, 0).transactions.keep_alive(who("silent", term)), "ABORTED", "lost-locks")
        with pytest.raises(SpannerError, match="waited too long"):  # it is younger
            await leader(world, 0).transactions.commit(put(world, 6, id="other"))

    run(story)


def test_who_is_rolled_back_holds_nothing_and_commits_nothing() -> None:
    async def story(world: World) -> None:
        transactions = leader(world, 0).transactions
        term = await read(world, 5, "t", now_ns() - S)
        await transactions.rollback(who("t", term))
        async with asyncio.timeout(1):
            await transactions.commit(put(world, 5))
        late = put(world, 6, id="t")
        await refused(transactions.commit(late), "ABORTED", "")
        assert not commits(world, 0, "t")

    run(story)


def test_a_rollback_leaves_alone_what_is_prepared() -> None:
    async def story(world: World) -> None:
        transactions = leader(world, 0).transactions
        world.lose = lambda number, label: label.startswith("decide")
        await transactions.prepare(prepare(world, 5, coordinator=1))
        await transactions.rollback(who("t"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await transactions.commit(put(world, 5))
        assert "t" in leader(world, 0).tablet.prepared

    run(story)


def test_a_vote_for_what_was_rolled_back_is_answered_by_abort_at_once_and_in_the_log() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 1)
        await deciding.transactions.rollback(who("t", group=1))
        async with asyncio.timeout(world.settings.undecided_s / 3):
            await leader(world, 0).transactions.prepare(prepare(world, 5, coordinator=1))
            await leader(world, 0).transactions.commit(put(world, 5))
        decision = deciding.tablet.outcome("t")
        assert decision is not None
        assert decision.commit is None

    run(story)


def test_who_is_prepared_is_wounded_at_its_coordinator() -> None:
    """It has not decided: nobody waits for its votes until their time is over."""

    async def story(world: World) -> None:
        deciding, preparing = leader(world, 1).transactions, leader(world, 0).transactions
        commit = put(world, WIDTH + 5, id="t")
        commit.participants[:] = [0, 2]  # the other one never votes
        committing = asyncio.ensure_future(deciding.commit(commit))
        await preparing.prepare(prepare(world, 5, coordinator=1))
        async with asyncio.timeout(world.settings.prepare_s / 2):
            await preparing.commit(put(world, 5, age=BASE - S))  # older
        await refused(committing, "ABORTED", "wounded")

    run(story)


def test_who_is_wounded_while_it_waits_for_votes_commits_nothing() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0).transactions
        commit = put(world, 5, id="t")
        commit.participants[:] = [1]
        committing = asyncio.ensure_future(deciding.commit(commit))
        await asyncio.sleep(0.1)
        await read(world, 5, "older", BASE - S)
        await leader(world, 1).transactions.prepare(prepare(world, WIDTH + 5, coordinator=0))
        await refused(committing, "ABORTED", "wounded")
        assert not commits(world, 0, "t")

    run(story)


def test_who_is_wounded_while_its_commit_waits_for_the_lease_commits_nothing() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0)
        sound, lease = deciding.write, asyncio.Event()

        async def waits(*arguments: Any) -> int:
            await lease.wait()
            return await sound(*arguments)

        deciding.write = waits  # type: ignore[method-assign]
        committing = asyncio.ensure_future(deciding.transactions.commit(put(world, 5, id="t")))
        await asyncio.sleep(0.1)
        await read(world, 5, "older", BASE - S)
        lease.set()
        await refused(committing, "ABORTED", "wounded")
        assert not commits(world, 0, "t")

    run(story)


def test_the_same_commit_twice_at_once_is_done_once_and_both_are_told_after_the_wait() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0)
        request = put(world, 5)
        first = asyncio.ensure_future(deciding.transactions.commit(request))
        await asyncio.sleep(0)
        told = [asyncio.ensure_future(deciding.transactions.commit(request))]
        while deciding.tablet.outcome("put") is None:
            await asyncio.sleep(0.0001)
        third = await deciding.transactions.commit(request)  # applied, and perhaps still to be waited for
        assert deciding.truetime.after(third.commit_timestamp)
        answers = [await first, *[await one for one in told], third]
        assert len({one.commit_timestamp for one in answers}) == 1
        assert len(commits(world, 0, "put")) == 1

    run(story)


def test_a_commit_again_is_told_only_after_its_wait() -> None:
    async def story(world: World) -> None:
        world.epsilon_ns = 20_000_000
        for replica in world.cores[0].replicas:
            replica.truetime.epsilon_ns = 20_000_000
        deciding = leader(world, 0)
        first = asyncio.ensure_future(deciding.transactions.commit(put(world, 5)))
        while deciding.tablet.outcome("put") is None:
            await asyncio.sleep(0.0001)
        again = await deciding.transactions.commit(put(world, 5))
        assert deciding.truetime.after(again.commit_timestamp)
        await first

    run(story)


def test_a_commit_is_above_all_that_the_time_may_have_been_when_it_came() -> None:
    async def story(world: World) -> None:
        for number in range(5):
            deciding = leader(world, 0)
            latest = deciding.truetime.now().latest
            reply = await deciding.transactions.commit(put(world, 5, id=f"t{number}"))
            assert reply.commit_timestamp > latest

    run(story)


def test_locks_of_another_reign_are_lost_also_where_the_transaction_is_known() -> None:
    """A read that was late came to the new leader first."""

    async def story(world: World) -> None:
        term = await read(world, 5, "t", BASE)
        await read(world, 6, "t", BASE)
        late = put(world, 7, id="t")
        late.transaction.term = term + 1
        await refused(leader(world, 0).transactions.commit(late), "ABORTED", "lost-locks")

    run(story)


def undecided(world: World, key: int) -> asyncio.Future[pb.CommitReply]:
    """Has a transaction "t" hold the lock of a key while it waits for a vote that does not come."""
    commit = put(world, key, age=BASE - S, id="t")
    commit.participants[:] = [1]
    return asyncio.ensure_future(leader(world, key // WIDTH).transactions.commit(commit))


def test_who_waited_for_a_lock_reads_nothing_where_the_lease_ran_out_meanwhile() -> None:
    async def story(world: World) -> None:
        committing = undecided(world, 5)
        await asyncio.sleep(0.1)
        waits = asyncio.ensure_future(read(world, 5, "waits"))
        await asyncio.sleep(0.1)
        reign = leader(world, 0).transactions._reign
        assert reign is not None
        world.cores[0].leader = None
        reign.end(reign.transactions["t"], reign.aborted("a test ends it"))
        await refused(waits, "UNAVAILABLE", "not-leader")
        with pytest.raises(SpannerError):
            await committing

    run(story)


def test_who_is_given_up_in_the_moment_in_which_it_gets_a_lock_takes_no_other() -> None:
    async def story(world: World) -> None:
        committing = undecided(world, 5)
        await asyncio.sleep(0.1)
        transactions = leader(world, 0).transactions
        request = request_of(5, pb.TransactionSelector(read_write=pb.Transaction(id="u", age=now_ns())))
        request.ranges.append(request_of(6, request.transaction).ranges[0])

        async def reading() -> None:
            async for _ in transactions.read(request):
                pass

        waits = asyncio.ensure_future(reading())
        await asyncio.sleep(0.1)
        reign = transactions._reign
        assert reign is not None
        reign.end(reign.transactions["t"], reign.aborted("a test ends it"))
        reign.give_up(pb.Transaction(id="u"))
        await refused(waits, "ABORTED", "")
        with pytest.raises(SpannerError):
            await committing
        assert not list(reign.table.places())

    run(story)


def test_an_outcome_is_for_participants_only() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0).transactions
        commit = put(world, 5, id="t")
        commit.participants[:] = [1]
        committing = asyncio.ensure_future(deciding.commit(commit))
        await leader(world, 1).transactions.prepare(prepare(world, WIDTH + 5, coordinator=0))
        assert (await committing).commit_timestamp
        stranger = pb.DecideRequest(coordinator=0, participant=2, transaction="t", prepare_timestamp=BASE)
        assert not (await deciding.decide(stranger)).commit_timestamp
        mine = pb.DecideRequest(coordinator=0, participant=1, transaction="t", prepare_timestamp=BASE)
        assert (await deciding.decide(mine)).commit_timestamp

    run(story)


def test_a_prepare_comes_again_to_the_next_leader_who_holds_the_same_locks() -> None:
    """Of ranges, too: what is deleted is locked as a whole."""

    async def story(world: World) -> None:
        world.lose = lambda number, label: label.startswith("decide")
        request = prepare(world, 5, coordinator=1)
        del request.mutations[:]
        request.mutations.append(delete("T", KeySet(ranges=(Range((3,), (8,)),))).to_wire())
        first = await leader(world, 0).transactions.prepare(request)
        world.cores[0].depose(crash=True)
        while world.cores[0].leader is None:
            await asyncio.sleep(0.01)
        again = await leader(world, 0).transactions.prepare(request)
        assert again.prepare_timestamp == first.prepare_timestamp
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await leader(world, 0).transactions.commit(put(world, 7))
        await leader(world, 0).transactions.commit(put(world, 9, id="beside"))

    run(story)


def test_the_last_write_is_the_same_where_a_tablet_was_loaded() -> None:
    async def story(world: World) -> None:
        written = leader(world, 0)
        for key in range(5):
            await written.transactions.commit(put(world, key, id=f"t{key}"))
        loaded = Tablet()

        async def pieces() -> Any:
            for piece in written.tablet.save():
                yield piece

        await loaded.load(pieces())
        whole = [*written.tablet.owned]
        assert loaded.last_write(whole) == written.tablet.last_write(whole) > BASE

    run(story)
