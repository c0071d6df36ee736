"""ZooKeeper's responses as of 3.8: results of `api` to bytes.

A result is written as the body of a response; `reply`, `event` and `greet` return whole ones, with length.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from services.coordination import api
from services.coordination.api import Code
from services.coordination.wire.jute import INT, buffer, text, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    Write: TypeAlias = Callable[[Any], bytes] | None
    """Writes a result as the body of a response; None where the response is only a header."""

NOTIFICATION = -1
"""xid of what nobody asked for."""

PASSWORD_SIZE = 16
OPERATION = Struct(">i?i")  # of a multi: type, done, error

_REPLY = Struct(">iiqi")  # length, xid, zxid, error
_EVENT = Struct(">iiqiii")  # the same, then type, state
_CONNECTED = Struct(">iiiq")  # length, protocol version, timeout, session
_STAT = Struct(">qqqqiiiqiiq")
_NO_MORE = OPERATION.pack(-1, True, -1)

_pack = INT.pack


def greet(session: int, timeout: int, password: bytes, read_only: bool | None) -> bytes:
    """Returns a `ConnectResponse`, with its length; `read_only` is left out when None.

    A session that is over is answered with id and timeout 0.
    """
    tail = buffer(password.ljust(PASSWORD_SIZE, b"\0")) + (b"" if read_only is None else bytes([read_only]))
    return _CONNECTED.pack(_CONNECTED.size - 4 + len(tail), 0, timeout, session) + tail


def stat(value: api.Stat) -> bytes:
    """Returns a `Stat`."""
    return _STAT.pack(
        value.czxid,
        value.mzxid,
        value.ctime,
        value.mtime,
        value.version,
        value.cversion,
        value.aversion,
        value.ephemeral_owner,
        value.data_length,
        value.num_children,
        value.pzxid,
    )


def path(result: api.Created) -> bytes:
    """Writes a `CreateResponse`."""
    return text(result.path)


def created(result: api.Created) -> bytes:
    """Writes a `Create2Response`."""
    return text(result.path) + stat(result.stat)


def written(result: api.Written) -> bytes:
    """Writes what is no more than a `Stat`."""
    return stat(result.stat)


def data(result: api.Data) -> bytes:
    """Writes a `GetDataResponse`."""
    return buffer(result.data) + stat(result.stat)


def names(result: api.Children) -> bytes:
    """Writes a `GetChildrenResponse`."""
    return vector(map(text, result.names))


def children(result: api.Children) -> bytes:
    """Writes a `GetChildren2Response`."""
    return vector(map(text, result.names)) + stat(result.stat)


def acl(result: api.AclOf) -> bytes:
    """Writes a `GetACLResponse`."""
    entries = [_pack(entry.permissions) + text(entry.scheme) + text(entry.id) for entry in result.acl]
    return vector(entries) + stat(result.stat)


def paths(result: api.Paths) -> bytes:
    """Writes a `GetEphemeralsResponse`."""
    return vector(map(text, result.paths))


def count(result: api.Count) -> bytes:
    """Writes a `GetAllChildrenNumberResponse`."""
    return _pack(result.count)


def identities(result: api.Identities) -> bytes:
    """Writes who the session is; what proves a digest stays here."""
    return vector(
        text(who.scheme) + text(who.id.partition(":")[0] if who.scheme == "digest" else who.id)
        for who in result.identities
    )


def no_error(result: api.Nothing) -> bytes:
    """Writes the `ErrorResponse` that `addWatch` is answered with."""
    return _pack(0)


def same_path(path: str, result: api.Nothing) -> bytes:
    """Writes a `SyncResponse`."""
    return text(path)


def _error(code: int) -> bytes:
    return OPERATION.pack(-1, False, code) + _pack(code)


def several(kinds: list[int], result: api.Several) -> bytes:
    """Writes the results of a `multi`.

    Where one failed, those before it were undone and are told OK, those after it RUNTIME_INCONSISTENCY.
    """
    failed = None
    for number, part in enumerate(result.results):
        if isinstance(part, api.Failed) and part.code not in (Code.OK, Code.RUNTIME_INCONSISTENCY):
            failed = number
            break
    if failed is not None:
        culprit = cast("api.Failed", result.results[failed])
        after = len(result.results) - failed - 1
        errors = [_error(0)] * failed + [_error(culprit.code)] + [_error(Code.RUNTIME_INCONSISTENCY)] * after
        return b"".join(errors) + _NO_MORE
    parts = []
    for kind, part in zip(kinds, result.results, strict=True):
        if isinstance(part, api.Failed):
            parts.append(_error(part.code))
            continue
        told, write = _PARTS[kind]
        parts.append(OPERATION.pack(told, False, 0))
        if write is not None:
            parts.append(write(part))
    return b"".join(parts) + _NO_MORE


def several_reads(kinds: list[int], result: api.Several) -> bytes:
    """Writes the results of a `multiRead`."""
    parts = []
    for kind, part in zip(kinds, result.results, strict=True):
        if isinstance(part, api.Failed):
            parts.append(_error(part.code))
        else:
            write: Any = data if kind == 4 else names
            parts.append(OPERATION.pack(kind, False, 0) + write(part))
    return b"".join(parts) + _NO_MORE


def reply(xid: int, zxid: int, code: int, body: bytes = b"") -> bytes:
    """Returns a response, with its length."""
    return _REPLY.pack(16 + len(body), xid, zxid, code) + body


def event(value: api.Event) -> bytes:
    """Returns a notification, with its length. It has no zxid: 3.8 tells none."""
    where = value.path.encode("utf-8", "replace")
    return _EVENT.pack(28 + len(where), NOTIFICATION, -1, 0, value.type, value.state) + buffer(where)


_PARTS: dict[int, tuple[int, Write]] = {
    1: (1, path),
    2: (2, None),
    5: (5, written),
    13: (13, None),
    15: (1, path),  # as Apache does it
    19: (15, created),
    21: (15, created),
}
"""What each operation of a `multi` is answered with: a type, and how the result is written."""
