"""Where znodes hang and what is kept about them: lookup, indexes, counts, digest.

Znodes hang in their parents. Those that have children are also found by their path, so that a look-up costs
the same at every depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.configuration import Configuration
from services.coordination.state import digest, quota
from services.coordination.state.acl import READ_ONLY
from services.coordination.state.paths import CONFIG, QUOTA, ROOT, ZOOKEEPER
from services.coordination.state.znode import CONTAINER, Session, Znode, ttl_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hierarchy:
    """The znodes and open sessions of a server, and what is counted and indexed about them.

    Attributes:
        root: the znode at "/".
        sessions: the open ones.
        ephemerals: paths by session (dicts are ordered sets here).
        containers: paths of containers.
        expiring: paths of znodes with a time to live.
        configuration: the ensemble, as of the last reconfiguration.
        quotas: what is in each subtree that has a quota.
        data_size: characters of all paths and bytes of all data.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        """Makes what there is before the first transaction; without a configuration, a bare root."""
        self.root = Znode(b"", children={})
        self.sessions: dict[int, Session] = {}
        self.ephemerals: dict[int, dict[str, None]] = {}
        self.containers: dict[str, None] = {}
        self.expiring: dict[str, None] = {}
        self.configuration = configuration or Configuration(())
        self.quotas = quota.Quotas()
        self.data_size = 0
        self._znodes = 1
        self._sum = _terms(ROOT, self.root)
        self._parents: dict[str, Znode] = {"": self.root}
        """Znodes with children (and the root), by their path without a slash at its end."""
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
        where, slash, name = path.rpartition("/")
        parent = self._parents.get(where)
        if parent is None or not slash:
            return None
        znode = parent.children.get(name)  # type: ignore[union-attr]  # it has some, or is the root
        return self.root if znode is None and path == ROOT else znode

    def hang(self, path: str, znode: Znode) -> None:
        """Puts a znode at a path.

        Raises:
            KeyError: there is no parent, or something is there.
        """
        where, _, name = path.rpartition("/")
        parent = self.lookup(where or ROOT)
        if parent is None or (parent.children is not None and name in parent.children):
            raise KeyError(path)
        self._hang(path, znode, parent, where, name)

    def _hang(self, path: str, znode: Znode, parent: Znode, where: str, name: str) -> None:
        children = parent.children
        if children is None:
            children = parent.children = {}
            self._parents[where] = parent
        children[name] = znode
        self._znodes += 1
        self.data_size += len(path) + znode.size
        self._sum += _terms(path, znode)
        if znode.owner:
            self._index(znode.owner)[path] = None
        if self.quotas.usage:
            self.quotas.count(path, 1, znode.size)

    def _unhang(self, path: str, znode: Znode, parent: Znode, where: str, name: str) -> None:
        children = parent.children
        assert children is not None
        del children[name]
        if not children and where:
            parent.children = None
            del self._parents[where]
        if znode.children is None:
            self._forget(path, znode)
        else:  # only in a replay: it was created again later, as were those below, and all will be once more
            for below, one in descend(path, znode):
                self._parents.pop(below, None)
                self._forget(below, one)

    def _forget(self, path: str, znode: Znode) -> None:
        self._znodes -= 1
        self.data_size -= len(path) + znode.size
        self._sum -= _terms(path, znode)
        if znode.owner:
            self._index(znode.owner).pop(path, None)
            if not self.ephemerals.get(znode.owner, True):
                del self.ephemerals[znode.owner]
        if self.quotas.usage:
            self.quotas.count(path, -1, -znode.size)
            subtree = quota.subject(path)
            if subtree is not None:
                self.quotas.usage.pop(subtree, None)

    def _write(self, path: str, znode: Znode, data: bytes | None, version: int, zxid: int, time: int) -> None:
        key = digest.key_of(path)
        before = digest.of_znode(path, key, znode)
        grows = (len(data) if data else 0) - znode.size
        znode.data = data
        znode.version = version
        znode.mzxid = zxid
        znode.mtime = time
        self._sum += digest.of_znode(path, key, znode) - before
        if grows:
            self.data_size += grows
            if self.quotas.usage:
                self.quotas.count(path, 0, grows)

    def replace_root(self, znode: Znode) -> None:
        """Puts another znode, without children, in the place of the root, which has none yet.

        Raises:
            KeyError: it has some.
        """
        if self.root.children:
            raise KeyError(ROOT)
        self._sum += _terms(ROOT, znode) - _terms(ROOT, self.root)
        self.data_size += znode.size - self.root.size
        znode.children = {}
        self.root = self._parents[""] = znode

    def add_session(self, number: int, session: Session) -> None:
        """Opens a session."""
        self.remove_session(number)
        self.sessions[number] = session
        self._sum += digest.of_session(number, session)

    def remove_session(self, number: int) -> None:
        """Closes a session, if it is open. Its ephemerals are another matter."""
        session = self.sessions.pop(number, None)
        if session is not None:
            self._sum -= digest.of_session(number, session)

    def _index(self, owner: int) -> dict[str, None]:
        """Returns the set of paths that a znode with that owner belongs in."""
        if owner == CONTAINER:
            return self.containers
        if ttl_of(owner) is not None:
            return self.expiring
        return self.ephemerals.setdefault(owner, {})

    def count_quotas(self) -> None:
        """Finds the quotas of what was not made by transactions, and counts what they are about."""
        top = self.lookup(QUOTA)
        for path, _ in descend(QUOTA, top) if top is not None else ():
            self._begin_quota(path)

    def _begin_quota(self, path: str) -> None:
        """Begins to count for the limits that may be at a path."""
        subtree = quota.subject(path)
        if subtree is not None:
            usage = self.quotas.usage[subtree] = quota.Usage()
            top = self.lookup(subtree)
            for _, znode in descend(subtree, top) if top is not None else ():
                usage.count += 1
                usage.size += znode.size


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
