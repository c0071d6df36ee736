"""Watches: who is told when something changes (2.1), one-shot, persistent and recursive.

They are local to a server and belong to the connection of a session (4.4). A session that watches a znode
in several ways is told once of one change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from services.coordination.api import (
    Code,
    CoordinationError,
    Event,
    EventType,
    Permission,
    SetWatches,
    WatchKind,
)
from services.coordination.state import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from services.coordination.state.acl import AccessList
    from services.coordination.state.tree import Tree, Trigger

MayRead: TypeAlias = "Callable[[int, AccessList], bool]"
"""Whether a session may read a znode with that list; if not, it is not told of its changes."""

_DATA, _CHILDREN = int(WatchKind.DATA), int(WatchKind.CHILDREN)  # plain integers are cheaper keys
_PERSISTENT, _RECURSIVE = int(WatchKind.PERSISTENT), int(WatchKind.PERSISTENT_RECURSIVE)
_READ = int(Permission.READ)


class Watches:
    """All watches of a server, by path and by session."""

    def __init__(self) -> None:
        self._by_path: dict[int, dict[str, dict[int, None]]] = {
            kind: {} for kind in (_DATA, _CHILDREN, _PERSISTENT, _RECURSIVE)
        }
        self._by_session: dict[int, dict[tuple[int, str], None]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Returns how many watches there are."""
        return self._count

    def add(self, session: int, path: str, kind: int) -> None:
        """Sets a watch: DATA sees creation, deletion and new data; CHILDREN children and deletion."""
        self._by_path[kind].setdefault(path, {})[session] = None
        own = self._by_session.setdefault(session, {})
        self._count += (kind, path) not in own
        own[kind, path] = None

    def has(self, session: int, path: str, kind: WatchKind) -> bool:
        """Says whether a session has such a watch."""
        own = self._by_session.get(session, {})
        return any((one, path) in own for one in self._kinds(kind))

    def remove(self, session: int, path: str, kind: WatchKind) -> None:
        """Takes watches back.

        Raises:
            CoordinationError: NO_WATCHER: there are none.
        """
        if not self.has(session, path, kind):
            raise CoordinationError(Code.NO_WATCHER, path)
        own = self._by_session[session]
        for one in self._kinds(kind):
            if (one, path) in own:
                self._forget(session, one, path)

    def drop(self, session: int) -> None:
        """Takes all watches of a session back: its connection is gone."""
        for kind, path in list(self._by_session.get(session, ())):
            self._forget(session, kind, path)

    def fire(self, zxid: int, changes: Iterable[Trigger], may_read: MayRead) -> Iterator[tuple[int, Event]]:
        """Yields who is to be told what, in the order of the changes, and disarms one-shot watches.

        Args:
            zxid: of the transaction.
            changes: what it changed.
            may_read: who may know of it.
        """
        if not self._by_session:
            return
        for change in changes:
            sessions = self._watching(change.type, change.path)
            if sessions:
                event = Event(change.type, change.path, zxid)
                public = change.acl.anyone & _READ
                for session in sessions:
                    if public or may_read(session, change.acl):
                        yield session, event

    def set_again(self, tree: Tree, session: int, request: SetWatches, may_read: MayRead) -> list[Event]:
        """Sets a reconnected session's watches, and returns the events for what it has missed.

        Raises:
            CoordinationError: BAD_ARGUMENTS: a path can be none.
        """
        for path in (
            *request.data,
            *request.exist,
            *request.child,
            *request.persistent,
            *request.persistent_recursive,
        ):
            paths.validate(path)
        events: list[Event] = []

        def tell(kind: EventType, path: str) -> None:
            znode = tree.lookup(path)
            if znode is None or znode.acl.anyone & _READ or may_read(session, znode.acl):
                events.append(Event(kind, path, tree.zxid))

        for path in request.data:
            znode = tree.lookup(path)
            if znode is None:
                tell(EventType.DELETED, path)
            elif znode.mzxid > request.relative_zxid:
                tell(EventType.DATA_CHANGED, path)
            else:
                self.add(session, path, _DATA)
        for path in request.exist:
            if tree.lookup(path) is not None:
                tell(EventType.CREATED, path)
            else:
                self.add(session, path, _DATA)
        for path in request.child:
            znode = tree.lookup(path)
            if znode is None:
                tell(EventType.DELETED, path)
            elif znode.pzxid > request.relative_zxid:
                tell(EventType.CHILDREN_CHANGED, path)
            else:
                self.add(session, path, _CHILDREN)
        for path in request.persistent:
            self.add(session, path, _PERSISTENT)
        for path in request.persistent_recursive:
            self.add(session, path, _RECURSIVE)
        return events

    def by_path(self) -> dict[str, list[int]]:
        """Returns the sessions that watch each path (`wchp`)."""
        found: dict[str, dict[int, None]] = {}
        for watched in self._by_path.values():
            for path, sessions in watched.items():
                found.setdefault(path, {}).update(sessions)
        return {path: list(sessions) for path, sessions in found.items()}

    def by_session(self) -> dict[int, list[str]]:
        """Returns the paths that each session watches (`wchc`)."""
        return {
            session: list(dict.fromkeys(path for _, path in watches))
            for session, watches in self._by_session.items()
        }

    def _watching(self, change: EventType, path: str) -> dict[int, None]:
        if change is EventType.CHILDREN_CHANGED:
            found = self._disarm(_CHILDREN, path)
        else:
            found = self._disarm(_DATA, path)
            if change is EventType.DELETED:
                found.update(self._disarm(_CHILDREN, path))
            recursive = self._by_path[_RECURSIVE]
            if recursive:
                above = path
                while True:
                    found.update(recursive.get(above, ()))
                    if above == paths.ROOT:
                        break
                    above = paths.parent_of(above)
        found.update(self._by_path[_PERSISTENT].get(path, ()))
        return found

    def _disarm(self, kind: int, path: str) -> dict[int, None]:
        sessions = self._by_path[kind].pop(path, None)
        if sessions is None:
            return {}
        for session in sessions:
            self._release(session, kind, path)
        return sessions

    def _forget(self, session: int, kind: int, path: str) -> None:
        sessions = self._by_path[kind][path]
        del sessions[session]
        if not sessions:
            del self._by_path[kind][path]
        self._release(session, kind, path)

    def _release(self, session: int, kind: int, path: str) -> None:
        own = self._by_session[session]
        del own[kind, path]
        self._count -= 1
        if not own:
            del self._by_session[session]

    @staticmethod
    def _kinds(kind: WatchKind) -> tuple[int, ...]:
        return (_DATA, _CHILDREN, _PERSISTENT, _RECURSIVE) if kind is WatchKind.ANY else (int(kind),)
