"""The tree of znodes and the open sessions: committed transactions applied in order.

Applying is idempotent, in the sense that a replay needs (4.2, 4.3). A snapshot is taken while transactions
go on being applied, so it holds some znodes as they were later than at its start; the transactions since
its start are then applied to it in order. While that goes on the tree may lack znodes, but only such as are
deleted before the snapshot's end; so what is missing is ignored. And it may hold numbers from later on; so
the ones that only grow (`created`, `pzxid`) never go back, and the others are set again by the last that
set them. See `snapshot.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

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
from services.coordination.state import digest, quota
from services.coordination.state.acl import READ_ONLY, AccessList
from services.coordination.state.paths import CONFIG, DEEPEST, QUOTA, ROOT, ZOOKEEPER
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
from services.coordination.state.znode import CONTAINER, Session, Znode, ttl_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


Outcome: TypeAlias = tuple[Code, AnyResult | None, tuple[Trigger, ...]]

_NOTHING = Nothing()
_NO_NODE: Outcome = (Code.NO_NODE, None, ())
_DONE: Outcome = (Code.OK, _NOTHING, ())


class Tree:
    """The state of a server.

    Attributes:
        root: the znode at "/".
        zxid: the last transaction applied.
        sessions: the open ones.
        ephemerals: paths by session (dicts are ordered sets here).
        containers: paths of containers.
        expiring: paths of znodes with a time to live.
        configuration: the ensemble, as of the last reconfiguration.
        quotas: what is in each subtree that has a quota.
        data_size: characters of all paths and bytes of all data.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        """Makes a tree as it is before the first transaction; without a configuration, a bare root."""
        self.root = Znode(b"")
        self.zxid = 0
        self.sessions: dict[int, Session] = {}
        self.ephemerals: dict[int, dict[str, None]] = {}
        self.containers: dict[str, None] = {}
        self.expiring: dict[str, None] = {}
        self.configuration = configuration or Configuration(())
        self.quotas = quota.Quotas()
        self.data_size = 0
        self._znodes = 1
        self._sum = _terms(ROOT, self.root)
        self._expected: tuple[int, int] | None = None
        if configuration is not None:
            self.hang(ZOOKEEPER, Znode(b""))
            self.hang(QUOTA, Znode(b""))
            self.hang(CONFIG, Znode(str(configuration).encode(), acl=READ_ONLY))

    def __len__(self) -> int:
        """Returns the number of znodes."""
        return self._znodes

    @property
    def digest(self) -> int:
        """The digest of the state, 64 bits (`digest.py`)."""
        return self._sum & digest.MASK

    def lookup(self, path: str) -> Znode | None:
        """Returns the znode at a path, if there is one."""
        if path == ROOT:
            return self.root
        before, *names = path.split("/", DEEPEST + 1)
        if before or not names:
            return None
        znode: Znode | None = self.root
        for name in names:
            children = znode.children  # type: ignore[union-attr]  # the loop goes on only from a znode
            if children is None:
                return None
            znode = children.get(name)
            if znode is None:
                return None
        return znode

    def apply(self, zxid: int, transaction: Transaction) -> Applied:
        """Applies a committed transaction: in zxid order, perhaps again (see above)."""
        change = transaction.change
        code, result, changes = _APPLY[type(change)](self, zxid, transaction, change)
        if zxid > self.zxid:
            self.zxid = zxid
            if self._expected is not None:
                self._compare()
        return Applied(code, result, changes)

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

    def hang(self, path: str, znode: Znode) -> None:
        """Puts a znode at a path.

        Raises:
            KeyError: there is no parent, or something is there.
        """
        if path == ROOT:
            self._sum += _terms(path, znode) - _terms(path, self.root)
            self.data_size += len(znode.data) - len(self.root.data)
            self.root = znode
            return
        where, _, name = path.rpartition("/")
        parent = self.lookup(where or ROOT)
        if parent is None or (parent.children is not None and name in parent.children):
            raise KeyError(path)
        if parent.children is None:
            parent.children = {}
        parent.children[name] = znode
        self._znodes += 1
        self.data_size += len(path) + len(znode.data)
        self._sum += _terms(path, znode)
        if znode.owner:
            self._index(znode.owner)[path] = None
        if self.quotas.usage:
            self.quotas.count(path, 1, len(znode.data))

    def _create(self, zxid: int, transaction: Transaction, change: CreateTxn) -> Outcome:
        path = change.path
        where, _, name = path.rpartition("/")
        where = where or ROOT
        parent = self.lookup(where)
        if parent is None or parent.czxid > zxid:
            return _NO_NODE
        if parent.children is not None and (there := parent.children.get(name)) is not None:
            return Code.OK, Created(path, there.stat()), ()  # again
        key = digest.key_of(where)
        self._sum -= digest.of_children(key, parent)
        parent.created = max(parent.created, change.created)
        parent.pzxid = max(parent.pzxid, zxid)
        self._sum += digest.of_children(key, parent)
        acl = AccessList.of(change.acl)
        time = transaction.time
        znode = Znode(change.data, acl, change.owner, zxid, zxid, zxid, time, time)
        self.hang(path, znode)
        subtree = quota.subject(path)
        if subtree is not None:
            self.quotas.usage[subtree] = self.usage(subtree)
        changes = (
            Trigger(EventType.CREATED, path, acl),
            Trigger(EventType.CHILDREN_CHANGED, where, parent.acl),
        )
        return Code.OK, Created(path, znode.stat()), changes

    def _delete(self, zxid: int, transaction: Transaction, change: DeleteTxn) -> Outcome:
        return self._remove(zxid, change.path)

    def _remove(self, zxid: int, path: str) -> Outcome:
        where, _, name = path.rpartition("/")
        where = where or ROOT
        parent = self.lookup(where)
        if parent is None:
            return _NO_NODE
        if zxid > parent.pzxid:
            key = digest.key_of(where)
            self._sum -= digest.of_children(key, parent)
            parent.pzxid = zxid
            self._sum += digest.of_children(key, parent)
        znode = None if parent.children is None else parent.children.get(name)
        if parent.children is None or znode is None or znode.czxid > zxid:
            return _NO_NODE
        del parent.children[name]
        if not parent.children:
            parent.children = None
        if znode.children is None:
            self._forget(path, znode)
        else:  # only when a `Multi` that deletes and creates it is applied again: what is below will be, too
            for below, one in descend(path, znode):
                self._forget(below, one)
        changes = (
            Trigger(EventType.DELETED, path, znode.acl),
            Trigger(EventType.CHILDREN_CHANGED, where, parent.acl),
        )
        return Code.OK, _NOTHING, changes

    def _forget(self, path: str, znode: Znode) -> None:
        """Takes note that there is no such znode any more."""
        self._znodes -= 1
        self.data_size -= len(path) + len(znode.data)
        self._sum -= _terms(path, znode)
        if znode.owner:
            self._index(znode.owner).pop(path, None)
            if not self.ephemerals.get(znode.owner, True):
                del self.ephemerals[znode.owner]
        if self.quotas.usage:
            self.quotas.count(path, -1, -len(znode.data))
            subtree = quota.subject(path)
            if subtree is not None:
                self.quotas.usage.pop(subtree, None)

    def _set_data(self, zxid: int, transaction: Transaction, change: SetDataTxn) -> Outcome:
        path = change.path
        znode = self.lookup(path)
        if znode is None:
            return _NO_NODE
        if zxid >= znode.mzxid:
            self._write(path, znode, change.data, change.version, zxid, transaction.time)
        return Code.OK, Written(znode.stat()), (Trigger(EventType.DATA_CHANGED, path, znode.acl),)

    def _write(self, path: str, znode: Znode, data: bytes, version: int, zxid: int, time: int) -> None:
        key = digest.key_of(path)
        self._sum -= digest.of_znode(path, key, znode)
        grows = len(data) - len(znode.data)
        znode.data = data
        znode.version = version
        znode.mzxid = zxid
        znode.mtime = time
        self._sum += digest.of_znode(path, key, znode)
        self.data_size += grows
        if self.quotas.usage:
            self.quotas.count(path, 0, grows)

    def _set_acl(self, zxid: int, transaction: Transaction, change: SetAclTxn) -> Outcome:
        path = change.path
        znode = self.lookup(path)
        if znode is None or znode.czxid > zxid:
            return _NO_NODE
        key = digest.key_of(path)
        self._sum -= digest.of_znode(path, key, znode)
        znode.acl = AccessList.of(change.acl)
        znode.aversion = change.version
        self._sum += digest.of_znode(path, key, znode)
        return Code.OK, Written(znode.stat()), ()

    def _check(self, zxid: int, transaction: Transaction, change: CheckTxn) -> Outcome:
        return _DONE

    def _multi(self, zxid: int, transaction: Transaction, change: MultiTxn) -> Outcome:
        results: list[AnyResult] = []
        changes: list[Trigger] = []
        for part in change.changes:
            code, result, triggers = _APPLY[type(part)](self, zxid, transaction, part)
            results.append(Failed(code) if result is None else result)
            changes += triggers
        return Code.OK, Several(tuple(results)), tuple(changes)

    def _failed_multi(self, zxid: int, transaction: Transaction, change: FailedMultiTxn) -> Outcome:
        code = next((code for code in change.codes if code), Code.OK)
        return code, Several(tuple(map(Failed, change.codes))), ()

    def _open_session(self, zxid: int, transaction: Transaction, change: OpenSessionTxn) -> Outcome:
        self.add_session(transaction.session, Session(change.timeout, change.password))
        return _DONE

    def add_session(self, number: int, session: Session) -> None:
        """Opens a session."""
        self._forget_session(number)
        self.sessions[number] = session
        self._sum += digest.of_session(number, session)

    def _forget_session(self, number: int) -> None:
        session = self.sessions.pop(number, None)
        if session is not None:
            self._sum -= digest.of_session(number, session)

    def _close_session(self, zxid: int, transaction: Transaction, change: CloseSessionTxn) -> Outcome:
        changes: list[Trigger] = []
        for path in change.paths:
            changes += self._remove(zxid, path)[2]
        self._forget_session(transaction.session)
        return Code.OK, _NOTHING, tuple(changes)

    def _reconfigure(self, zxid: int, transaction: Transaction, change: ReconfigureTxn) -> Outcome:
        znode = self.lookup(CONFIG)
        if znode is None:
            return _NO_NODE
        data = change.text.encode()
        if zxid >= znode.mzxid:
            self.configuration = Configuration.parse(change.text)
            self._write(
                CONFIG, znode, data, -1, zxid, transaction.time
            )  # Apache's has no version but the text's
        return Code.OK, Data(data, znode.stat()), (Trigger(EventType.DATA_CHANGED, CONFIG, znode.acl),)

    def _error(self, zxid: int, transaction: Transaction, change: ErrorTxn) -> Outcome:
        return change.code, None, ()

    def _index(self, owner: int) -> dict[str, None]:
        """Returns the set of paths that a znode with that owner belongs in."""
        if owner == CONTAINER:
            return self.containers
        if ttl_of(owner) is not None:
            return self.expiring
        return self.ephemerals.setdefault(owner, {})

    def count_quotas(self) -> None:
        """Finds the quotas of a tree that was not made by transactions, and counts what they are about."""
        top = self.lookup(QUOTA)
        for path, _ in descend(QUOTA, top) if top is not None else ():
            subtree = quota.subject(path)
            if subtree is not None:
                self.quotas.usage[subtree] = self.usage(subtree)

    def usage(self, path: str) -> quota.Usage:
        """Counts what there is at a path and below."""
        top = self.lookup(path)
        usage = quota.Usage()
        for _, znode in descend(path, top) if top is not None else ():
            usage.count += 1
            usage.size += len(znode.data)
        return usage


def descend(path: str, top: Znode) -> Iterator[tuple[str, Znode]]:
    """Yields a znode and all its descendants, parents first. Nothing may change meanwhile."""
    waiting = [(path, top)]
    while waiting:
        path, znode = waiting.pop()
        yield path, znode
        if znode.children is not None:
            stem = "" if path == ROOT else path
            waiting += [(f"{stem}/{name}", child) for name, child in znode.children.items()]


def _terms(path: str, znode: Znode) -> int:
    key = digest.key_of(path)
    return digest.of_znode(path, key, znode) + digest.of_children(key, znode)


_APPLY: dict[type, Callable[[Tree, int, Transaction, Any], Outcome]] = {
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
