"""Movedir (2.2): moves a range from a group to another while traffic runs.

Register; copy in the background, with old versions, again and again what came since the last time, until
that is little; then one transaction over the source, the target and the root takes the rest and changes whose
the range is. The register says how far the copy has come, so another driver goes on where one has died: at
worst it copies again what was staged already, which changes nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from services.spanner.errors import SpannerError
from services.spanner.placement.control import Moved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.spanner.placement.control import Control
    from services.spanner.placement.system import MoveRow

T = TypeVar("T")


class Pace(Struct, frozen=True):
    """How movedir goes about it.

    Attributes:
        little: bytes: a copy that found no more than this is followed by the last step.
        rounds: copies after which the last step comes anyway: the range is written faster than it is copied.
        rest: seconds between two pieces of the copy; the traffic has the time in between.
        again: seconds after which a step that was refused is tried again.
        attempts: of a step, before the move is withdrawn.
    """

    little: int = 64 << 10
    rounds: int = 8
    rest: float = 0.0
    again: float = 0.2
    attempts: int = 30


USUAL = Pace()


async def move(control: Control, wanted: MoveRow, pace: Pace = USUAL) -> bool:
    """Moves a range, from the beginning.

    Returns:
        Whether it was moved; False: it was not the source's (any more).

    Raises:
        SpannerError: it could not be moved in so many attempts; it is where it was.
    """
    try:
        await _insist(partial(control.register, wanted), pace)
    except Moved:
        return False
    return await resume(control, wanted, pace)


async def resume(control: Control, registered: MoveRow, pace: Pace = USUAL) -> bool:
    """Goes on with a move from where the register says that it is; otherwise as `move`."""
    here = registered
    try:
        for _ in range(pace.rounds):
            here, size = await _insist(partial(_copy, control, here, pace), pace)
            if size <= pace.little:
                break
        await _insist(partial(control.hand_over, here), pace)
    except Moved:
        return await _insist(partial(control.is_done, here), pace)
    except SpannerError:
        await control.withdraw(here)
        raise
    return True


async def _copy(control: Control, here: MoveRow, pace: Pace) -> tuple[MoveRow, int]:
    """Copies what came since the last time, and records it; returns how far, and how many bytes that was."""
    upto = await control.now()
    size = 0
    async for piece in control.export(here, upto):
        size += len(piece.versions)
        await control.stage(here, piece)
        if pace.rest:
            await asyncio.sleep(pace.rest)
    further = replace(here, copied=upto)
    await control.record(further)
    return further, size


async def _insist(step: Callable[[], Awaitable[T]], pace: Pace) -> T:
    """Does a step until it is not refused; every step may be done again."""
    for attempt in range(1, pace.attempts + 1):
        try:
            return await step()
        except SpannerError:
            if attempt == pace.attempts:
                raise
            await asyncio.sleep(pace.again)
    raise AssertionError("there is at least one attempt")
