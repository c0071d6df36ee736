"""What was copied here of ranges that are being moved (2.2): unseen until the group acquires them.

A move whose copy has a hole would lose rows. So a move ends for good when another one copies some of the
same keys, when a piece of it cannot be, or when it is discarded: late pieces of it change nothing, and what
is not staged is not acquired. Whoever wants the range begins again, under another name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.tablet.errors import demand
from services.spanner.tablet.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.spanner.entries import Import
    from services.spanner.keys import KeyRange

REMEMBERED = 1024  # moves that have ended


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
        ended: names of those that have ended, the latest last.
    """

    def __init__(self, ended: Iterable[str] = ()) -> None:
        self.moves: dict[str, Staged] = {}
        self.ended = dict.fromkeys(ended)

    def add(self, piece: Import) -> None:
        """Takes a piece; pieces may come again."""
        if piece.move in self.ended:
            return
        staged = self.moves.get(piece.move)
        if staged is None:
            for name in [name for name, other in self.moves.items() if other.range.overlaps(piece.range)]:
                self.end(name)
            staged = self.moves[piece.move] = Staged(piece.range)
        fits = staged.range == piece.range and all(
            version.key in piece.range and staged.versions.insert(version) for version in piece.versions
        )
        if not fits:
            self.end(piece.move)
        elif piece.horizon is not None:
            staged.floor = max(staged.floor or 0, piece.horizon)

    def end(self, move: str) -> None:
        """Ends a move, also one that is not known: what is staged for it goes."""
        self.moves.pop(move, None)
        self.ended.pop(move, None)
        self.ended[move] = None
        if len(self.ended) > REMEMBERED:
            del self.ended[next(iter(self.ended))]

    def take(self, within: KeyRange) -> Staged | None:
        """Ends the move of a range that is acquired, and returns its copy; None where there is none.

        Raises:
            Contradiction: what is moved there is another range.
        """
        for name, staged in self.moves.items():
            if staged.range.overlaps(within):
                demand(staged.range == within, f"{name} moves {staged.range}, and {within} is acquired")
                self.end(name)
                return staged
        return None
