"""What a server answers from its own replica (4.4), and the watches that such requests set."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from collections.abc import Sequence

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
        match request:
            case GetData(path, watch):
                znode = self._find(path, _READ, identities)
                if watch:
                    self._watches.add(session, path, WatchKind.DATA)
                return Data(znode.data, znode.stat())
            case Exists(path, watch):
                found = self._lookup(path)
                if watch:
                    paths.validate(path)
                    self._watches.add(session, path, WatchKind.DATA)
                if found is None:
                    raise CoordinationError(Code.NO_NODE, path)
                return Written(found.stat())
            case GetChildren(path, watch):
                znode = self._find(path, _READ, identities)
                if watch:
                    self._watches.add(session, path, WatchKind.CHILDREN)
                return Children(tuple(sorted(znode.children or ())), znode.stat())
            case GetAcl(path):
                znode = self._find(path, _READ | _ADMIN, identities)
                whole = not self._check_acl or znode.acl.permits(_ADMIN, identities)
                return AclOf(znode.acl.entries if whole else znode.acl.masked(), znode.stat())
            case MultiRead(operations):
                return Several(tuple(self._part(part, session, identities) for part in operations))
            case GetEphemerals(prefix):
                own = self._tree.ephemerals.get(session, {})
                return Paths(tuple(path for path in own if path.startswith(prefix)))
            case GetAllChildrenNumber(path):
                znode = self._find(path, _READ, identities)
                if path == paths.ROOT:
                    return Count(len(self._tree) - 1)
                return Count(sum(1 for _ in descend(path, znode)) - 1)
            case WhoAmI():
                return Identities(tuple(identities))
            case AddWatch(path, recursive):
                paths.validate(path)
                kind = WatchKind.PERSISTENT_RECURSIVE if recursive else WatchKind.PERSISTENT
                self._watches.add(session, path, kind)
            case RemoveWatches(path, kind):
                self._watches.remove(session, path, kind)
            case CheckWatches(path, kind):
                if not self._watches.has(session, path, kind):
                    raise CoordinationError(Code.NO_WATCHER, path)
            case _:
                raise CoordinationError(Code.UNIMPLEMENTED)
        return Nothing()

    def _part(self, part: GetData | GetChildren, session: int, identities: Sequence[Identity]) -> AnyResult:
        try:
            return self.read(part, session, identities)
        except CoordinationError as error:
            return Failed(error.code)

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
