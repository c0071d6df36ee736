"""A leader in one piece, for tests: prepares, orders, encodes, decodes, applies, and fires watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.coordination.api import Code, CoordinationError, CreateSession, Event, Identity
from services.coordination.configuration import Configuration, Member
from services.coordination.state import digest
from services.coordination.state.hierarchy import _terms, descend
from services.coordination.state.paths import ROOT
from services.coordination.state.prepare import DEFAULT, Limits, Preparer
from services.coordination.state.reads import Reader
from services.coordination.state.snapshot import Restoration, snapshot
from services.coordination.state.transactions import Transaction, decode, encode
from services.coordination.state.tree import Applied, Tree
from services.coordination.state.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Iterable

ENSEMBLE = Configuration.of([Member.parse(f"server.{n}=zk{n}:2888:3888:participant;2181") for n in (1, 2, 3)])
EPOCH = 1 << 32


class Service:
    """One server that leads itself. Sessions 1, 2 and 3 are open; 3 is the super user's."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.tree = Tree(ENSEMBLE)
        self.warnings: list[str] = []
        self.preparer = Preparer(self.tree, limits, self.warnings.append)
        self.watches = Watches()
        self.reader = Reader(self.tree, self.watches)
        self.identities: dict[int, list[Identity]] = {
            1: [Identity("ip", "10.0.0.1")],
            2: [Identity("ip", "10.0.0.2"), Identity("digest", "two:x")],
            3: [Identity("super", "")],
        }
        self.zxid = EPOCH
        self.time = 1_700_000_000_000
        self.log: list[tuple[int, bytes]] = []
        self.delivered = 0
        self.events: list[tuple[int, Event]] = []
        self.results: list[Applied] = []
        for session in (1, 2, 3):
            self.do(CreateSession(30_000, b"secret"), session)

    def ask(self, request: Any, session: int = 1, server: int = 1, synced: Any = None) -> Transaction:
        """Prepares and proposes."""
        self.zxid += 1
        self.time += 7
        transaction = self.preparer.prepare(
            request,
            session=session,
            cxid=len(self.log),
            server=server,
            identities=self.identities.get(session, []),
            time=self.time,
            zxid=self.zxid,
            synced=synced,
        )
        self.log.append((self.zxid, encode(transaction)))
        return transaction

    def deliver(self, number: int = 1_000_000) -> list[Applied]:
        """Delivers so many of what is outstanding."""
        applied = []
        for zxid, data in self.log[self.delivered : self.delivered + number]:
            one = self.tree.apply(zxid, decode(data))
            self.preparer.delivered(zxid)
            self.events += self.watches.fire(zxid, one.changes, self.may_read)
            applied.append(one)
            self.delivered += 1
        self.results += applied
        return applied

    def do(self, request: Any, session: int = 1, **more: Any) -> Applied:
        """Prepares, proposes and delivers."""
        self.ask(request, session, **more)
        return self.deliver()[-1]

    def code(self, request: Any, session: int = 1, **more: Any) -> Code:
        """Does it and returns how it went."""
        return self.do(request, session, **more).code

    def read(self, request: Any, session: int = 1) -> Any:
        """Reads; returns the result, or the code."""
        try:
            return self.reader.read(request, session, self.identities.get(session, []))
        except CoordinationError as error:
            return error.code

    def told(self) -> list[tuple[int, str, str]]:
        """Returns who was told what since the last call."""
        events, self.events = self.events, []
        return [(session, event.type.name, event.path) for session, event in events]

    def may_read(self, session: int, acl: Any) -> bool:
        """Says whether a session may read."""
        return acl.permits(1, self.identities.get(session, []))


def contents(tree: Tree) -> dict[str, Any]:
    """Returns all that is in a tree, to compare."""
    reader = Reader(tree, Watches(), check_acl=False)
    znodes = {}
    for path, _ in descend(ROOT, tree.root):
        found = reader._lookup(path)
        assert found is not None
        znodes[path] = (
            found.data,
            found.acl.entries,
            found.stat(),
            found.created,
            sorted(found.children or ()),
        )
    return {
        "znodes": znodes,
        "sessions": dict(tree.sessions),
        "ephemerals": {session: sorted(paths) for session, paths in tree.ephemerals.items()},
        "containers": sorted(tree.containers),
        "expiring": sorted(tree.expiring),
        "configuration": tree.configuration,
        "quotas": {path: (usage.count, usage.size) for path, usage in tree.quotas.usage.items()},
        "count": len(tree),
        "size": tree.data_size,
        "digest": tree.digest,
    }


def digest_anew(tree: Tree) -> int:
    """Returns the digest as it is when it is not kept up to date, but computed."""
    total = sum(_terms(path, znode) for path, znode in descend(ROOT, tree.root))
    total += sum(digest.of_session(number, session) for number, session in tree.sessions.items())
    return total & digest.MASK


def restored(pieces: Iterable[bytes]) -> Tree:
    """Returns the tree of a snapshot."""
    restoration = Restoration()
    for piece in pieces:
        restoration.add(piece)
    return restoration.finish()


def copy(tree: Tree) -> Tree:
    """Returns another tree with the same contents."""
    return restored(snapshot(tree))
