"""Access control: who a session is, and what a znode's list lets it do.

Schemes: `world` (everybody), `auth` (whoever sets the list; replaced by what that is), `digest`
("user:hash"), `ip` (an address or a network). Lists are not recursive: a child's has nothing to do with its
parent's.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakValueDictionary
from zlib import crc32

import msgspec

from services.coordination.api import OPEN_ACL, Acl, Code, CoordinationError, Identity, Permission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUPER = Identity("super", "")
"""Who may do everything."""


class AccessList:
    """An access control list in use: one object for all znodes that have the same one.

    Attributes:
        entries: the list.
        anyone: what it allows to everybody.
        checksum: of the entries, for the tree's digest.
    """

    __slots__ = ("__weakref__", "anyone", "checksum", "entries")

    _known: ClassVar[WeakValueDictionary[tuple[Acl, ...], AccessList]] = WeakValueDictionary()

    def __init__(self, entries: tuple[Acl, ...]) -> None:
        self.entries = entries
        self.anyone = 0
        for entry in entries:
            if entry.scheme == "world" and entry.id == "anyone":
                self.anyone |= int(entry.permissions)
        self.checksum = crc32(msgspec.msgpack.encode(entries))

    def __repr__(self) -> str:
        return f"AccessList({self.entries!r})"

    @classmethod
    def of(cls, entries: tuple[Acl, ...]) -> AccessList:
        """Returns the one object for these entries; none stand for the open list."""
        if not entries or entries is OPEN_ACL or entries == OPEN_ACL:
            return OPEN
        known = cls._known.get(entries)
        if known is None:
            known = cls._known[entries] = cls(entries)
        return known

    def permits(self, permission: int, identities: Iterable[Identity]) -> bool:
        """Says whether somebody with these identities has one of these permissions."""
        if self.anyone & permission:
            return True
        for who in identities:
            if who.scheme == "super":
                return True
            for entry in self.entries:
                if entry.permissions & permission and entry.scheme == who.scheme and _matches(entry, who):
                    return True
        return False

    def masked(self) -> tuple[Acl, ...]:
        """Returns the entries without the hashes of passwords, for who may read but not administer."""
        return tuple(
            Acl(entry.permissions, entry.scheme, f"{entry.id.partition(':')[0]}:x")
            if entry.scheme == "digest"
            else entry
            for entry in self.entries
        )


OPEN = AccessList(OPEN_ACL)
READ_ONLY = AccessList.of((Acl(Permission.READ, "world", "anyone"),))
"""Of /zookeeper/config: only the super user may change the ensemble, unless it gives that away."""


def resolve(entries: Sequence[Acl], identities: Iterable[Identity]) -> tuple[Acl, ...]:
    """Returns the list that is meant: "auth" replaced by the requester's identities, doubles dropped.

    Raises:
        CoordinationError: INVALID_ACL: it is empty, an entry is malformed, or "auth" is asked for by nobody.
    """
    if entries is OPEN_ACL or entries == OPEN_ACL:
        return OPEN_ACL
    resolved: dict[Acl, None] = {}
    for entry in entries:
        if entry.scheme == "auth":
            own = [who for who in identities if who.scheme == "digest"]
            if not own:
                raise CoordinationError(Code.INVALID_ACL)
            resolved.update((Acl(entry.permissions, who.scheme, who.id), None) for who in own)
        elif _well_formed(entry):
            resolved[entry] = None
        else:
            raise CoordinationError(Code.INVALID_ACL)
    if not resolved:
        raise CoordinationError(Code.INVALID_ACL)
    return tuple(resolved)


def authenticate(scheme: str, credentials: bytes, super_digest: str = "") -> tuple[Identity, ...]:
    """Returns the identities that a client proves with `Authenticate`.

    Args:
        scheme: "digest"; "ip" proves nothing more than the connection does.
        credentials: b"user:password"; without a colon, the user's name.
        super_digest: "super:hash", of whoever may do everything; "" for nobody.

    Raises:
        CoordinationError: AUTH_FAILED.
    """
    if scheme == "ip":
        return ()
    if scheme != "digest":
        raise CoordinationError(Code.AUTH_FAILED)
    try:
        who = Identity("digest", digest_id(credentials))
    except ValueError:
        raise CoordinationError(Code.AUTH_FAILED) from None
    return (SUPER, who) if super_digest and who.id == super_digest else (who,)


def digest_id(credentials: bytes) -> str:
    """Returns the id of scheme "digest" that goes with b"user:password".

    Raises:
        ValueError: the user's name is not UTF-8.
    """
    user, _, _ = credentials.partition(b":")
    return f"{user.decode()}:{base64.b64encode(hashlib.sha1(credentials).digest()).decode()}"


def _well_formed(entry: Acl) -> bool:
    if not -0x80000000 <= entry.permissions <= 0x7FFFFFFF:
        return False
    match entry.scheme:
        case "world":
            return entry.id == "anyone"
        case "digest":
            return entry.id.count(":") == 1 and entry.id.encode(errors="ignore").decode() == entry.id
        case "ip":
            return _network(entry.id) is not None
    return False


def _matches(entry: Acl, who: Identity) -> bool:
    return _contains(entry.id, who.id) if entry.scheme == "ip" else entry.id == who.id


@lru_cache(1024)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(4096)
def _contains(network: str, address: str) -> bool:
    found = _network(network)
    try:
        return found is not None and ip_address(address) in found
    except ValueError:
        return False
