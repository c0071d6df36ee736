"""The tree of znodes and the open sessions: committed transactions applied in order.

Applying is idempotent in the sense that a replay needs (4.2, 4.3): transactions in their order, from one that
the state may hold already up to one that it does not hold. Until it is past all that the state held:

- What is missing is ignored: the replay comes to its deletion.
- What is there but was created later is used, or deleted, in vain: the replay creates it again.
- What a transaction sets is set, back in time if need be: the last that set it sets it again.
- `created` and `pzxid` only grow, because a creation that finds its znode there leaves the parent alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from services.coordination.api import (
    AnyResult,
    Code,
    Created,
    Data,
    EventType,
    Failed,
    Nothing,
    Several,
    Written,
)
from services.coordination.configuration import Configuration
from services.coordination.state import digest
from services.coordination.state.acl import AccessList
from services.coordination.state.hierarchy import Hierarchy
from services.coordination.state.paths import CONFIG, QUOTA, ROOT
from services.coordination.state.transactions import (
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
from services.coordination.state.znode import Session, Znode

if TYPE_CHECKING:
    from collections.abc import Callable


class Trigger(Struct, frozen=True, gc=False):
    """What watches may look at; `acl` is the znode's, for whoever may not read it is not told."""

    type: EventType
    path: str
    acl: AccessList


class Applied(Struct, frozen=True, gc=False):
    """What has come of a transaction: the answer to whoever asked, and what has changed, in order."""

    code: Code
    result: AnyResult | None
    changes: tuple[Trigger, ...] = ()


class Diverged(Exception):
    """The state is not what it is elsewhere, by a fault of program or memory: it must not be served."""


_OK = Code.OK  # looking a member up costs more than a global
_CREATED, _DELETED = EventType.CREATED, EventType.DELETED
_DATA_CHANGED, _CHILDREN_CHANGED = EventType.DATA_CHANGED, EventType.CHILDREN_CHANGED
_NOTHING = Nothing()
_NO_NODE = Applied(Code.NO_NODE, None)
_DONE = Applied(_OK, _NOTHING)


class Tree(Hierarchy):
    """The state of a server. `zxid` is the last transaction applied."""

    def __init__(self, configuration: Configuration | None = None) -> None:
        """Makes what there is before the first transaction; without a configuration, a bare root."""
        super().__init__(configuration)
        self.zxid = 0
        self._expected: tuple[int, int] | None = None

    def apply(self, zxid: int, transaction: Transaction) -> Applied:
        """Applies a committed transaction: in zxid order, perhaps again (see above)."""
        change = transaction.change
        applied = _APPLY[type(change)](self, zxid, transaction, change)
        if zxid > self.zxid:
            self.zxid = zxid
            if self._expected is not None:
                self._compare()
        return applied

    def expect(self, zxid: int, value: int) -> None:
        """Says what the digest must be at a transaction: a replay of a fuzzy snapshot is right from there on.

        Raises:
            Diverged: it is not.
        """
        self._expected = zxid, value
        self._compare()

    @property
    def fuzzy(self) -> bool:
        """Whether the replay has yet to reach the end of the snapshot that the tree began with."""
        return self._expected is not None

    def _compare(self) -> None:
        if self._expected is not None and self.zxid >= self._expected[0]:
            zxid, value = self._expected
            self._expected = None
            if self.zxid == zxid and self.digest != value:
                raise Diverged(f"the state at zxid {zxid:#x} is not what it was when the snapshot was taken")

    def _create(self, zxid: int, transaction: Transaction, change: CreateTxn) -> Applied:
        path = change.path
        where, _, name = path.rpartition("/")
        parent = self._parents.get(where) or self.lookup(where)
        if parent is None:
            return _NO_NODE
        if parent.children is not None and (there := parent.children.get(name)) is not None:
            return Applied(_OK, Created(path, there.stat()))  # again
        above = where or ROOT
        key = digest.key_of(above)
        before = digest.of_children(key, parent)
        if change.created > parent.created:
            parent.created = change.created
        if zxid > parent.pzxid:
            parent.pzxid = zxid
        self._sum += digest.of_children(key, parent) - before
        acl = AccessList.of(change.acl)
        time = transaction.time
        znode = Znode(change.data, acl, change.owner, zxid, zxid, zxid, time, time)
        self._hang(path, znode, parent, where, name)
        if path.startswith(QUOTA):
            self._begin_quota(path)
        return Applied(
            _OK,
            Created(path, znode.stat()),
            (Trigger(_CREATED, path, acl), Trigger(_CHILDREN_CHANGED, above, parent.acl)),
        )

    def _delete(self, zxid: int, transaction: Transaction, change: DeleteTxn) -> Applied:
        return self._remove(zxid, change.path)

    def _remove(self, zxid: int, path: str) -> Applied:
        where, _, name = path.rpartition("/")
        parent = self._parents.get(where) or self.lookup(where)
        if parent is None:
            return _NO_NODE
        above = where or ROOT
        if zxid > parent.pzxid:
            key = digest.key_of(above)
            before = digest.of_children(key, parent)
            parent.pzxid = zxid
            self._sum += digest.of_children(key, parent) - before
        znode = None if parent.children is None else parent.children.get(name)
        if znode is None:
            return _NO_NODE
        self._unhang(path, znode, parent, where, name)
        return Applied(
            _OK,
            _NOTHING,
            (Trigger(_DELETED, path, znode.acl), Trigger(_CHILDREN_CHANGED, above, parent.acl)),
        )

    def _set_data(self, zxid: int, transaction: Transaction, change: SetDataTxn) -> Applied:
        path = change.path
        znode = self.lookup(path)
        if znode is None:
            return _NO_NODE
        self._write(path, znode, change.data, change.version, zxid, transaction.time)
        return Applied(_OK, Written(znode.stat()), (Trigger(_DATA_CHANGED, path, znode.acl),))

    def _set_acl(self, zxid: int, transaction: Transaction, change: SetAclTxn) -> Applied:
        path = change.path
        znode = self.lookup(path)
        if znode is None:
            return _NO_NODE
        key = digest.key_of(path)
        before = digest.of_znode(path, key, znode)
        znode.acl = AccessList.of(change.acl)
        znode.aversion = change.version
        self._sum += digest.of_znode(path, key, znode) - before
        return Applied(_OK, Written(znode.stat()))

    def _check(self, zxid: int, transaction: Transaction, change: CheckTxn) -> Applied:
        return _DONE

    def _multi(self, zxid: int, transaction: Transaction, change: MultiTxn) -> Applied:
        results: list[AnyResult] = []
        changes: list[Trigger] = []
        for part in change.changes:
            applied = _APPLY[type(part)](self, zxid, transaction, part)
            results.append(applied.result or Failed(applied.code))
            changes += applied.changes
        return Applied(_OK, Several(tuple(results)), tuple(changes))

    def _failed_multi(self, zxid: int, transaction: Transaction, change: FailedMultiTxn) -> Applied:
        code = next((code for code in change.codes if code), _OK)
        return Applied(code, Several(tuple(map(Failed, change.codes))))

    def _open_session(self, zxid: int, transaction: Transaction, change: OpenSessionTxn) -> Applied:
        self.add_session(transaction.session, Session(change.timeout, change.password))
        return _DONE

    def _close_session(self, zxid: int, transaction: Transaction, change: CloseSessionTxn) -> Applied:
        changes: list[Trigger] = []
        for path in change.paths:
            changes += self._remove(zxid, path).changes
        self.remove_session(transaction.session)
        return Applied(_OK, _NOTHING, tuple(changes))

    def _reconfigure(self, zxid: int, transaction: Transaction, change: ReconfigureTxn) -> Applied:
        znode = self.lookup(CONFIG)
        if znode is None:
            return _NO_NODE
        data = change.text.encode()
        self.configuration = Configuration.parse(change.text)
        self._write(CONFIG, znode, data, -1, zxid, transaction.time)  # as Apache: its version is in the text
        return Applied(_OK, Data(data, znode.stat()), (Trigger(_DATA_CHANGED, CONFIG, znode.acl),))

    def _error(self, zxid: int, transaction: Transaction, change: ErrorTxn) -> Applied:
        return Applied(change.code, None)


_APPLY: dict[type, Callable[[Tree, int, Transaction, Any], Applied]] = {
    CreateTxn: Tree._create,
    DeleteTxn: Tree._delete,
    SetDataTxn: Tree._set_data,
    SetAclTxn: Tree._set_acl,
    CheckTxn: Tree._check,
    MultiTxn: Tree._multi,
    FailedMultiTxn: Tree._failed_multi,
    OpenSessionTxn: Tree._open_session,
    CloseSessionTxn: Tree._close_session,
    ReconfigureTxn: Tree._reconfigure,
    ErrorTxn: Tree._error,
}
