"""The leader's part: requests become idempotent transactions (4.1).

A request is checked against the future state, in which everything that was proposed has been delivered, and
becomes a transaction that says what it does there; a failed precondition becomes an error transaction. The
checks and their order, and so the code that wins when several would do, are Apache's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from services.coordination.api import (
    ANY_VERSION,
    OPEN_ACL,
    Check,
    CloseSession,
    Code,
    CoordinationError,
    Create,
    CreateMode,
    CreateSession,
    Delete,
    Identity,
    Multi,
    Permission,
    Reconfigure,
    SetAcl,
    SetData,
    Update,
)
from services.coordination.state import paths, quota
from services.coordination.state.acl import AccessList, resolve
from services.coordination.state.expiry import is_due
from services.coordination.state.limits import DEFAULT, Limits
from services.coordination.state.outstanding import Future, Outstanding
from services.coordination.state.reconfigure import next_configuration
from services.coordination.state.transactions import (
    Change,
    CheckTxn,
    CloseSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    MultiTxn,
    OpenSessionTxn,
    ReconfigureTxn,
    SetAclTxn,
    SetDataTxn,
    Transaction,
)
from services.coordination.state.znode import CONTAINER, LONGEST_TTL, is_session, signed32, ttl_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.state.tree import Tree


__all__ = ["DEFAULT", "Limits", "Preparer"]

_PLAIN = CreateMode.PERSISTENT  # looking a member up costs more than a global, and flags more than integers
_READ, _WRITE, _ADMIN = int(Permission.READ), int(Permission.WRITE), int(Permission.ADMIN)
_CREATE, _DELETE = int(Permission.CREATE), int(Permission.DELETE)


class _Asked(Struct, frozen=True, gc=False):
    """The circumstances of a request."""

    session: int
    identities: Sequence[Identity]
    zxid: int
    synced: Collection[int] | None


class Preparer:
    """Prepares transactions, for as long as this server leads."""

    def __init__(
        self, tree: Tree, limits: Limits = DEFAULT, warn: Callable[[str], None] = lambda line: None
    ) -> None:
        """Begins with nothing outstanding.

        Args:
            tree: the state, all of earlier epochs delivered.
            limits: what is allowed.
            warn: gets a line for each soft quota that is exceeded.
        """
        self.outstanding = Outstanding(tree)
        self._tree = tree
        self._limits = limits
        self._warn = warn
        self._opening: dict[int, int] = {}
        self._closing: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._reconfiguring = 0

    def prepare(
        self,
        request: Update,
        *,
        session: int,
        cxid: int,
        server: int,
        identities: Sequence[Identity],
        time: int,
        zxid: int,
        synced: Collection[int] | None = None,
    ) -> Transaction:
        """Returns the transaction that a request becomes; whatever is wrong with it is in there.

        Args:
            request: what is asked.
            session: who asks.
            cxid: the session's number of the request.
            server: the one that the session's request came through.
            identities: who the session is.
            time: ms since the Unix epoch.
            zxid: of the transaction. It must be proposed under it before the next is prepared.
            synced: see `next_configuration`.
        """
        asked = _Asked(session, identities, zxid, synced)
        change: Change
        try:
            if isinstance(request, CreateSession):
                change = self._open_session(request, asked, server)
            elif isinstance(request, CloseSession):
                change = self._close_session(asked)
            else:
                self._check_session(session, server)
                change = _PREPARE[type(request)](self, request, asked)
        except CoordinationError as error:
            change = ErrorTxn(error.code)
        return Transaction(session, cxid, time, change)

    def own(self, session: int, server: int) -> None:
        """Says through which server a session's requests come from now on: it has moved there."""
        self._owners[session] = server

    def closing(self, session: int) -> bool:
        """Says whether the session's end is proposed already, or it is not open."""
        return session in self._closing or (
            session not in self._tree.sessions and session not in self._opening
        )

    def delivered(self, zxid: int) -> None:
        """Forgets what the tree knows, now that everything up to `zxid` is applied to it."""
        self.outstanding.delivered(zxid)
        for pending in (self._opening, self._closing):
            while pending and (oldest := next(iter(pending.items())))[1] <= zxid:
                del pending[oldest[0]]

    def remove_expired(self, path: str, *, time: int, zxid: int, never_used: int = 0) -> Transaction | None:
        """Returns the removal of an empty container or of a znode whose time has passed, if it is still due.

        Args:
            path: what `expiry.due` found.
            time: ms since the Unix epoch.
            zxid: of the transaction.
            never_used: see `expiry.due`.
        """
        znode = self._tree.lookup(path)
        if znode is None or self.outstanding.touches(path) or not is_due(znode, time, never_used):
            return None
        self._remove(path, zxid)
        return Transaction(0, 0, time, DeleteTxn(path))

    # Sessions

    def _check_session(self, session: int, server: int) -> None:
        if self.closing(session):
            raise CoordinationError(Code.SESSION_EXPIRED)
        if self._owners.setdefault(session, server) != server:
            raise CoordinationError(Code.SESSION_MOVED)

    def _open_session(self, request: CreateSession, asked: _Asked, server: int) -> Change:
        session = asked.session
        if not is_session(session) or not self.closing(session):
            raise CoordinationError(Code.BAD_ARGUMENTS)
        self._closing.pop(session, None)
        self._opening.pop(session, None)
        self._opening[session] = asked.zxid
        self._owners[session] = server
        return OpenSessionTxn(request.timeout, request.password)

    def _close_session(self, asked: _Asked) -> Change:
        session = asked.session
        if self.closing(session):
            raise CoordinationError(Code.SESSION_EXPIRED)
        gone = self.outstanding.ephemerals(session)
        for path in gone:
            self._remove(path, asked.zxid)
        self._closing[session] = asked.zxid
        self._owners.pop(session, None)
        return CloseSessionTxn(tuple(gone))

    # Znodes

    def _multi(self, request: Multi, asked: _Asked) -> Change:
        changes: list[CreateTxn | DeleteTxn | SetDataTxn | CheckTxn] = []
        self.outstanding.begin()
        failed: Code | None = None
        for operation in request.operations:
            try:
                changes.append(_PREPARE[type(operation)](self, operation, asked))
            except CoordinationError as error:
                failed = error.code
                break
        self.outstanding.end(asked.zxid, failed is not None)
        if failed is None:
            return MultiTxn(tuple(changes))
        before, after = len(changes), len(request.operations) - len(changes) - 1
        return FailedMultiTxn((Code.OK,) * before + (failed,) + (Code.RUNTIME_INCONSISTENCY,) * after)

    def _create(self, request: Create, asked: _Asked) -> CreateTxn:
        path, mode, zxid = request.path, request.mode, asked.zxid
        plain = mode is _PLAIN and request.ttl <= 0
        owner = 0 if plain else self._owner(request, asked.session)
        if not paths.is_absolute(path):
            raise CoordinationError(Code.BAD_ARGUMENTS, path)
        entries = resolve(request.acl, asked.identities)
        where = paths.parent_of(path)
        parent = self._find(where)
        self._permit(parent, _CREATE, asked, path)
        if mode is not _PLAIN and mode.sequential:
            path += f"{signed32(parent.created):010d}"
        paths.validate(path)
        if self.outstanding.exists(path):
            raise CoordinationError(Code.NODE_EXISTS, path)
        if is_session(parent.owner):
            raise CoordinationError(Code.NO_CHILDREN_FOR_EPHEMERALS, path)
        size = len(request.data or b"")
        self._check_data(path, request.data, 1, size)
        self._grow(path, zxid, 1, size)
        put = self.outstanding.put
        put(where, parent.with_children(zxid, 1, 1))
        put(path, Future(zxid, True, request.data, AccessList.of(entries), owner, 0, 0, 0, 0))
        acl = () if entries is OPEN_ACL else entries
        return CreateTxn(path, request.data, parent.created + 1, owner, acl)

    def _owner(self, request: Create, session: int) -> int:
        mode, ttl = request.mode, request.ttl
        if mode.has_ttl:
            if not self._limits.time_to_live:
                raise CoordinationError(Code.UNIMPLEMENTED, request.path)
            if not 0 < ttl <= LONGEST_TTL:
                raise CoordinationError(Code.BAD_ARGUMENTS, request.path)
            return ttl_owner(ttl)
        if ttl > 0:
            raise CoordinationError(Code.BAD_ARGUMENTS, request.path)
        if mode is CreateMode.CONTAINER:
            return CONTAINER
        return session if mode.ephemeral else 0

    def _delete(self, request: Delete, asked: _Asked) -> DeleteTxn:
        path = request.path
        if not paths.is_absolute(path) or path in paths.SPECIAL:
            raise CoordinationError(Code.BAD_ARGUMENTS, path)
        parent = self._find(paths.parent_of(path))
        self._permit(parent, _DELETE, asked, path)
        znode = self._find(path)
        if request.version not in (ANY_VERSION, znode.version):
            raise CoordinationError(Code.BAD_VERSION, path)
        if znode.children:
            raise CoordinationError(Code.NOT_EMPTY, path)
        self._gone(path, parent, znode, asked.zxid)
        return DeleteTxn(path)

    def _set_data(self, request: SetData, asked: _Asked) -> SetDataTxn:
        path, data = request.path, request.data
        paths.validate(path)
        if path == paths.CONFIG:  # only a Reconfigure changes what it says
            raise CoordinationError(Code.NO_AUTH, path)
        znode = self._find(path)
        self._permit(znode, _WRITE, asked, path)
        grows = len(data or b"") - len(znode.data or b"")
        self._check_data(path, data, 0, grows)
        version = _next_version(znode.version, request.version, path)
        self._grow(path, asked.zxid, 0, grows)
        self.outstanding.put(
            path,
            Future(
                asked.zxid,
                True,
                data,
                znode.acl,
                znode.owner,
                version,
                znode.aversion,
                znode.created,
                znode.children,
            ),
        )
        return SetDataTxn(path, data, version)

    def _set_acl(self, request: SetAcl, asked: _Asked) -> SetAclTxn:
        path = request.path
        paths.validate(path)
        entries = resolve(request.acl, asked.identities)
        znode = self._find(path)
        self._permit(znode, _ADMIN, asked, path)
        version = _next_version(znode.aversion, request.version, path)
        self.outstanding.put(
            path,
            Future(
                asked.zxid,
                True,
                znode.data,
                AccessList.of(entries),
                znode.owner,
                znode.version,
                version,
                znode.created,
                znode.children,
            ),
        )
        return SetAclTxn(path, entries, version)

    def _check(self, request: Check, asked: _Asked) -> CheckTxn:
        path = request.path
        paths.validate(path)
        znode = self._find(path)
        self._permit(znode, _READ, asked, path)
        if request.version not in (ANY_VERSION, znode.version):
            raise CoordinationError(Code.BAD_VERSION, path)
        return CheckTxn()

    def _reconfigure(self, request: Reconfigure, asked: _Asked) -> ReconfigureTxn:
        if not self._limits.reconfigure:
            raise CoordinationError(Code.RECONFIG_DISABLED)
        if self._reconfiguring > self._tree.zxid:
            raise CoordinationError(Code.RECONFIG_IN_PROGRESS)
        changed = next_configuration(self._tree.configuration, request, asked.zxid, asked.synced)
        self._permit(self._find(paths.CONFIG), _WRITE, asked, paths.CONFIG)
        self._reconfiguring = asked.zxid
        return ReconfigureTxn(str(changed))

    # What the checks and changes have in common

    def _find(self, path: str) -> Future:
        znode = self.outstanding.get(path)
        if znode is None:
            raise CoordinationError(Code.NO_NODE, path)
        return znode

    def _permit(self, znode: Future, permission: int, asked: _Asked, path: str) -> None:
        if (
            not znode.acl.anyone & permission
            and self._limits.check_acl
            and not znode.acl.permits(permission, asked.identities)
        ):
            raise CoordinationError(Code.NO_AUTH, path)

    def _remove(self, path: str, zxid: int) -> None:
        self._gone(path, self._find(paths.parent_of(path)), self._find(path), zxid)

    def _gone(self, path: str, parent: Future, znode: Future, zxid: int) -> None:
        put = self.outstanding.put
        put(paths.parent_of(path), parent.with_children(zxid, 0, -1))
        put(path, Future(zxid, False, b"", znode.acl, znode.owner, 0, 0, 0, 0))
        self._grow(path, zxid, -1, -len(znode.data or b""))

    def _check_data(self, path: str, data: bytes | None, znodes: int, size: int) -> None:
        if len(data or b"") > self._limits.data:
            raise CoordinationError(Code.BAD_ARGUMENTS, path)
        quota.validate(path, data)
        if not self._tree.quotas.usage or not self._limits.enforce_quota:
            return
        more = quota.Usage(znodes, size)
        for subtree, now in self._tree.quotas.covering(path):
            limits = self.outstanding.get(f"{paths.QUOTA}{subtree}{quota.LIMITS}")
            if limits is not None:
                usage = self.outstanding.usage(subtree, now)
                quota.check(subtree, quota.parse(limits.data), usage, more, self._warn)

    def _grow(self, path: str, zxid: int, znodes: int, size: int) -> None:
        if self._tree.quotas.usage:
            for subtree, _ in self._tree.quotas.covering(path):
                self.outstanding.grow(zxid, subtree, znodes, size)


def _next_version(now: int, expected: int, path: str) -> int:
    if expected not in (ANY_VERSION, now):
        raise CoordinationError(Code.BAD_VERSION, path)
    return signed32(now + 1) if now != -2 else 0  # never -1, which would match every expectation


_PREPARE: dict[type, Callable[[Preparer, Any, _Asked], Any]] = {
    Create: Preparer._create,
    Delete: Preparer._delete,
    SetData: Preparer._set_data,
    SetAcl: Preparer._set_acl,
    Check: Preparer._check,
    Multi: Preparer._multi,
    Reconfigure: Preparer._reconfigure,
}
