"""Watches on the client's side: what is armed, and who hears of an event.

The server keeps no more than that this session watches a path; who asked for it is known here. A one-shot
watch (2.1) is armed by the answer to the read that it was given to, fires once, and is armed anew only by
another read. Persistent ones (Apache 3.6) stay. After a reconnection all that is armed is registered again
with the new server, which fires at once what was missed. One thing is lost (Apache's documentation says so
too): a watch for the creation of a znode that is created *and* deleted while there is no connection.

Paths here are the server's; what the user sees is without the client's chroot.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from services.coordination.api import Code, Event, EventType, SetWatches, WatchKind
from services.coordination.client.errors import SessionExpired
from services.coordination.client.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from services.coordination.api import CoordinationError

_REGISTRATION = 128 * 1024  # bytes of paths in one SetWatches, as in Apache's client


class Watch:
    """A one-shot watch: give it to a read (`watch=`), await it for its event.

    It may be awaited as often as one likes, with a time-out too; it fires at most once.

    Args:
        callback: called with the event before anything that comes after it is answered (2.3).

    Raises:
        CoordinationError: (by awaiting) the read failed, so that nothing is watched; or the session is over.
    """

    __slots__ = ("_callback", "_future", "places")

    def __init__(self, callback: Callable[[Event], None] | None = None) -> None:
        self.places: list[tuple[dict[str, dict[Watch, None]], str]] = []  # where it is armed
        self._callback = callback
        self._future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    @property
    def fired(self) -> bool:
        """Whether the event has come. True before any reply that shows the change is seen (2.3)."""
        return self._future.done() and self._future.exception() is None

    def __await__(self) -> Generator[object, None, Event]:
        return asyncio.shield(self._future).__await__()  # who gives up waiting does not take the watch along

    def fire(self, event: Event) -> None:
        """The event has come (for the client)."""
        if self._future.done():
            return
        self._future.set_result(event)
        if self._callback is not None:
            try:
                self._callback(event)
            except Exception as exc:  # the user's mistake is not the connection's end
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"Exception in the callback of a watch at {event.path}", "exception": exc}
                )

    def fail(self, error: Exception) -> None:
        """There will be no event (for the client)."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # nobody has to await it


class PersistentWatch(Feed[Event]):
    """A watch that stays until it is removed: `async for event in watch`.

    Attributes:
        path: as the user has it.
        recursive: whether it sees the whole subtree (and then no CHILDREN_CHANGED).

    Raises:
        EventsLost: (by iterating) the reader lags; see `feed`.
        CoordinationError: (by iterating) the session is over.
    """

    def __init__(self, path: str, recursive: bool, limit: int) -> None:
        super().__init__(limit)
        self.path = path
        self.recursive = recursive


class Watches:
    """All watches of a client.

    Args:
        chroot: that the user's paths are below.
    """

    def __init__(self, chroot: str = "") -> None:
        self._chroot = chroot
        self._data: dict[str, dict[Watch, None]] = {}
        self._exist: dict[str, dict[Watch, None]] = {}
        self._child: dict[str, dict[Watch, None]] = {}
        self._persistent: dict[str, dict[PersistentWatch, None]] = {}
        self._recursive: dict[str, dict[PersistentWatch, None]] = {}

    def arm_data(self, path: str, watch: Watch, read: object = None) -> None:
        """`watch` sees the next change of a znode that is there."""
        _arm(self._data, path, watch)

    def arm_exist(self, path: str, watch: Watch, read: object = None) -> None:
        """`watch` sees the creation of a znode that is not there."""
        _arm(self._exist, path, watch)

    def arm_children(self, path: str, watch: Watch, read: object = None) -> None:
        """`watch` sees the next change of the children of a znode, or its deletion."""
        _arm(self._child, path, watch)

    def keep(self, path: str, watch: PersistentWatch) -> None:
        """`watch` sees all that happens from now on."""
        kept = self._recursive if watch.recursive else self._persistent
        kept.setdefault(path, {})[watch] = None

    def forget(self, watch: Watch) -> None:
        """`watch` is of no interest any more; the server goes on watching, and its event is dropped."""
        for armed, path in watch.places:
            watches = armed.get(path, {})
            watches.pop(watch, None)
            if not watches:
                armed.pop(path, None)
        watch.places.clear()

    def fire(self, event: Event) -> None:
        """Tells everybody who watches for this event, each once."""
        path, kind = event.path, event.type
        heard: dict[Watch, None] = {}
        if kind is not EventType.CHILDREN_CHANGED:
            heard.update(self._data.pop(path, {}))
            heard.update(self._exist.pop(path, {}))
        if kind is EventType.CHILDREN_CHANGED or kind is EventType.DELETED:
            heard.update(self._child.pop(path, {}))
        stay = [*self._persistent.get(path, ())] if self._persistent else []
        if self._recursive and kind is not EventType.CHILDREN_CHANGED:
            for ancestor in _upwards(path):
                stay += self._recursive.get(ancestor, ())
        if not heard and not stay:
            return
        shown = self._shown(path)
        if shown != path:
            event = replace(event, path=shown)
        for watch in heard:
            watch.fire(event)
        for persistent in stay:
            persistent.push(event)

    def remove(self, path: str, kind: WatchKind, zxid: int) -> None:
        """The server has removed what was watched: whoever waits is told by an event."""
        shown = self._shown(path)
        if kind in (WatchKind.DATA, WatchKind.ANY):
            gone = Event(EventType.DATA_WATCH_REMOVED, shown, zxid)
            for watch in {**self._data.pop(path, {}), **self._exist.pop(path, {})}:
                watch.fire(gone)
        if kind in (WatchKind.CHILDREN, WatchKind.ANY):
            for watch in self._child.pop(path, {}):
                watch.fire(Event(EventType.CHILD_WATCH_REMOVED, shown, zxid))
        for kinds, kept in (
            ((WatchKind.PERSISTENT, WatchKind.ANY), self._persistent),
            ((WatchKind.PERSISTENT_RECURSIVE, WatchKind.ANY), self._recursive),
        ):
            if kind in kinds:
                for persistent in kept.pop(path, {}):
                    persistent.push(Event(EventType.PERSISTENT_WATCH_REMOVED, shown, zxid))
                    persistent.end()

    def leave(self, path: str, watch: PersistentWatch) -> bool:
        """Ends one persistent watch here; says whether it was the last of its kind at this path."""
        kept = self._recursive if watch.recursive else self._persistent
        watch.end()
        watches = kept.get(path, {})
        if watch not in watches:
            return False
        del watches[watch]
        if watches:
            return False
        del kept[path]
        return True

    def registrations(self, zxid: int) -> Iterator[SetWatches]:
        """Yields what registers everything again with another server, in messages of bounded size."""
        armed: dict[str, Iterable[str]] = {
            "data": self._data,
            "exist": self._exist,
            "child": self._child,
            "persistent": self._persistent,
            "persistent_recursive": self._recursive,
        }
        batch: dict[str, list[str]] = {}
        size = 0
        for field, watches in armed.items():
            for path in watches:
                batch.setdefault(field, []).append(path)
                size += len(path)
                if size > _REGISTRATION:
                    yield SetWatches(zxid, **{name: tuple(paths) for name, paths in batch.items()})
                    batch, size = {}, 0
        if batch:
            yield SetWatches(zxid, **{name: tuple(paths) for name, paths in batch.items()})

    def _shown(self, path: str) -> str:
        return path[len(self._chroot) :] or "/" if self._chroot else path

    def end(self, error: CoordinationError | None) -> None:
        """The session is over: nothing will ever fire. Without an error, because the user has closed it."""
        for armed in (self._data, self._exist, self._child):
            for watches in armed.values():
                for watch in watches:
                    watch.fail(error or SessionExpired(Code.SESSION_EXPIRED))
            armed.clear()
        for kept in (self._persistent, self._recursive):
            for persistents in kept.values():
                for persistent in persistents:
                    persistent.end(error)
            kept.clear()


def _arm(armed: dict[str, dict[Watch, None]], path: str, watch: Watch) -> None:
    armed.setdefault(path, {})[watch] = None
    watch.places.append((armed, path))


def _upwards(path: str) -> Iterator[str]:
    """Yields a path and its ancestors."""
    while True:
        yield path or "/"
        if not path or path == "/":
            return
        path = path.rpartition("/")[0]
