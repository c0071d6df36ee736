"""What movedir and the placement driver do to a universe: the seam between their rules and the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.spanner.placement.system import MoveRow


class Piece(Struct, frozen=True):
    """Some versions of a range, as `Export` sends them and `Import` takes them.

    Attributes:
        versions: encoded.
        horizon: versions before it are collected where this comes from.
    """

    versions: bytes
    horizon: int


class Moved(Exception):
    """The range is not where the move was to take it from: it has been moved, or the move is done."""


class Control(Protocol):
    """The steps of a move, each of which may be done again."""

    async def moves(self) -> list[MoveRow]:
        """Returns what is registered."""
        ...

    async def register(self, move: MoveRow) -> None:
        """Registers a move, in one transaction that looks that all of the range is the source's.

        Raises:
            Moved: it is not.
            SpannerError: FAILED_PRECONDITION: another move is of some of the same keys.
        """
        ...

    async def record(self, move: MoveRow) -> None:
        """Writes how far the copy has come.

        Raises:
            Moved: it is not registered any more.
        """
        ...

    async def now(self) -> int:
        """Returns a timestamp that has passed everywhere, or is about to."""
        ...

    def export(self, move: MoveRow, upto: int) -> AsyncIterator[Piece]:
        """Yields the versions of the range from after `move.copied` up to a timestamp, from the source."""
        ...

    async def stage(self, move: MoveRow, piece: Piece) -> None:
        """Stages a piece at the target."""
        ...

    async def is_done(self, move: MoveRow) -> bool:
        """Says whether the range is the target's."""
        ...

    async def hand_over(self, move: MoveRow) -> None:
        """Ends a move by one transaction (2.2).

        It locks the range at the source, copies what is left of it, and has the source release it, the target
        acquire it, and the root tell so.

        Raises:
            Moved: as of `record`.
        """
        ...

    async def withdraw(self, move: MoveRow) -> None:
        """Takes a move off the register, and discards what was staged; no effect on one that is done."""
        ...
