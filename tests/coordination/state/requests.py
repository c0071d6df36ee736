"""Random requests: few paths, so that they meet; often such as succeed, so that something comes of them.

They are drawn from a seed and not by Hypothesis, which likes to draw the same thing over and over. A shorter
list of the same seed is a prefix of a longer one, so Hypothesis still finds the shortest that fails.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from services.coordination.api import (
    OPEN_ACL,
    Acl,
    Check,
    CloseSession,
    Create,
    CreateMode,
    CreateSession,
    Delete,
    Multi,
    SetAcl,
    SetData,
)

PATHS = ["/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a"]
_RARE = ["/a/s-0000000000", "/a/s-0000000002", "/a/s-0000000003", "/b/s-0000000002", "/a/s-", "/zookeeper"]
SETTLE = [Create("/a"), Create("/b"), Create("/a/a"), Create("/a/b", mode=CreateMode.EPHEMERAL)]
"""What to begin with."""

_ACLS: list[tuple[Acl, ...]] = [
    *[OPEN_ACL] * 20,
    (Acl(1, "world", "anyone"),),
    (Acl(31, "auth", ""),),
    (Acl(31, "digest", "two:x"), Acl(1, "world", "anyone")),
    (Acl(23, "world", "anyone"),),
    (),
]
_MODES = [CreateMode.PERSISTENT] * 6 + list(CreateMode)

seeds = st.integers(0, 1 << 40)


def asked(random: Random) -> tuple[int, Any]:
    """Returns a session and what it asks."""
    session = random.choice([1, 1, 1, 1, 2, 2, 2, 3, 4])
    kind = random.random()
    if kind < 0.03:
        return session, CloseSession()
    if kind < 0.08:
        return session, CreateSession(10_000, b"pw")
    if kind < 0.13:
        return session, SetAcl(_path(random), random.choice(_ACLS), _version(random))
    if kind < 0.35:
        return session, Multi(tuple(_operation(random) for _ in range(random.randrange(5))))
    return session, _operation(random, alone=True)


def script(seed: int, length: int) -> list[tuple[int, Any]]:
    """Returns so many."""
    random = Random(seed)
    return [asked(random) for _ in range(length)]


def _path(random: Random) -> str:
    return random.choice(_RARE if random.random() < 0.2 else PATHS)


def _version(random: Random) -> int:
    return random.choice([-1, -1, -1, -1, 0, 1, 2])


def _operation(random: Random, alone: bool = False) -> Any:
    kind = random.random()
    if kind < 0.45:
        return _create(random)
    if kind < 0.65:
        return Delete(_path(random), _version(random))
    if kind < 0.9 or alone:
        return SetData(_path(random), random.choice([b"", b"x", b"longer"]), _version(random))
    return Check(_path(random), _version(random))


def _create(random: Random) -> Create:
    mode = random.choice(_MODES)
    path = random.choice(["/a/s-", "/b/s-", "/a/"]) if mode.sequential else _path(random)
    ttl = random.choice([1000, 1 << 39]) if mode.has_ttl else 0
    if random.random() < 0.02:
        ttl = 1 << 40
    return Create(path, random.choice([b"", b"x", b"longer"]), random.choice(_ACLS), mode, ttl)
