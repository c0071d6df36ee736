"""What was copied here of ranges that are being moved (2.2): unseen until the group acquires them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.tablet.errors import demand
from services.spanner.tablet.versions import Versions

if TYPE_CHECKING:
    from services.spanner.entries import Import
    from services.spanner.keys import KeyRange


class Staged:
    """The copy that a move has made so far.

    Attributes:
        range: what is moved.
        versions: what came.
        floor: reads below it were refused where it came from; None as long as nobody said.
    """

    def __init__(self, within: KeyRange) -> None:
        self.range = within
        self.versions = Versions()
        self.floor: int | None = None


class Staging:
    """The moves to here that are under way; no two of the same key.

    Attributes:
        moves: by name.
    """

    def __init__(self) -> None:
        self.moves: dict[str, Staged] = {}

    def add(self, piece: Import) -> None:
        """Takes a piece; pieces may come again. Another move of the same keys ends the earlier one."""
        for version in piece.versions:
            demand(version.key in piece.range, f"{piece.move} brings {version.key!r}, outside {piece.range}")
        staged = self.moves.get(piece.move)
        if staged is None or staged.range != piece.range:
            self.moves = {
                name: other
                for name, other in self.moves.items()
                if name != piece.move and not other.range.overlaps(piece.range)
            }
            staged = self.moves[piece.move] = Staged(piece.range)
        for version in piece.versions:
            staged.versions.insert(version)
        if piece.horizon is not None:
            staged.floor = max(staged.floor or 0, piece.horizon)

    def discard(self, move: str) -> None:
        """Drops a move; no effect where it is not known."""
        self.moves.pop(move, None)

    def take(self, within: KeyRange) -> Staged | None:
        """Takes the copy of a range out; None where there is none.

        Raises:
            Contradiction: what is moved there is another range.
        """
        for name, staged in self.moves.items():
            if staged.range.overlaps(within):
                demand(staged.range == within, f"{name} moves {staged.range}, and {within} is acquired")
                return self.moves.pop(name)
        return None
