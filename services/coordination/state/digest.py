"""A digest of the whole state, kept up to date change by change: servers at the same zxid have the same one.

It is a sum over all znodes and sessions, so the order in which they came does not matter, and a change
costs only what was there before and what is there after. What a znode *is* and how its children *changed*
are two terms, so that creating a child need not go over the parent's data.

Two kinds of znode are left out, because servers may rightly differ in them: /zookeeper/config (before the
first reconfiguration it says what each was started with), and quotas' statistics (counted when they are
read).

The hash of a tuple of integers is not randomized and is the same in every CPython that this project
supports; tests hold it to fixed values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from services.coordination.state.paths import CONFIG
from services.coordination.state.quota import STATISTICS

if TYPE_CHECKING:
    from services.coordination.state.znode import Session, Znode

MASK = (1 << 64) - 1


def key_of(path: str) -> int:
    """Returns what stands for a path in the terms of its znode."""
    return crc32(path.encode())


def of_znode(path: str, key: int, znode: Znode) -> int:
    """Returns the term of what a znode is."""
    if path.startswith("/zookeeper/") and (path == CONFIG or path.endswith(STATISTICS)):
        return 0
    return hash(
        (
            key,
            -1 if znode.data is None else crc32(znode.data),
            znode.acl.checksum,
            znode.owner,
            znode.czxid,
            znode.mzxid,
            znode.ctime,
            znode.mtime,
            znode.version,
            znode.aversion,
        )
    )


def of_children(key: int, znode: Znode) -> int:
    """Returns the term of how a znode's children changed."""
    return hash((key, znode.created, znode.pzxid))


def of_session(number: int, session: Session) -> int:
    """Returns the term of an open session."""
    return hash((number, session.timeout, crc32(session.password)))
