"""A client that says exactly what it is told to, over a real socket."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import NamedTuple

PASSWORD = bytes(16)


def text(value: str | bytes) -> bytes:
    """A `ustring` or a `buffer`."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(data)) + data


def frame(body: bytes) -> bytes:
    """A frame."""
    return struct.pack(">i", len(body)) + body


def greeting(
    session: int = 0,
    password: bytes = PASSWORD,
    timeout: int = 10_000,
    zxid: int = 0,
    read_only: bytes = b"\0",
) -> bytes:
    """The frame that a client says first."""
    return frame(struct.pack(">iqiq", 0, zxid, timeout, session) + text(password) + read_only)


def request(xid: int, kind: int, body: bytes = b"") -> bytes:
    """The frame of a request."""
    return frame(struct.pack(">ii", xid, kind) + body)


WORLD = struct.pack(">i", 1) + struct.pack(">i", 31) + text("world") + text("anyone")


def create(path: str | bytes, data: bytes = b"", flags: int = 0, acl: bytes = WORLD) -> bytes:
    """What `create` takes."""
    return text(path) + text(data) + acl + struct.pack(">i", flags)


class Reply(NamedTuple):
    """A response."""

    xid: int
    zxid: int
    code: int
    body: bytes


class Raw:
    """A connection.

    Args:
        port: of the server, on loopback.
        greet: whether to open a session.

    Attributes:
        session, password: as the server told.
    """

    def __init__(self, port: int, *, greet: bool = True, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.session, self.password = 0, b""
        self.greeted = b""
        if greet:
            self.send(greeting())
            self.greeted = self.frame()
            _, _, self.session = struct.unpack_from(">iiq", self.greeted)
            self.password = self.greeted[20:36]

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """Reads exactly so many bytes.

        Raises:
            EOFError: the connection ended before.
        """
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError(f"{len(data)} of {size} bytes")
            data += part
        return data

    def frame(self) -> bytes:
        """Reads a frame."""
        return self.read(struct.unpack(">i", self.read(4))[0])

    def reply(self) -> Reply:
        """Reads a response."""
        data = self.frame()
        return Reply(*struct.unpack_from(">iqi", data), data[16:])

    def ask(self, kind: int, body: bytes = b"", xid: int = 7) -> Reply:
        """Sends a request and reads the response."""
        self.send(request(xid, kind, body))
        return self.reply()

    def rest(self) -> bytes:
        """Reads until the server closes."""
        data = b""
        try:
            while part := self.socket.recv(1 << 16):
                data += part
        except ConnectionResetError:
            pass
        return data
