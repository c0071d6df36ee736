"""The future state (4.1): the tree as it will be once everything that was proposed is delivered.

The leader keeps, for each path that an outstanding transaction touches, what will be there. What is delivered
is forgotten: the tree knows it then. A `Multi` that fails takes back what it has put here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from services.coordination.state.acl import AccessList
from services.coordination.state.quota import Usage
from services.coordination.state.znode import is_session

if TYPE_CHECKING:
    from services.coordination.state.tree import Tree


class Future(Struct, frozen=True, gc=False):
    """A znode as it will be after the transaction `zxid`.

    Attributes:
        zxid: 0 for what is in the tree.
        exists: whether there will be such a znode; if not, the rest is of the one that will be gone.
        children: how many; `created`: how many ever.
    """

    zxid: int
    exists: bool
    data: bytes | None
    acl: AccessList
    owner: int
    version: int
    aversion: int
    created: int
    children: int

    def with_children(self, zxid: int, created: int, more: int) -> Future:
        """Returns it as it will be when so many children are created, and it has so many more."""
        return Future(
            zxid,
            True,
            self.data,
            self.acl,
            self.owner,
            self.version,
            self.aversion,
            self.created + created,
            self.children + more,
        )


class Outstanding:
    """What proposed transactions will have changed."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._future: dict[str, Future] = {}
        self._order: deque[tuple[int, str, int]] = deque()  # zxid, path, session of a new ephemeral or 0
        self._creating: dict[int, int] = {}  # how many such are in there, by session
        self._growth: dict[str, Usage] = {}
        self._grown: deque[tuple[int, str, int, int]] = deque()
        self._undo: list[tuple[str, Future | None]] | None = None

    def __len__(self) -> int:
        """Returns how many paths are touched."""
        return len(self._future)

    def touches(self, path: str) -> bool:
        """Says whether an outstanding transaction changes what is at a path."""
        return path in self._future

    def get(self, path: str) -> Future | None:
        """Returns the znode that will be at a path, if there will be one."""
        future = self._future.get(path)
        if future is not None:
            return future if future.exists else None
        znode = self._tree.lookup(path)
        if znode is None:
            return None
        children = 0 if znode.children is None else len(znode.children)
        return Future(
            0,
            True,
            znode.data,
            znode.acl,
            znode.owner,
            znode.version,
            znode.aversion,
            znode.created,
            children,
        )

    def exists(self, path: str) -> bool:
        """Says whether there will be a znode at a path."""
        future = self._future.get(path)
        return self._tree.lookup(path) is not None if future is None else future.exists

    def put(self, path: str, future: Future) -> None:
        """Says what will be at a path."""
        if self._undo is not None:
            self._undo.append((path, self._future.get(path)))
        self._future[path] = future
        session = future.owner if future.exists and is_session(future.owner) else 0
        self._order.append((future.zxid, path, session))
        if session:
            self._creating[session] = self._creating.get(session, 0) + 1

    def ephemerals(self, session: int) -> list[str]:
        """Returns the paths of the ephemerals that a session will have."""
        paths = dict(self._tree.ephemerals.get(session, {}))
        if session in self._creating:
            paths.update((path, None) for path, future in self._future.items() if future.owner == session)
        found = ((path, self.get(path)) for path in sorted(paths))
        return [path for path, future in found if future is not None and future.owner == session]

    def grow(self, zxid: int, subtree: str, znodes: int, size: int) -> None:
        """Takes note of what will come to be in a subtree that has a quota."""
        growth = self._growth.setdefault(subtree, Usage())
        growth.count += znodes
        growth.size += size
        self._grown.append((zxid, subtree, znodes, size))

    def usage(self, subtree: str, now: Usage) -> Usage:
        """Returns what will be in a subtree that has a quota."""
        growth = self._growth.get(subtree)
        return now if growth is None else Usage(now.count + growth.count, now.size + growth.size)

    def begin(self) -> None:
        """Begins a `Multi`."""
        self._undo = []

    def end(self, zxid: int, failed: bool) -> None:
        """Ends the `Multi` that will be the transaction `zxid`; if it failed, nothing of it will be."""
        undo, self._undo = self._undo, None
        if not failed or undo is None:
            return
        for path, before in reversed(undo):
            self._created(self._order.pop()[2])
            if before is None:
                del self._future[path]
            else:
                self._future[path] = before
        while self._grown and self._grown[-1][0] == zxid:
            self._shrink(*self._grown.pop())

    def delivered(self, zxid: int) -> None:
        """Forgets what the tree knows, now that everything up to `zxid` is applied to it."""
        order = self._order
        while order and order[0][0] <= zxid:
            _, path, session = order.popleft()
            future = self._future.get(path)
            if future is not None and future.zxid <= zxid:
                del self._future[path]
            self._created(session)
        while self._grown and self._grown[0][0] <= zxid:
            self._shrink(*self._grown.popleft())

    def _created(self, session: int) -> None:
        if session:
            left = self._creating.pop(session) - 1
            if left:
                self._creating[session] = left

    def _shrink(self, zxid: int, subtree: str, znodes: int, size: int) -> None:
        growth = self._growth[subtree]
        growth.count -= znodes
        growth.size -= size
