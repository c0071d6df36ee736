"""A znode in memory, and a session: as lean as Python allows, for there are many.

A znode knows neither its name nor its parent: those are where it hangs. A fresh one has the same object for
its three zxids and for its two times. Without references upwards there are no cycles, so the garbage
collector need not look at the tree (`gc=False`).
"""

from __future__ import annotations

from msgspec import Struct

from services.coordination.api import Stat
from services.coordination.state.acl import OPEN, AccessList

CONTAINER = -(1 << 63)
"""The owner of a container. It is no session, nor is an owner whose top byte is 0xff (`EphemeralType`)."""
_TTL = -(1 << 56)  # 0xff in the top byte
LONGEST_TTL = (1 << 40) - 1  # ms


def ttl_owner(ttl: int) -> int:
    """Returns the owner of a znode that lives `ttl` ms after its last change."""
    return _TTL | ttl


def ttl_of(owner: int) -> int | None:
    """Returns the time to live in ms that an owner stands for, None for any other owner."""
    return owner & LONGEST_TTL if owner & _TTL == _TTL else None


def is_session(owner: int) -> bool:
    """Says whether a znode with that owner is an ephemeral."""
    return owner != 0 and owner != CONTAINER and owner & _TTL != _TTL


def signed32(number: int) -> int:
    """Returns a number as Apache's 32 bits with a sign show it."""
    if -0x80000000 <= number <= 0x7FFFFFFF:
        return number
    return ((number + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Znode(Struct, gc=False):
    """A znode.

    Attributes:
        data: None where a client has written null, which its readers can tell from an empty string.
        owner: of an ephemeral its session; or what makes it a container or gives it a time to live; or 0.
        created: how many children were ever created under it: it only grows, and numbers sequential names.
        children: by name; None while there are none.
    """

    data: bytes | None
    acl: AccessList = OPEN
    owner: int = 0
    czxid: int = 0
    mzxid: int = 0
    pzxid: int = 0
    ctime: int = 0
    mtime: int = 0
    version: int = 0
    aversion: int = 0
    created: int = 0
    children: dict[str, Znode] | None = None

    @property
    def size(self) -> int:
        """The bytes of its data."""
        return len(self.data) if self.data else 0

    def stat(self) -> Stat:
        """Returns what clients see of it.

        Its owner only where that is a session: what else `owner` says clients are not told, as with Apache.
        `cversion` counts creations and deletions of children, which is what `created` and the children
        still there tell.
        """
        owner = self.owner
        children = 0 if self.children is None else len(self.children)
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            signed32(2 * self.created - children),
            self.aversion,
            owner if is_session(owner) else 0,
            self.size,
            children,
            self.pzxid,
        )


class Session(Struct, frozen=True, gc=False):
    """An open session, as all servers know it. `timeout` in ms."""

    timeout: int
    password: bytes
