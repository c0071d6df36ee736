"""Fuzzy snapshots (4.3): the state in pieces, taken while transactions go on being applied.

Each piece is taken at one instant, all together at none. What makes the replay right: a snapshot begun at
zxid s holds only znodes that were there at s. Those created later are left out, for the replay creates them
again; those deleted meanwhile may be missing, for whatever the replay still does to them is in vain. So
there is never a znode without its parent, or one that the replay would create a second time. Numbers in it
may be from later than s; see `tree.py`. At the end stands the digest of the state at that instant: once the
replay is there, it must agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from services.coordination.api import Acl
from services.coordination.configuration import Configuration
from services.coordination.state.acl import AccessList
from services.coordination.state.paths import CONFIG, ROOT
from services.coordination.state.tree import Tree
from services.coordination.state.znode import Session, Znode

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
PIECE = 64 * 1024  # bytes of data and paths, from which on a piece is full


class _Head(Struct, array_like=True, tag="head"):
    format: int
    zxid: int


class _Sessions(Struct, array_like=True, tag="sessions"):
    sessions: list[tuple[int, int, bytes]]


Row: TypeAlias = tuple[str, bytes | None, int, int, int, int, int, int, int, int, int, int]


class _Znodes(Struct, array_like=True, tag="znodes"):
    lists: list[tuple[int, tuple[Acl, ...]]]
    """Access control lists that first appear here, with the numbers that stand for them."""
    rows: list[Row]


class _End(Struct, array_like=True, tag="end"):
    znodes: int
    zxid: int
    digest: int


_Piece: TypeAlias = _Head | _Sessions | _Znodes | _End
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Piece).decode


def snapshot(tree: Tree) -> Iterator[bytes]:
    """Yields the state in pieces, none of them empty, each as it is when it is asked for.

    The tree may change between two pieces. The replay must begin no later than after the last transaction
    that is applied when the first piece is asked for.
    """
    start = tree.zxid
    yield _encode(_Head(FORMAT, start))
    sessions = [(number, session.timeout, session.password) for number, session in tree.sessions.items()]
    for first in range(0, len(sessions), 1000):
        yield _encode(_Sessions(sessions[first : first + 1000]))

    written = 0
    numbers: dict[AccessList, int] = {}
    piece, size = _Znodes([], []), 0
    above: list[tuple[str, Znode, Iterator[str]]] = []
    path, znode = ROOT, tree.root
    while True:
        number = numbers.get(znode.acl)
        if number is None:
            number = numbers[znode.acl] = len(numbers)
            piece.lists.append((number, znode.acl.entries))
        piece.rows.append(_row(path, znode, number))
        written += 1
        size += len(path) + znode.size
        if znode.children is not None:
            above.append(("" if path == ROOT else path, znode, iter(list(znode.children))))
        if size >= PIECE:
            yield _encode(piece)
            piece, size = _Znodes([], []), 0
        found = _next(above, start)
        if found is None:
            break
        path, znode = found
    if piece.rows:
        yield _encode(piece)
    yield _encode(_End(written, tree.zxid, tree.digest))


def _next(above: list[tuple[str, Znode, Iterator[str]]], start: int) -> tuple[str, Znode] | None:
    """Returns the next znode in depth-first order that was there at `start`, if it still is."""
    while above:
        stem, parent, names = above[-1]
        for name in names:
            znode = parent.children.get(name) if parent.children is not None else None
            if znode is not None and znode.czxid <= start:
                return f"{stem}/{name}", znode
        above.pop()
    return None


def _row(path: str, znode: Znode, acl: int) -> Row:
    return (
        path,
        znode.data,
        acl,
        znode.owner,
        znode.czxid,
        znode.mzxid,
        znode.pzxid,
        znode.ctime,
        znode.mtime,
        znode.version,
        znode.aversion,
        znode.created,
    )


class Restoration:
    """Makes a tree of the pieces of a snapshot, added in their order."""

    def __init__(self) -> None:
        self._tree = Tree()
        self._lists: dict[int, AccessList] = {}
        self._znodes = 0
        self._end: _End | None = None
        self._begun = False

    def add(self, piece: bytes) -> None:
        """Takes the next piece.

        Raises:
            ValueError: it is damaged, out of place, or of another format; the text says which.
        """
        try:
            what = _decode(piece)
        except msgspec.DecodeError as error:
            raise ValueError(f"a damaged snapshot: {error}") from None
        if self._end is not None or self._begun == isinstance(what, _Head):
            raise ValueError("a damaged snapshot: its pieces are out of order")
        match what:
            case _Head(format, zxid):
                if format != FORMAT:
                    raise ValueError(f"a snapshot of format {format}, this is format {FORMAT}")
                self._begun = True
                self._tree.zxid = zxid
            case _Sessions(sessions):
                for number, timeout, password in sessions:
                    self._tree.add_session(number, Session(timeout, password))
            case _Znodes(lists, rows):
                self._lists.update((number, AccessList.of(entries)) for number, entries in lists)
                for row in rows:
                    self._hang(row)
            case _End():
                self._end = what

    def _hang(self, row: Row) -> None:
        path, data, acl, owner, czxid, mzxid, pzxid, ctime, mtime, version, aversion, created = row
        try:
            znode = Znode(
                data,
                self._lists[acl],
                owner,
                czxid,
                czxid if mzxid == czxid else mzxid,  # one object for equal numbers: see `Znode`
                czxid if pzxid == czxid else pzxid,
                ctime,
                ctime if mtime == ctime else mtime,
                version,
                aversion,
                created,
            )
            if path == ROOT:
                self._tree.replace_root(znode)
            else:
                self._tree.hang(path, znode)
        except KeyError:
            raise ValueError(f"a damaged snapshot: what is at {path} does not fit") from None
        self._znodes += 1

    def finish(self) -> Tree:
        """Returns the tree, once all pieces are added.

        Raises:
            ValueError: something is missing.
        """
        tree, end = self._tree, self._end
        if end is None or end.znodes != self._znodes:
            raise ValueError("a damaged snapshot: its end is missing")
        config = tree.lookup(CONFIG)
        if config is None:
            raise ValueError(f"a damaged snapshot: it has no {CONFIG}")
        tree.configuration = Configuration.parse((config.data or b"").decode())
        tree.count_quotas()
        tree.expect(end.zxid, end.digest)
        return tree
