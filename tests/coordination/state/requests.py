"""Hypothesis strategies for requests: few paths, so that they meet."""

from __future__ import annotations

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

PATHS = ["/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a", "/a/s-", "/b/s-", "/zookeeper/quota/a", "/zookeeper"]
SEQUENTIAL = ["/a/s-0000000000", "/a/s-0000000001", "/a/s-0000000003", "/b/s-0000000002"]
SESSIONS = [1, 2, 3, 4]

paths = st.sampled_from(PATHS + SEQUENTIAL)
data = st.sampled_from([b"", b"x", b"longer"])
versions = st.sampled_from([-1, -1, -1, 0, 1, 2])
acls = st.sampled_from(
    [
        *[OPEN_ACL] * 6,
        (Acl(1, "world", "anyone"),),
        (Acl(31, "auth", ""),),
        (Acl(31, "digest", "two:x"), Acl(1, "world", "anyone")),
        (Acl(23, "world", "anyone"),),
        (),
    ]
)
_ttls = {CreateMode.PERSISTENT_TTL: 1000, CreateMode.PERSISTENT_SEQUENTIAL_TTL: 1 << 39}


@st.composite
def creates(draw: Any) -> Create:
    """Creations, mostly such as may succeed."""
    mode = draw(st.sampled_from([CreateMode.PERSISTENT] * 4 + list(CreateMode)))
    path = draw(st.sampled_from(["/a/s-", "/b/s-", "/a/"]) if mode.sequential else paths)
    ttl = _ttls.get(mode, 0) if draw(st.integers(0, 9)) else 5
    return Create(path, draw(data), draw(acls), mode, ttl)


single = st.one_of(
    creates(),
    creates(),
    st.builds(Delete, paths, versions),
    st.builds(SetData, paths, data, versions),
)
multi = st.builds(
    lambda parts: Multi(tuple(parts)),
    st.lists(st.one_of(single, single, st.builds(Check, paths, versions)), max_size=5),
)
updates = st.one_of(
    single,
    single,
    single,
    multi,
    st.builds(SetAcl, paths, acls, versions),
    st.just(CloseSession()),
    st.just(CreateSession(10_000, b"pw")),
)
asked = st.tuples(st.sampled_from(SESSIONS), updates)
