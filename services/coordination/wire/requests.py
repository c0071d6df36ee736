"""ZooKeeper's requests as of 3.8: frames to the requests of `api`.

A frame here is without its length, and begins with xid and type. Each type has a reader, which returns the
request together with how its result is to be written: some are written in more than one way (`create`,
`create2`), and some need the request again (`sync`, `multi`).

Numbers of types are those of `ZooDefs.OpCode`, layouts those of `zookeeper.jute`.
"""

from __future__ import annotations

from functools import partial
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from services.coordination import api
from services.coordination.api import Code
from services.coordination.front import Hello
from services.coordination.wire import results
from services.coordination.wire.jute import (
    INT,
    Malformed,
    read_bool,
    read_buffer,
    read_data,
    read_int,
    read_long,
    read_text,
    read_vector,
    text,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.wire.results import Write

    Read: TypeAlias = Callable[[bytes], tuple[api.AnyRequest, Write]]

_REQUEST = Struct(">ii")  # xid, type
_CONNECT = Struct(">iqiq")  # protocol version, last zxid, timeout, session
_OPERATION = results.OPERATION

_int = INT.unpack_from

_OPEN_ACL = vector([INT.pack(31) + text("world") + text("anyone")])
_MODES = tuple(api.CreateMode)


class Refused(Exception):
    """A request that is well-formed, and asks for what there is not.

    Attributes:
        code: what it is answered with.
    """

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


# The session


class Greeting(msgspec.Struct, frozen=True):
    """A `ConnectRequest`; clients before 3.4 do not know of read-only mode, and are not told of it."""

    hello: Hello
    knows_read_only: bool


def read_greeting(frame: bytes) -> Greeting:
    """Reads a `ConnectRequest`.

    Raises:
        Malformed: it is none.
    """
    try:
        _, zxid, timeout, session = _CONNECT.unpack_from(frame)
        password, at = read_buffer(frame, _CONNECT.size)
    except StructError:
        raise Malformed("too short for a ConnectRequest") from None
    knows = at < len(frame)
    return Greeting(Hello(timeout, session, password, zxid, knows and frame[at] != 0), knows)


# Requests


def read_request(frame: bytes) -> tuple[int, int]:
    """Returns xid and type.

    Raises:
        Malformed: the frame is too short to be a request.
    """
    if len(frame) < 8:
        raise Malformed(f"a request of {len(frame)} bytes")
    xid, kind = _REQUEST.unpack_from(frame)
    return xid, kind


def read_body(kind: int, frame: bytes) -> tuple[api.AnyRequest, Write]:
    """Returns the request that a frame holds, and how its result is written.

    Raises:
        Refused: there is no such request.
        Malformed: it does not hold a request of that type.
    """
    read = _READERS.get(kind)
    if read is None:
        raise Refused(Code.UNIMPLEMENTED)
    try:
        return read(frame)
    except (StructError, IndexError):
        raise Malformed(f"too short for a request of type {kind}") from None


def _watching(kind: Any, write: Write) -> Read:
    """Returns a reader of a path and a flag."""

    def read(frame: bytes) -> tuple[api.AnyRequest, Write]:
        end = 12 + _int(frame, 8)[0]
        if end < 12:
            raise Malformed("no path")
        watch = frame[end]  # which shows, too, that the path is all there
        return kind(frame[12:end].decode("utf-8", "replace"), watch != 0), write

    return read


def _about_path(kind: Any, write: Write) -> Read:
    """Returns a reader of a path alone."""

    def read(frame: bytes) -> tuple[api.AnyRequest, Write]:
        return kind(read_text(frame, 8)[0]), write

    return read


def _read_acl_entry(frame: bytes, at: int) -> tuple[api.Acl, int]:
    permissions, at = read_int(frame, at)
    scheme, at = read_text(frame, at)
    who, at = read_text(frame, at)
    return api.Acl(permissions, scheme, who), at


def _read_acl(frame: bytes, at: int) -> tuple[tuple[api.Acl, ...], int]:
    if frame.startswith(_OPEN_ACL, at):
        return api.OPEN_ACL, at + len(_OPEN_ACL)
    return read_vector(frame, at, _read_acl_entry)


def _read_create(frame: bytes, at: int, *, ttl: bool = False) -> tuple[api.Create, int]:
    path, at = read_text(frame, at)
    data, at = read_data(frame, at)
    acl, at = _read_acl(frame, at)
    flags, at = read_int(frame, at)
    life = 0
    if ttl:
        life, at = read_long(frame, at)
    if not 0 <= flags < len(_MODES):
        raise Refused(Code.BAD_ARGUMENTS)
    return api.Create(path, data, acl, _MODES[flags], life), at


def _read_delete(frame: bytes, at: int) -> tuple[api.Delete, int]:
    path, at = read_text(frame, at)
    version, at = read_int(frame, at)
    return api.Delete(path, version), at


def _read_set_data(frame: bytes, at: int) -> tuple[api.SetData, int]:
    path, at = read_text(frame, at)
    data, at = read_data(frame, at)
    version, at = read_int(frame, at)
    return api.SetData(path, data, version), at


def _read_check(frame: bytes, at: int) -> tuple[api.Check, int]:
    path, at = read_text(frame, at)
    version, at = read_int(frame, at)
    return api.Check(path, version), at


def _create(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_create(frame, 8)[0], results.path


def _create2(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_create(frame, 8)[0], results.created


def _create_ttl(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_create(frame, 8, ttl=True)[0], results.created


def _delete(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_delete(frame, 8)[0], None


def _set_data(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_set_data(frame, 8)[0], results.written


def _check(frame: bytes) -> tuple[api.AnyRequest, Write]:
    return _read_check(frame, 8)[0], None


def _set_acl(frame: bytes) -> tuple[api.AnyRequest, Write]:
    path, at = read_text(frame, 8)
    acl, at = _read_acl(frame, at)
    return api.SetAcl(path, acl, read_int(frame, at)[0]), results.written


def _sync(frame: bytes) -> tuple[api.AnyRequest, Write]:
    path = read_text(frame, 8)[0]
    return api.Sync(path), partial(results.same_path, path)


def _multi(frame: bytes) -> tuple[api.AnyRequest, Write]:
    operations: list[api.Create | api.Delete | api.SetData | api.Check] = []
    kinds: list[int] = []
    at = 8
    while True:
        kind, done, _ = _OPERATION.unpack_from(frame, at)
        at += _OPERATION.size
        if done:
            return api.Multi(tuple(operations)), partial(results.several, kinds)
        read = _PARTS.get(kind)
        if read is None:
            raise Malformed(f"a multi with an operation of type {kind}")
        operation, at = read(frame, at)
        operations.append(operation)
        kinds.append(kind)


def _multi_read(frame: bytes) -> tuple[api.AnyRequest, Write]:
    operations: list[api.GetData | api.GetChildren] = []
    kinds: list[int] = []
    at = 8
    while True:
        kind, done, _ = _OPERATION.unpack_from(frame, at)
        at += _OPERATION.size
        if done:
            return api.MultiRead(tuple(operations)), partial(results.several_reads, kinds)
        if kind not in (4, 8):
            raise Malformed(f"a multiRead with an operation of type {kind}")
        path, at = read_text(frame, at)
        watch, at = read_bool(frame, at)
        operations.append(api.GetData(path, watch) if kind == 4 else api.GetChildren(path, watch))
        kinds.append(kind)


def _reconfigure(frame: bytes) -> tuple[api.AnyRequest, Write]:
    joining, at = read_text(frame, 8)
    leaving, at = read_text(frame, at)
    members, at = read_text(frame, at)
    version = read_long(frame, at)[0]
    try:
        gone = tuple(map(int, _split(leaving)))
    except ValueError:
        raise Refused(Code.BAD_ARGUMENTS) from None
    lines = tuple(line for line in _split(members) if not line.startswith("version="))
    return api.Reconfigure(tuple(_split(joining)), gone, lines, version), results.data


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]


def _set_watches(frame: bytes) -> tuple[api.AnyRequest, Write]:
    zxid, at = read_long(frame, 8)
    data, at = read_vector(frame, at, read_text)
    exist, at = read_vector(frame, at, read_text)
    child, at = read_vector(frame, at, read_text)
    return api.SetWatches(zxid, data, exist, child), None


def _set_watches2(frame: bytes) -> tuple[api.AnyRequest, Write]:
    zxid, at = read_long(frame, 8)
    lists = []
    for _ in range(5):
        paths, at = read_vector(frame, at, read_text)
        lists.append(paths)
    return api.SetWatches(zxid, *lists), None


def _add_watch(frame: bytes) -> tuple[api.AnyRequest, Write]:
    path, at = read_text(frame, 8)
    mode, _ = read_int(frame, at)
    if mode not in (0, 1):
        raise Malformed(f"a watch of mode {mode}")
    return api.AddWatch(path, mode == 1), results.no_error


def _of_watches(kind: Any) -> Read:
    """Returns a reader of a path and a kind of watch."""

    def read(frame: bytes) -> tuple[api.AnyRequest, Write]:
        path, at = read_text(frame, 8)
        number, _ = read_int(frame, at)
        try:
            return kind(path, api.WatchKind(number)), None
        except ValueError:
            raise Malformed(f"a watch of kind {number}") from None

    return read


def _authenticate(frame: bytes) -> tuple[api.AnyRequest, Write]:
    _, at = read_int(frame, 8)
    scheme, at = read_text(frame, at)
    return api.Authenticate(scheme, read_buffer(frame, at)[0]), None


_PING = api.Ping(), None
_WHO_AM_I = api.WhoAmI()
_CLOSE_SESSION = api.CloseSession(), None

_READERS: dict[int, Read] = {
    1: _create,
    2: _delete,
    3: _watching(api.Exists, results.written),
    4: _watching(api.GetData, results.data),
    5: _set_data,
    6: _about_path(api.GetAcl, results.acl),
    7: _set_acl,
    8: _watching(api.GetChildren, results.names),
    9: _sync,
    11: lambda _: _PING,
    12: _watching(api.GetChildren, results.children),
    13: _check,
    14: _multi,
    15: _create2,
    16: _reconfigure,
    17: _of_watches(api.CheckWatches),
    18: _of_watches(api.RemoveWatches),
    19: _create2,
    21: _create_ttl,
    22: _multi_read,
    100: _authenticate,
    101: _set_watches,
    103: _about_path(api.GetEphemerals, results.paths),
    104: _about_path(api.GetAllChildrenNumber, results.count),
    105: _set_watches2,
    106: _add_watch,
    107: lambda _: (_WHO_AM_I, results.identities),
    -11: lambda _: _CLOSE_SESSION,
}

_PARTS: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    1: _read_create,
    2: _read_delete,
    5: _read_set_data,
    13: _read_check,
    15: _read_create,
    19: _read_create,
    21: partial(_read_create, ttl=True),
}
"""What a `multi` may hold."""
