"""Movedir's rules on groups in memory: nothing is lost, whatever step fails, and wherever a driver dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.control import Moved, Piece
from services.spanner.placement.movedir import Pace, move, resume
from services.spanner.placement.system import MoveRow

WANTED = MoveRow("m1", KeyRange(b"a", b"b"), 1, 2)
PACE = Pace(little=0, rounds=4, again=0.0, attempts=3)


class Died(Exception):
    """The driver, at some step."""


class Groups:
    """A source and a target in memory, written to meanwhile; fails or dies at a step that is told."""

    def __init__(self, fail: int = -1, die: int = -1, after: bool = False) -> None:
        self.clock = 10
        self.owner = 1
        self.source = {at: b"v%d" % at for at in range(1, 10)}
        self.target: dict[int, bytes] = {}
        self.register_: dict[str, MoveRow] = {}
        self.steps = 0
        self.fail, self.die, self.after = fail, die, after
        self.withdrawn = False

    def _step(self, done: bool) -> None:
        """Counts a step, and fails before it is done or after."""
        if not done:
            self.steps += 1
        if done != self.after:
            return
        if self.steps == self.die:
            self.die = -1
            raise Died
        if self.steps == self.fail:
            self.fail = -1
            raise SpannerError("UNAVAILABLE", "no answer")

    def _write(self) -> None:
        """Somebody writes, where the range is."""
        self.clock += 1
        if self.clock < 20:
            (self.source if self.owner == 1 else self.target)[self.clock] = b"v%d" % self.clock

    async def register(self, wanted: MoveRow) -> None:
        self._step(False)
        if self.owner != wanted.source:
            raise Moved
        self.register_.setdefault(wanted.name, wanted)
        self._step(True)

    async def record(self, move: MoveRow) -> None:
        self._step(False)
        if move.name not in self.register_:
            raise Moved
        self.register_[move.name] = move
        self._step(True)

    async def now(self) -> int:
        self._write()
        return self.clock

    async def export(self, move: MoveRow, upto: int) -> AsyncIterator[Piece]:
        self._step(False)
        for at in list(self.source):
            self._write()
            if move.copied < at <= upto:
                yield Piece(b"%d" % at, 0)
        self._step(True)

    async def stage(self, move: MoveRow, piece: Piece) -> None:
        self._step(False)
        at = int(piece.versions)
        self.target[at] = self.source[at]
        self._step(True)

    async def is_done(self, move: MoveRow) -> bool:
        return self.owner == move.target

    async def hand_over(self, move: MoveRow) -> None:
        self._step(False)
        if move.name not in self.register_:
            raise Moved
        for at, value in self.source.items():
            if at > self.register_[move.name].copied:
                self.target[at] = value
        self.owner = 2
        del self.register_[move.name]
        self._step(True)

    async def withdraw(self, move: MoveRow) -> None:
        self.withdrawn = True
        if self.register_.pop(move.name, None) is not None:
            self.target.clear()

    async def moves(self) -> list[MoveRow]:
        return list(self.register_.values())


def whole(groups: Groups) -> bool:
    return (
        groups.owner == 2
        and groups.target == {at: b"v%d" % at for at in [*groups.source, *groups.target]}
        and (set(groups.source) <= set(groups.target))
    )


STEPS = 60


def test_a_range_is_moved_with_all_that_was_written_meanwhile() -> None:
    groups = Groups()
    assert asyncio.run(move(groups, WANTED, PACE))
    assert whole(groups)
    assert not groups.register_
    assert max(groups.target) > 10
    assert groups.steps < STEPS


@pytest.mark.parametrize("after", [False, True])
def test_any_step_may_fail_once_before_it_is_done_or_after(after: bool) -> None:
    failed = 0
    for step in range(1, STEPS):
        groups = Groups(fail=step, after=after)
        assert asyncio.run(move(groups, WANTED, PACE))
        assert whole(groups)
        failed += groups.fail == -1
    assert failed > 10


@pytest.mark.parametrize("after", [False, True])
def test_another_driver_goes_on_where_one_died(after: bool) -> None:
    died = 0
    for step in range(1, STEPS):
        groups = Groups(die=step, after=after)
        try:
            asyncio.run(move(groups, WANTED, PACE))
        except Died:
            died += 1
            for registered in asyncio.run(groups.moves()):
                assert asyncio.run(resume(groups, registered, PACE))
        if groups.owner == 1:  # it died before it had registered anything
            assert asyncio.run(move(groups, WANTED, PACE))
        assert whole(groups)
    assert died > 10


def test_what_is_somebody_elses_is_not_moved() -> None:
    groups = Groups()
    assert not asyncio.run(move(groups, replace(WANTED, source=3), PACE))
    assert groups.steps == 1


def test_a_move_that_cannot_be_is_withdrawn_and_says_why() -> None:
    class Deaf(Groups):
        async def stage(self, move: MoveRow, piece: Piece) -> None:
            raise SpannerError("UNAVAILABLE", "the target does not answer")

    groups = Deaf()
    with pytest.raises(SpannerError, match="the target does not answer"):
        asyncio.run(move(groups, WANTED, PACE))
    assert groups.withdrawn
    assert groups.owner == 1
    assert not groups.register_
