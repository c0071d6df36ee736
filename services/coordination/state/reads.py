"""What a server answers from its own replica (4.4), and the watches that such requests set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from services.coordination.api import (
    AclOf,
    AddWatch,
    AnyResult,
    CheckWatches,
    Children,
    Code,
    CoordinationError,
    Count,
    Data,
    Exists,
    Failed,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    Identities,
    MultiRead,
    Nothing,
    Paths,
    Permission,
    Read,
    RemoveWatches,
    Several,
    WatchKind,
    WhoAmI,
    Written,
)
from services.coordination.state import paths, quota
from services.coordination.state.hierarchy import descend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.coordination.api import Identity
    from services.coordination.state.tree import Tree
    from services.coordination.state.watches import Watches
    from services.coordination.state.znode import Znode

_READ, _ADMIN = int(Permission.READ), int(Permission.ADMIN)


class Reader:
    """Answers reads.

    Args:
        tree: the state.
        watches: gets those that are asked for.
        check_acl: whether access control lists are looked at (the opposite of Apache's `skipACL`).
    """

    def __init__(self, tree: Tree, watches: Watches, check_acl: bool = True) -> None:
        self._tree = tree
        self._watches = watches
        self._check_acl = check_acl

    def read(self, request: Read, session: int, identities: Sequence[Identity]) -> AnyResult:
        """Answers one; all but `SetWatches`, which is answered by events (`Watches.set_again`).

        Raises:
            CoordinationError: NO_NODE, NO_AUTH, NO_WATCHER, or BAD_ARGUMENTS where a watch is asked for on
                what cannot be.
        """
        answer = _ANSWER.get(type(request))
        if answer is None:
            raise CoordinationError(Code.UNIMPLEMENTED)
        return answer(self, request, session, identities)

    def _get_data(self, request: GetData, session: int, identities: Sequence[Identity]) -> AnyResult:
        znode = self._find(request.path, _READ, identities)
        if request.watch:
            self._watches.add(session, request.path, WatchKind.DATA)
        return Data(znode.data, znode.stat())

    def _exists(self, request: Exists, session: int, identities: Sequence[Identity]) -> AnyResult:
        znode = self._lookup(request.path)
        if request.watch:
            paths.validate(request.path)
            self._watches.add(session, request.path, WatchKind.DATA)
        elif "\0" in request.path:  # of all reads, Apache asks this of `exists` alone
            raise CoordinationError(Code.BAD_ARGUMENTS, request.path)
        if znode is None:
            raise CoordinationError(Code.NO_NODE, request.path)
        return Written(znode.stat())

    def _get_children(self, request: GetChildren, session: int, identities: Sequence[Identity]) -> AnyResult:
        znode = self._find(request.path, _READ, identities)
        if request.watch:
            self._watches.add(session, request.path, WatchKind.CHILDREN)
        return Children(tuple(sorted(znode.children or ())), znode.stat())

    def _get_acl(self, request: GetAcl, session: int, identities: Sequence[Identity]) -> AnyResult:
        znode = self._find(request.path, _READ | _ADMIN, identities)
        whole = not self._check_acl or znode.acl.permits(_ADMIN, identities)
        return AclOf(znode.acl.entries if whole else znode.acl.masked(), znode.stat())

    def _multi_read(self, request: MultiRead, session: int, identities: Sequence[Identity]) -> AnyResult:
        return Several(tuple(self._part(part, session, identities) for part in request.operations))

    def _part(self, part: GetData | GetChildren, session: int, identities: Sequence[Identity]) -> AnyResult:
        try:
            return self.read(part, session, identities)
        except CoordinationError as error:
            return Failed(error.code)

    def _get_ephemerals(
        self, request: GetEphemerals, session: int, identities: Sequence[Identity]
    ) -> AnyResult:
        own = self._tree.ephemerals.get(session, {})
        return Paths(tuple(sorted(path for path in own if path.startswith(request.prefix))))

    def _count(
        self, request: GetAllChildrenNumber, session: int, identities: Sequence[Identity]
    ) -> AnyResult:
        path = request.path
        znode = self._find(path, _READ, identities)
        if path == paths.ROOT:
            return Count(len(self._tree) - 1)
        return Count(sum(1 for _ in descend(path, znode)) - 1)

    def _who_am_i(self, request: WhoAmI, session: int, identities: Sequence[Identity]) -> AnyResult:
        return Identities(tuple(identities))

    def _add_watch(self, request: AddWatch, session: int, identities: Sequence[Identity]) -> AnyResult:
        paths.validate(request.path)
        kind = WatchKind.PERSISTENT_RECURSIVE if request.recursive else WatchKind.PERSISTENT
        self._watches.add(session, request.path, kind)
        return Nothing()

    def _remove_watches(
        self, request: RemoveWatches, session: int, identities: Sequence[Identity]
    ) -> AnyResult:
        self._watches.remove(session, request.path, request.kind)
        return Nothing()

    def _check_watches(
        self, request: CheckWatches, session: int, identities: Sequence[Identity]
    ) -> AnyResult:
        if not self._watches.has(session, request.path, request.kind):
            raise CoordinationError(Code.NO_WATCHER, request.path)
        return Nothing()

    def _find(self, path: str, permission: int, identities: Sequence[Identity]) -> Znode:
        znode = self._lookup(path)
        if znode is None:
            raise CoordinationError(Code.NO_NODE, path)
        if (
            not znode.acl.anyone & permission
            and self._check_acl
            and not znode.acl.permits(permission, identities)
        ):
            raise CoordinationError(Code.NO_AUTH, path)
        return znode

    def _lookup(self, path: str) -> Znode | None:
        znode = self._tree.lookup(path)
        if znode is not None and path.startswith(paths.QUOTA):
            usage = self._tree.quotas.usage.get(quota.subject(path, quota.STATISTICS) or "")
            if usage is not None:
                return replace(znode, data=usage.text())  # counted all along, written out for who reads it
        return znode


_ANSWER: dict[type, Callable[[Reader, Any, int, Sequence[Identity]], AnyResult]] = {
    GetData: Reader._get_data,
    Exists: Reader._exists,
    GetChildren: Reader._get_children,
    GetAcl: Reader._get_acl,
    MultiRead: Reader._multi_read,
    GetEphemerals: Reader._get_ephemerals,
    GetAllChildrenNumber: Reader._count,
    WhoAmI: Reader._who_am_i,
    AddWatch: Reader._add_watch,
    RemoveWatches: Reader._remove_watches,
    CheckWatches: Reader._check_watches,
}
