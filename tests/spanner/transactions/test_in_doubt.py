"""What is prepared is decided: also where the group that was to decide is none, or has gone."""

from __future__ import annotations

import asyncio

import pytest

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from tests.spanner.transactions.groups import SCHEMA, World, now_ns
from tests.spanner.transactions.test_moves import leader, put, run


def prepare(world: World, key: int, coordinator: int) -> pb.PrepareRequest:
    commit = put(world, key)
    return pb.PrepareRequest(
        group=commit.group,
        transaction=pb.Transaction(id="t", age=now_ns()),
        mutations=commit.mutations,
        schema_version=SCHEMA.version,
        coordinator=coordinator,
    )


def test_a_prepare_that_names_a_coordinator_that_is_not_there_is_refused_and_holds_nothing() -> None:
    async def story(world: World) -> None:
        preparing = leader(world, 0)
        logged = len(world.cores[0].log)
        with pytest.raises(SpannerError, match="there is no group 7"):
            await preparing.transactions.prepare(prepare(world, 5, coordinator=7))
        assert len(world.cores[0].log) == logged
        await preparing.transactions.commit(put(world, 5))

    run(story)


def test_a_coordinator_that_never_hears_of_the_commit_aborts() -> None:
    async def story(world: World) -> None:
        preparing = leader(world, 0)
        await preparing.transactions.prepare(prepare(world, 5, coordinator=1))
        async with asyncio.timeout(5):
            await preparing.transactions.commit(put(world, 5))  # waits for its lock
        decision = preparing.tablet.outcome("t")
        assert decision is not None
        assert decision.commit is None

    run(story)


def test_what_a_group_that_went_has_not_decided_is_aborted() -> None:
    """Groups go only when nobody is left that may ask for an outcome: so there was none."""

    async def story(world: World) -> None:
        preparing = leader(world, 0)
        going = world.cores[1]
        world.lose = lambda number, label: label.startswith("decide")
        await preparing.transactions.prepare(prepare(world, 5, coordinator=1))
        world.cores.remove(going)
        async with asyncio.timeout(5):
            await preparing.transactions.commit(put(world, 5))
        decision = preparing.tablet.outcome("t")
        assert decision is not None
        assert decision.commit is None

    run(story)
