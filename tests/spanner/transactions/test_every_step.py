"""A commit of two groups, with one thing going wrong at one of its steps: all of them, one after the
other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from services.spanner.errors import SpannerError
from sim import simulate
from tests.spanner.transactions.clients import Client, Unknown
from tests.spanner.transactions.groups import WIDTH, World
from tests.spanner.transactions.storms import settled

AFTER = 6
"""Steps that come after the client has its answer: the participant hears of it, and logs it."""


def one_commit(seed: int, harm: Callable[[World], None], blind: bool) -> tuple[str, World]:
    """Commits a transaction of two groups while something goes wrong; returns how it ended for the client."""

    async def main() -> tuple[str, World]:
        world = World(seed)
        await asyncio.sleep(0.05)
        client = Client(world, "c")
        world.points.clear()
        world.messages.clear()
        harm(world)
        attempt = client.attempt()
        ended = "not asked for"
        values = {1: [7], WIDTH + 1: [8]}
        try:
            if not blind:
                for key in values:
                    assert await attempt.read(key) == []
            ended = "unknown"
            await attempt.commit(values, coordinator=0)
            ended = "ok"
        except Unknown:
            pass
        except SpannerError as error:
            if error.code != "UNAVAILABLE":
                ended = error.code
            attempt.give_up()
        world.asked = len(world.points), len(world.messages)
        world.at_point = lambda number, label: None
        world.lose = lambda number, label: False
        # Undecided ones are decided: nothing but the coordinator's group is needed for it, and that has a
        # leader.
        wrong = await settled(world, within=5.0)
        seen = [await _last(Client(world, f"r{key}"), key) for key in values]
        assert not wrong, (wrong, world.points)
        both = [seen[0][:1] == [7], seen[1][:1] == [8]]
        assert both[0] == both[1], f"half of it: {seen}, after {ended}"
        if ended == "ok":
            assert both[0], "acknowledged, and lost"
        if ended == "ABORTED":
            assert not both[0], "refused, and done"
        return ended, world

    return simulate(main, seed=seed, interleave=True)


async def _last(client: Client, key: int) -> list[int]:
    attempt = client.attempt()
    value = await attempt.read(key)
    attempt.give_up()
    return value


def at(step: int, act: Callable[[World], object]) -> Callable[[World], None]:
    """Has something done at a step."""

    def prepare(world: World) -> None:
        def look(number: int, label: str) -> None:
            if number == step:
                act(world)

        world.at_point = look

    return prepare


def steps(blind: bool) -> tuple[int, int]:
    """Returns how many steps, and messages, a commit has; those after its answer are counted too."""
    ended, world = one_commit(0, lambda world: None, blind)
    assert ended == "ok"
    return world.asked[0] + AFTER, world.asked[1] + AFTER


@pytest.mark.parametrize("blind", [False, True], ids=["read before", "blind"])
@pytest.mark.parametrize("group", [0, 1], ids=["coordinator", "participant"])
@pytest.mark.parametrize("crash", [True, False], ids=["crashes", "is deposed"])
def test_whenever_a_leader_goes_both_groups_agree_and_decide(blind: bool, group: int, crash: bool) -> None:
    ends = set()
    for step in range(steps(blind)[0]):
        for seed in range(3):
            ended, _ = one_commit(seed, at(step, lambda world: world.cores[group].depose(crash)), blind)
            ends.add(ended)
    assert ends >= {"ok"}
    assert "unknown" not in ends, "its client always gets to know the outcome"
    assert blind or "ABORTED" in ends


@pytest.mark.parametrize("blind", [False, True], ids=["read before", "blind"])
def test_whichever_leaders_crash_together_both_groups_agree_and_decide(blind: bool) -> None:
    def both(world: World) -> None:
        for core in world.cores:
            core.depose(crash=True)

    ends = {
        one_commit(seed, at(step, both), blind)[0] for step in range(steps(blind)[0]) for seed in range(2)
    }
    assert "ok" in ends
    assert "unknown" not in ends


@pytest.mark.parametrize("blind", [False, True], ids=["read before", "blind"])
def test_whichever_message_is_lost_both_groups_agree_and_decide(blind: bool) -> None:
    ends = set()
    for lost in range(steps(blind)[1]):
        for seed in range(3):

            def lose(world: World, lost: int = lost) -> None:
                world.lose = lambda number, label: number == lost

            ends.add(one_commit(seed, lose, blind)[0])
    # Messages are sent again, and to the same leader: all that is lost is time.
    assert ends == {"ok"}


def test_a_lost_message_and_a_crash_leave_no_half_transaction() -> None:
    for step in range(4, 20):
        for lost in range(4, 12):

            def harm(world: World, step: int = step, lost: int = lost) -> None:
                at(step, lambda world: world.cores[step % 2].depose(crash=True))(world)
                world.lose = lambda number, label: number == lost

            one_commit(step + lost, harm, blind=False)
