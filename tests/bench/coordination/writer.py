"""A client that costs next to nothing: requests of ZooKeeper's protocol, written to a socket as they are.

It fills logs and trees with as many transactions as a benchmark needs; kazoo would take many times as long.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from services.coordination.wire.jute import INT, LONG, buffer, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

WINDOW = 1000
"""Requests that are under way."""

_CREATE, _SET, _CLOSE = 1, 5, -11
_OPEN = INT.pack(1) + INT.pack(31) + text("world") + text("anyone")  # one entry: all may do all
_TIMEOUT = 30_000  # ms


class Writer:
    """A session with one server.

    Args:
        port: of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._received = b""
        self._xid = 0
        self._socket.sendall(
            _frame(INT.pack(0) + LONG.pack(0) + INT.pack(_TIMEOUT) + LONG.pack(0) + buffer(bytes(16)))
        )
        self._answer()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self._socket.sendall(_frame(struct.pack(">ii", self._xid + 1, _CLOSE)))
            self._answer()
        self._socket.close()

    def create(self, paths: Iterator[str], data: bytes) -> None:
        """Makes znodes."""
        self._all(_CREATE, (text(path) + buffer(data) + _OPEN + INT.pack(0) for path in paths))

    def set(self, path: str, data: bytes, count: int) -> None:
        """Writes the same to one znode so many times: each is a transaction."""
        body = text(path) + buffer(data) + INT.pack(-1)
        self._all(_SET, (body for _ in range(count)))

    def _all(self, kind: int, bodies: Iterator[bytes]) -> None:
        """Sends requests, never more than `WINDOW` at once.

        Raises:
            RuntimeError: one was refused.
        """
        under_way = 0
        frames: list[bytes] = []
        for body in bodies:
            self._xid += 1
            frames.append(_frame(struct.pack(">ii", self._xid, kind) + body))
            if len(frames) == WINDOW // 2:
                self._socket.sendall(b"".join(frames))
                under_way += len(frames)
                frames.clear()
                while under_way > WINDOW // 2:
                    self._confirm()
                    under_way -= 1
        self._socket.sendall(b"".join(frames))
        for _ in range(under_way + len(frames)):
            self._confirm()

    def _confirm(self) -> None:
        answer = self._answer()
        code = INT.unpack_from(answer, 12)[0]
        if code:
            raise RuntimeError(f"the server answers a write with error {code}")

    def _answer(self) -> bytes:
        while len(self._received) < 4 or len(self._received) < 4 + INT.unpack_from(self._received)[0]:
            part = self._socket.recv(1 << 16)
            if not part:
                raise RuntimeError("the server has closed the connection")
            self._received += part
        end = 4 + INT.unpack_from(self._received)[0]
        answer, self._received = self._received[4:end], self._received[end:]
        return answer


def _frame(data: bytes) -> bytes:
    return INT.pack(len(data)) + data
