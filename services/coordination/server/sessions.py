"""Names and passwords of sessions.

An id has the server that opened the session in its top byte, and below the time and a counter, as Apache's:
so ids of different servers never meet, and those of one neither, unless its clock is set back by as many
milliseconds as there were sessions since. (Then the leader refuses the second.)

A password is a hash of the id with a secret of the server that opened the session. It is part of the
session's transaction, so every server knows it, and no client can compute another's.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.host import Host

PASSWORD_BYTES = 16


class Names:
    """Draws ids and passwords.

    Args:
        host: for the time and chance.
        server: this server's id.
    """

    def __init__(self, host: Host, server: int) -> None:
        self._secret = host.rng.randbytes(32)
        self._next = ((host.clock.time_ns() // 1_000_000) << 16) & ((1 << 56) - 1)
        self._server = server

    def draw(self) -> tuple[int, bytes]:
        """Returns the id and the password of a new session."""
        session = (self._server << 56) | self._next
        self._next = (self._next + 1) & ((1 << 56) - 1)
        if session >= 1 << 63:
            session -= 1 << 64  # 64 bits with a sign, on the wire
        name = session.to_bytes(8, "big", signed=True)
        return session, hmac.digest(self._secret, name, hashlib.sha256)[:PASSWORD_BYTES]


def same_password(one: bytes, other: bytes) -> bool:
    """Compares in a time that says nothing about where they differ."""
    return hmac.compare_digest(one, other)
