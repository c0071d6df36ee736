"""Read and write locks (2.4): many readers, or one writer.

The paper's reader waits for the nearest writer before it and then only checks again, with the list that it
had (its line 3). That list would show the writer for ever; as in Apache's recipe, it lists anew (line 2). A
reader's wait is for a writer, so that a writer's release wakes all readers behind it: the herd is wanted
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from services.coordination.recipes.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Sequence


class WriteLock(Lock):
    """The exclusive one: waits for whoever came just before, reader or writer."""

    kind: ClassVar[str] = "write"


class ReadLock(Lock):
    """The shared one, at the same path: waits for the nearest writer that came before, if there is one."""

    kind: ClassVar[str] = "read"

    def _before(self, lower: Sequence[str]) -> str | None:
        return next((name for name in reversed(lower) if f"-{WriteLock.kind}-" in name), None)
