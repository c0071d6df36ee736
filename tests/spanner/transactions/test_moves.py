"""What a leader refuses because it could not be applied, or because nobody could know whether it was done:
an entry in the log that cannot be applied would stop its group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from protos import spanner_pb2 as pb
from services.spanner.entries import Collect, Version, encode
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema import Mutation, insert_or_update
from services.spanner.spanserver.administration import Administration
from services.spanner.spanserver.server import Hosted
from services.spanner.tablet.outcomes import RETENTION
from sim import simulate
from tests.spanner.transactions.groups import SCHEMA, TABLE, WIDTH, Replica, World, now_ns

PART = KeyRange(TABLE.key([WIDTH + 10]), TABLE.key([WIDTH + 20]))  # of group 1
WIRE = pb.KeyRange(start=PART.start, end=PART.end)


def leader(world: World, group: int) -> Replica:
    found = world.cores[group].leader
    assert found is not None
    return found


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World(3)
        await asyncio.sleep(0.05)
        await story(world)

    simulate(main, seed=3)


def put(world: World, key: int, age: int | None = None, id: str = "put") -> pb.CommitRequest:
    mutation: Mutation = insert_or_update("T", ("K", "V"), [(key, "7")])
    return pb.CommitRequest(
        group=key // WIDTH,
        transaction=pb.Transaction(id=id, age=now_ns() if age is None else age),
        mutations=[mutation.to_wire()],
        schema_version=SCHEMA.version,
    )


def acquire(id: str = "take", move: str = "m") -> pb.CommitRequest:
    ownership = pb.Ownership(acquired=[WIRE], move=move)
    return pb.CommitRequest(group=0, transaction=pb.Transaction(id=id, age=now_ns()), ownership=ownership)


async def release(world: World) -> int:
    ownership = pb.Ownership(released=[WIRE])
    request = pb.CommitRequest(
        group=1, transaction=pb.Transaction(id="release", age=now_ns()), ownership=ownership
    )
    return (await leader(world, 1).transactions.commit(request)).commit_timestamp


def piece(timestamp: int, horizon: int = 0, move: str = "m") -> pb.ImportRequest:
    version = Version(TABLE.key([WIDTH + 11]), timestamp, b"row")
    return pb.ImportRequest(
        group=0, move=move, range=WIRE, versions=msgspec.msgpack.encode((version,)), horizon=horizon
    )


def test_a_copy_says_down_to_when_it_can_be_read() -> None:
    async def story(world: World) -> None:
        taking = leader(world, 0)
        was = now_ns()
        await taking.transactions.stage(piece(was - 10, horizon=was - 20))
        await taking.transactions.commit(acquire())
        taking.tablet.check((PART,), was - 20)
        with pytest.raises(SpannerError) as refused:
            taking.tablet.check((PART,), was - 21)
        assert refused.value.code == "OUT_OF_RANGE"

    run(story)


def test_what_is_acquired_is_above_all_versions_that_came_with_it() -> None:
    """The source's leader may have the later clock."""

    async def story(world: World) -> None:
        ahead = now_ns() + 30_000_000
        taking = leader(world, 0)
        await taking.transactions.stage(piece(ahead))
        reply = await taking.transactions.commit(acquire())
        assert reply.commit_timestamp > ahead
        assert taking.tablet.owns(PART)

    run(story)


@pytest.mark.parametrize("meanwhile", ["discarded", "another piece"])
def test_what_is_staged_does_not_change_under_who_acquires_it(meanwhile: str) -> None:
    """Both are under way at once: the range is acquired with its copy, or not at all."""

    async def story(world: World) -> None:
        taking = leader(world, 0)
        for round_ in range(20):
            move = f"m{round_}"
            await taking.transactions.stage(piece(now_ns(), move=move))
            other = (
                pb.ImportRequest(group=0, move=move, discard=True)
                if meanwhile == "discarded"
                else piece(now_ns(), move=f"other{round_}")
            )
            ends = await asyncio.gather(
                taking.transactions.stage(other),
                taking.transactions.commit(acquire(f"take{round_}", move)),
                return_exceptions=True,
            )
            assert all(end is None or isinstance(end, (SpannerError, pb.CommitReply)) for end in ends)
            if taking.tablet.owns(PART):
                assert taking.tablet.rows == 1
                return
            assert isinstance(ends[1], SpannerError)

    run(story)


def test_a_schema_change_below_a_later_one_is_refused_and_not_logged() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0)
        future = now_ns() + 10**10
        change = pb.CommitRequest(
            group=0, transaction=pb.Transaction(id="s", age=now_ns()), schema=SCHEMA.encode(), at=future
        )
        commit = asyncio.create_task(deciding.transactions.commit(change))
        await asyncio.sleep(0.5)
        change.transaction.id = "t"
        for at in (future, future - 1):
            change.at = at
            change.transaction.id += "t"
            logged = len(world.cores[0].log)
            with pytest.raises(SpannerError):
                async with asyncio.timeout(20):
                    await deciding.transactions.commit(change)
            assert len(world.cores[0].log) == logged
        await commit
        await deciding.transactions.commit(put(world, 5))  # the group goes on

    run(story)


def change(group: int, at: int, **more: Any) -> Any:
    """Returns a group's part of a schema change at a timestamp: a commit, or with `coordinator` a prepare."""
    kind = pb.PrepareRequest if "coordinator" in more else pb.CommitRequest
    return kind(
        group=group, transaction=pb.Transaction(id="s", age=now_ns()), schema=SCHEMA.encode(), at=at, **more
    )


def test_a_schema_change_far_ahead_of_several_groups_holds_nobody_up_until_then() -> None:
    """Its commit took a timestamp as late as the change in the coordinator's log, which no lease reached."""

    async def story(world: World) -> None:
        at = now_ns() + 15 * 10**9
        preparing, deciding = leader(world, 1).transactions, leader(world, 0).transactions
        both = asyncio.gather(
            deciding.commit(change(0, at, participants=[1])), preparing.prepare(change(1, at, coordinator=0))
        )
        await asyncio.sleep(0.5)
        began = now_ns()
        assert (await deciding.commit(put(world, 5))).commit_timestamp < began + 10**9
        async with asyncio.timeout(30):
            committed, _ = await both
        assert committed.commit_timestamp == at
        await asyncio.sleep(0.5)
        assert [core.leader.tablet.schemas[-1][0] for core in world.cores if core.leader] == [at, at]

    run(story)


def test_a_vote_for_a_time_that_no_lease_reaches_aborts() -> None:
    """The commit failed where nobody saw it, and whoever had prepared was in doubt for ever."""

    async def story(world: World) -> None:
        deciding = leader(world, 0).transactions
        request = put(world, 5)
        request.participants[:] = [1]
        committing = asyncio.ensure_future(deciding.commit(request))
        vote = pb.DecideRequest(transaction="put", coordinator=0, participant=1, prepare_timestamp=1 << 62)
        async with asyncio.timeout(5):
            assert not (await deciding.decide(vote)).commit_timestamp
            with pytest.raises(SpannerError, match="no lease reaches"):
                await committing

    run(story)


def test_a_commit_that_comes_again_when_its_outcome_is_forgotten_is_not_done_again() -> None:
    async def story(world: World) -> None:
        deciding = leader(world, 0)
        request = put(world, 5)
        first = await deciding.transactions.commit(request)
        again = await deciding.transactions.commit(request)
        assert again.commit_timestamp == first.commit_timestamp
        await asyncio.sleep(RETENTION / 1e9 + 1)
        await deciding.write(lambda _: encode(Collect(first.commit_timestamp)))
        written = len(world.cores[0].log)
        with pytest.raises(SpannerError) as refused:
            await deciding.transactions.commit(request)
        assert refused.value.code == "FAILED_PRECONDITION"  # not ABORTED: it would be run once more
        assert len(world.cores[0].log) == written

    run(story)


class Server:
    """As much of a spanserver as copies need."""

    def __init__(self, replica: Replica) -> None:
        self.truetime = replica.truetime
        self._hosted = Hosted(replica, replica.tablet, replica.transactions)  # type: ignore[arg-type]

    def hosted(self, group: int) -> Hosted:
        return self._hosted


def test_a_copy_of_what_changed_is_refused_where_marks_of_deletion_may_be_missing() -> None:
    async def story(world: World) -> None:
        source = leader(world, 1)
        administration = Administration(Server(source))  # type: ignore[arg-type]
        first = (await source.transactions.commit(put(world, WIDTH + 11))).commit_timestamp
        horizon = (await source.transactions.commit(put(world, WIDTH + 12, id="b"))).commit_timestamp
        await source.write(lambda _: encode(Collect(horizon)))

        async def export(after: int) -> list[pb.Versions]:
            request = pb.ExportRequest(group=1, range=WIRE, after=after)
            return [part async for part in administration.export(request)]

        assert (await export(0))[-1].horizon == horizon
        assert (await export(horizon))[-1].horizon == horizon
        with pytest.raises(SpannerError) as refused:
            await export(first)
        assert refused.value.code == "OUT_OF_RANGE"

    run(story)


def test_a_copy_of_a_copy_tells_the_first_ones_horizon() -> None:
    async def story(world: World) -> None:
        taking = leader(world, 0)
        was = now_ns()
        await taking.transactions.stage(piece(was - 10, horizon=was - 20))
        await taking.transactions.commit(acquire())
        administration = Administration(Server(taking))  # type: ignore[arg-type]
        parts = [part async for part in administration.export(pb.ExportRequest(group=0, range=WIRE))]
        assert parts[-1].horizon == was - 20

    run(story)
