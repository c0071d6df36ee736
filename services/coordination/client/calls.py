"""What one can ask: the calls of section 2.2, and Apache's later ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from services.coordination.api import (
    ANY_VERSION,
    OPEN_ACL,
    Acl,
    AddWatch,
    AnyRequest,
    AnyResult,
    Code,
    Create,
    CreateMode,
    Delete,
    Event,
    EventType,
    Exists,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    Identity,
    Reconfigure,
    RemoveWatches,
    Reply,
    SetAcl,
    SetData,
    Stat,
    Sync,
    WatchKind,
    WhoAmI,
)
from services.coordination.client.errors import error
from services.coordination.client.feed import LIMIT
from services.coordination.client.replies import (
    acl_of,
    arming,
    count_of,
    data_of,
    data_only,
    identities_of,
    names_of,
    nothing,
    result_of,
    stat_of,
    stat_or_none,
)
from services.coordination.client.transaction import Transaction
from services.coordination.client.watches import PersistentWatch, Watch, Watches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.coordination.client.session import Finish, Session


class Calls:
    """The calls of a client. Each is on its way when its method returns, and returns a future.

    Args:
        session: that carries them.
        watches: of the session.
        chroot: a path that all paths are below; "" for none.
    """

    def __init__(self, session: Session, watches: Watches, chroot: str) -> None:
        self._session = session
        self._watches = watches
        self._chroot = chroot

    # Updates

    def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        mode: CreateMode = CreateMode.PERSISTENT,
        acl: tuple[Acl, ...] = OPEN_ACL,
        ttl: int = 0,
    ) -> asyncio.Future[str]:
        """Creates a znode and returns its name, which a sequential one learns only so.

        Args:
            path: where; of a sequential znode without the counter that will be added.
            data: at most 1 MB.
            mode: ephemeral, sequential, container, with a time to live, or none of it.
            acl: who may do what.
            ttl: ms without a change and without children after which it goes, for modes that have one.
        """
        request = Create(self.absolute(path), _checked(data), acl, mode, ttl)
        return self._session.call(request, self._created, path)

    def create_with_stat(
        self,
        path: str,
        data: bytes = b"",
        *,
        mode: CreateMode = CreateMode.PERSISTENT,
        acl: tuple[Acl, ...] = OPEN_ACL,
        ttl: int = 0,
    ) -> asyncio.Future[tuple[str, Stat]]:
        """Creates a znode and returns its name and stat (Apache's `create2`); otherwise as `create`."""
        request = Create(self.absolute(path), _checked(data), acl, mode, ttl)
        return self._session.call(request, self._created_with_stat, path)

    def delete(self, path: str, version: int = ANY_VERSION) -> asyncio.Future[None]:
        """Deletes a znode without children, if it is at that version."""
        return self._session.call(Delete(self.absolute(path), version), nothing, path)

    def set(self, path: str, data: bytes, version: int = ANY_VERSION) -> asyncio.Future[Stat]:
        """Puts new data in the place of the old, if they are at that version (`setData`)."""
        return self._session.call(SetData(self.absolute(path), _checked(data), version), stat_of, path)

    def set_acl(self, path: str, acl: tuple[Acl, ...], version: int = ANY_VERSION) -> asyncio.Future[Stat]:
        """Puts another access control list in place, if it is at that version (`aversion`)."""
        return self._session.call(SetAcl(self.absolute(path), acl, version), stat_of, path)

    def transaction(self) -> Transaction:
        """Returns a transaction to put together (`multi`)."""
        return Transaction(self)

    def reconfigure(
        self,
        *,
        joining: Sequence[str] = (),
        leaving: Sequence[int] = (),
        members: Sequence[str] = (),
        version: int = ANY_VERSION,
    ) -> asyncio.Future[bytes]:
        """Changes the ensemble and returns its new configuration.

        Args:
            joining: lines such as "server.4=zk4:2888:3888:participant".
            leaving: ids.
            members: the whole ensemble, instead of the two above.
            version: of the configuration that is changed.
        """
        request = Reconfigure(tuple(joining), tuple(leaving), tuple(members), version)
        return self._session.call(request, data_only)

    # Reads

    def get(self, path: str, *, watch: Watch | None = None) -> asyncio.Future[tuple[bytes, Stat]]:
        """Reads data and stat (`getData`); `watch` sees the next change, unless there is no znode."""
        request = GetData(self.absolute(path), watch is not None)
        if watch is None:
            return self._session.call(request, data_of, path)
        return self._session.call(request, arming(data_of, watch, request.path, self._watches.arm_data), path)

    def exists(self, path: str, *, watch: Watch | None = None) -> asyncio.Future[Stat | None]:
        """Reads the stat, None where there is no znode; `watch` sees the next change, or the creation."""
        request = Exists(self.absolute(path), watch is not None)
        if watch is None:
            return self._session.call(request, stat_or_none, path)
        arm_data, arm_exist = self._watches.arm_data, self._watches.arm_exist

        def arm(full: str, watch: Watch, stat: Stat | None) -> None:
            (arm_exist if stat is None else arm_data)(full, watch)

        return self._session.call(request, arming(stat_or_none, watch, request.path, arm), path)

    def children(self, path: str, *, watch: Watch | None = None) -> asyncio.Future[tuple[str, ...]]:
        """Lists the names of the children, sorted (`getChildren`); `watch` sees their next change."""
        request = GetChildren(self.absolute(path), watch is not None)
        if watch is None:
            return self._session.call(request, names_of, path)
        finish = arming(names_of, watch, request.path, self._watches.arm_children)
        return self._session.call(request, finish, path)

    def get_acl(self, path: str) -> asyncio.Future[tuple[tuple[Acl, ...], Stat]]:
        """Reads the access control list and the stat."""
        return self._session.call(GetAcl(self.absolute(path)), acl_of, path)

    def get_ephemerals(self, prefix: str = "/") -> asyncio.Future[tuple[str, ...]]:
        """Lists this session's ephemerals whose paths begin with `prefix`."""
        return self._session.call(GetEphemerals(self.absolute(prefix)), self._paths, prefix)

    def count(self, path: str) -> asyncio.Future[int]:
        """Counts all descendants (`getAllChildrenNumber`)."""
        return self._session.call(GetAllChildrenNumber(self.absolute(path)), count_of, path)

    def sync(self, path: str = "/") -> asyncio.Future[None]:
        """Has the server catch up: what is read next has every update completed before (2.3, 4.4)."""
        return self._session.call(Sync(self.absolute(path)), nothing, path)

    # Who one is

    def add_auth(self, scheme: str, credentials: bytes) -> asyncio.Future[None]:
        """Adds an identity, such as ("digest", b"user:password"); it moves along with the session.

        A server that does not accept it ends the session (state AUTH_FAILED), as Apache's does.
        """
        return self._session.authenticate(scheme, _checked(credentials))

    def who_am_i(self) -> asyncio.Future[tuple[Identity, ...]]:
        """Lists the identities of this session."""
        return self._session.call(WhoAmI(), identities_of)

    # Watches

    async def watch(self, path: str, *, children: bool = False) -> AsyncIterator[Event]:
        """Watches a znode with one-shot watches, each armed anew before its event is yielded.

        The first event, of type NONE, says that the watch is armed: what is read from then on misses nothing.
        Two changes before the watch is armed again are one event (2.1). Goes on across reconnections.

        Args:
            path: of the znode, which need not be there unless `children` are watched.
            children: whether to watch its children, instead of its data and existence.

        Raises:
            NoNode: there is no znode whose children to watch (any more).
            CoordinationError: the session is over, or the znode must not be read.
        """
        event = Event(EventType.NONE, path, self._session.last_zxid)
        armed = None
        try:
            while True:
                armed = Watch()
                read = self.children if children else self.exists
                try:
                    await read(path, watch=armed)
                except Exception as exc:
                    if getattr(exc, "code", None) is Code.CONNECTION_LOSS:
                        continue
                    raise
                yield event
                event = await armed
        finally:
            if armed is not None:
                self._watches.forget(armed)

    def add_watch(
        self, path: str, *, recursive: bool = False, limit: int = LIMIT
    ) -> asyncio.Future[PersistentWatch]:
        """Sets a watch that stays, and returns it: `async for event in await client.add_watch(path)`.

        Args:
            path: of a znode, which need not be there.
            recursive: whether to watch the whole subtree.
            limit: events that may wait to be read; see `feed`.
        """
        full = self.absolute(path)

        def finish(reply: Reply, path: str) -> PersistentWatch:
            nothing(reply, path)
            watch = PersistentWatch(path, recursive, limit)
            self._watches.keep(full, watch)
            return watch

        return self._session.call(AddWatch(full, recursive), finish, path)

    def forget(self, watch: Watch) -> None:
        """Drops a one-shot watch of no interest any more; the server's is left to fire unheard."""
        self._watches.forget(watch)

    def remove_watch(self, watch: PersistentWatch) -> asyncio.Future[None]:
        """Ends a persistent watch; the server's too, when it was the last one of its kind there."""
        full = self.absolute(watch.path)
        if self._watches.leave(full, watch):
            kind = WatchKind.PERSISTENT_RECURSIVE if watch.recursive else WatchKind.PERSISTENT
            return self._session.call(RemoveWatches(full, kind), nothing, watch.path)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def remove_watches(
        self, path: str, kind: WatchKind = WatchKind.ANY, *, local: bool = False
    ) -> asyncio.Future[None]:
        """Removes all watches of that kind at a path; who waits for one gets an event that says so.

        Args:
            path: of the znode.
            kind: of the watches.
            local: whether to remove them here even if the server cannot be asked now.
        """
        full = self.absolute(path)

        def finish(reply: Reply, path: str) -> None:
            if not reply.code or (local and reply.code is Code.CONNECTION_LOSS):
                self._watches.remove(full, kind, reply.zxid)
            nothing(reply, path)

        return self._session.call(RemoveWatches(full, kind), finish, path)

    # For what this module does not offer

    def call(self, request: AnyRequest) -> asyncio.Future[AnyResult]:
        """Sends any request of `api.py`, returns its result; paths are the server's, not below a chroot."""
        return self._session.call(request, result_of)

    def submit(self, request: AnyRequest, finish: Finish) -> asyncio.Future[Any]:
        """Sends any request; `finish` makes of the reply what the caller gets."""
        return self._session.call(request, finish)

    def absolute(self, path: str) -> str:
        """Returns the server's path.

        Raises:
            BadArguments: it is none.
        """
        if path[:1] != "/":
            raise error(Code.BAD_ARGUMENTS, path)
        if not self._chroot:
            return path
        return self._chroot if path == "/" else self._chroot + path

    def shown(self, path: str) -> str:
        """Returns the user's path."""
        return path[len(self._chroot) :] or "/" if self._chroot else path

    def _created(self, reply: Reply, path: str) -> str:
        if reply.code:
            raise error(reply.code, path)
        return self.shown(cast("Any", reply.result).path)

    def _created_with_stat(self, reply: Reply, path: str) -> tuple[str, Stat]:
        result = result_of(reply, path)
        return self.shown(result.path), result.stat

    def _paths(self, reply: Reply, path: str) -> tuple[str, ...]:
        if reply.code:
            raise error(reply.code, path)
        return tuple(map(self.shown, cast("Any", reply.result).paths))


def _checked(data: bytes) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"data must be bytes, not {type(data).__name__}")
    return data
