"""Checks of what servers say in the trace, where clients cannot hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.trace import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent


class Noted:
    """Some server has written a note of this kind.

    Args:
        name: of the check.
        note: name of the note.
        field: of the note, whose text is told in the verdict.
    """

    def __init__(self, name: str, note: str, field: str) -> None:
        self.name = name
        self._note = note
        self._field = field

    def begin(self) -> Watcher:
        """A run begins."""
        return Watcher(self._note, self._field)


class Watcher:
    """What `Noted` is in one run."""

    def __init__(self, note: str, field: str) -> None:
        self._note = note
        self._field = field
        self._seen: list[str] = []

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Note) and event.name == self._note:
                self._seen.append(f"{event.host}: {event.fields.get(self._field, '')}")

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if not self._seen:
            return False, f'no server said "{self._note}"'
        more = f", and {len(self._seen) - 1} more" if len(self._seen) > 1 else ""
        return True, self._seen[0] + more
