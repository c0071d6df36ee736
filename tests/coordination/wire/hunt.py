"""Hostile bytes against a running server: random ones, and every field of valid sessions mutated.

`python -m tests.coordination.wire.hunt CASES [SEED]` runs as many as one likes; `test_hostile.py` runs some.
Each case is a connection of its own, on a transport without sockets. After each: nothing has failed inside,
what came out are whole frames, a bystander is served, and what it had written is there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import sys
import time
from typing import Any

from services.coordination.api import Code
from services.coordination.server.server import Server
from services.coordination.server.settings import Settings
from services.coordination.wire.connection import ClientConnection
from services.coordination.wire.door import Door
from services.coordination.wire.four_letter import WORDS
from tests.coordination.wire import alone
from tests.coordination.wire.raw import create, frame, greeting, request, text
from tests.coordination.wire.test_records import INT, LONG, REQUESTS, multi

INTERESTING = (
    0,
    1,
    2,
    3,
    4,
    7,
    31,
    127,
    128,
    255,
    1 << 16,
    (1 << 20) - 1,
    1 << 20,
    (1 << 31) - 1,
    -1,
    -2,
    -(1 << 31),
)
PATHS = (
    b"", b"/", b"a", b"/..", b"/.", b"//", b"/a//b", b"/a/", b"/\0", b"/\xff", b"/\xed\xa0\x80",
    b"/" + b"x" * 9000, b"/" + b"a/" * 2000 + b"a", b"/zookeeper", b"/zookeeper/config", b"/zookeeper/quota",
    b"/vault", b"/vault/kept", b"/s-", b"/\xef\xbf\xbf", b"/\xf0\x9f\x98\x80",
)  # fmt: skip
KEPT = b"kept whatever happens"
JANE = INT(1) + INT(31) + text("digest") + text("jane:dxswXWSeMIkirdOyfsoeZ2G1xo4=")


class Transport:
    """What a connection writes to, and is closed by."""

    def __init__(self, connection: ClientConnection) -> None:
        self.out = bytearray()
        self.closed = False
        self.reading = True
        self._connection = connection

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 4711)

    def write(self, data: bytes) -> None:
        self.out += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class Client:
    """A connection to the door without a socket."""

    def __init__(self, door: Door) -> None:
        self.connection = ClientConnection(door)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    async def send(self, data: bytes, turns: int = 6) -> None:
        """Sends bytes, and lets the server work them off."""
        if not self.transport.closed:
            self.connection.data_received(data)
        for _ in range(turns):
            await asyncio.sleep(0)

    def frames(self) -> list[bytes]:
        """Returns what was answered, frame by frame, and forgets it."""
        out, found, at = bytes(self.transport.out), [], 0
        while at < len(out):
            (size,) = struct.unpack_from(">i", out, at)
            assert 0 < size <= len(out) - at - 4, "an answer is no frame"
            found.append(out[at + 4 : at + 4 + size])
            at += 4 + size
        self.transport.out.clear()
        return found


def session(rng: random.Random) -> list[bytes]:
    """Returns the frames of a valid session, in an order of their own."""
    frames = [
        greeting(timeout=rng.choice((0, 400, 1000, 1 << 30)), read_only=rng.choice((b"\0", b"\1", b"")))
    ]
    for number in range(rng.randrange(1, 8)):
        kind, body, _ = REQUESTS[rng.choice(sorted(REQUESTS))]
        if rng.random() < 0.3:
            path = rng.choice(PATHS)
            kind, body = rng.choice(
                (
                    (1, create(path, b"x", rng.randrange(7))),
                    (2, text(path) + INT(-1)),
                    (4, text(path) + b"\1"),
                    (5, text(path) + text(b"y") + INT(-1)),
                    (8, text(path) + b"\1"),
                    (7, text(path) + JANE + INT(-1)),
                    (14, multi((1, create(path)), (2, text(path) + INT(-1)))),
                    (106, text(path) + INT(1)),
                    (101, LONG(rng.choice((0, 1 << 62))) + (INT(1) + text(path)) * 3),
                    (104, text(path)),
                )
            )
        frames.append(request(number, kind, body))
    return frames


def mutate(rng: random.Random, frames: list[bytes]) -> bytes:
    """Returns a session with some of its bytes changed."""
    data = bytearray(rng.choice(frames) if rng.random() < 0.1 else b"".join(frames))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[place : place + 4] = struct.pack(">i", rng.choice(INTERESTING))
            case 1:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 2:
                del data[place : place + rng.randrange(1, 9)]
            case 3:
                data[place:place] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                del data[place:]
            case _:
                data[place : place + 8] = struct.pack(
                    ">q", rng.choice(INTERESTING) * (rng.choice((1, 1 << 32)))
                )
        if not data:
            break
    return bytes(data)


def case(rng: random.Random) -> bytes:
    """Returns what one connection is sent."""
    frames = session(rng)
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randrange(1, 200))
        case 1:
            return frames[0] + rng.randbytes(rng.randrange(1, 200))
        case 2:
            return frames[0] + frame(rng.randbytes(rng.randrange(1, 60)))
        case 3:  # each field in turn: a frame whose inner bytes are changed, and whose length is right
            inner = mutate(rng, [frames[-1][4:]])
            return b"".join(frames[:-1]) + frame(inner)
        case 4:
            return b"".join(frames)
        case _:
            return mutate(rng, frames)


class Failures(logging.Handler):
    """Keeps what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


async def hunt(seed: int, cases: int) -> dict[str, int]:
    """Sends that many cases, and returns how they ended.

    Raises:
        AssertionError: something is wrong; tells the case.
    """
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    failures = Failures()
    logging.getLogger().addHandler(failures)
    loop.set_exception_handler(lambda _, context: failures.records.append(repr(context)))
    settings = Settings(tick=0.1, min_session_timeout=100, max_session_timeout=300, connections_per_address=0)
    server, door, _ = await alone.start(settings)
    work = asyncio.ensure_future(server.run())
    ended = {"closed": 0, "open": 0}
    codes: dict[int, int] = {}
    try:
        keeper = await _keeper(door)
        for number in range(cases):
            data = case(rng)
            client = Client(door)
            pieces = [data] if rng.random() < 0.8 else [data[: len(data) // 2], data[len(data) // 2 :]]
            for piece in pieces:
                await client.send(piece)
            where = f"seed {seed}, case {number}: {data!r}"
            assert not failures.records, f"{where}: {failures.records[0]}"
            if data[:4] not in WORDS:
                for answer in client.frames()[1:]:
                    (code,) = struct.unpack_from(">i", answer, 12)
                    codes[code] = codes.get(code, 0) + 1
            ended["closed" if client.transport.closed else "open"] += 1
            client.transport.close()
            await asyncio.sleep(0)
            if number % 20 == 0:
                keeper = await _check(server, door, keeper, where)
    finally:
        work.cancel()
        await door.stop()
        logging.getLogger().removeHandler(failures)
    return {**ended, **{Code(code).name: count for code, count in sorted(codes.items(), reverse=True)}}


async def _keeper(door: Door) -> Client:
    """Returns a bystander, who has something that is nobody else's."""
    keeper = Client(door)
    await keeper.send(greeting())
    await keeper.send(request(-4, 100, INT(0) + text("digest") + text(b"jane:pw")))
    await keeper.send(request(1, 1, create("/vault", b"", 0, JANE)))
    await keeper.send(request(2, 1, create("/vault/kept", KEPT, 0, JANE)))
    keeper.frames()
    return keeper


async def _check(server: Server, door: Door, keeper: Client, where: str) -> Client:
    if keeper.transport.closed:  # its own session has been let to expire by a slow machine
        keeper = await _keeper(door)
    await keeper.send(request(7, 4, text("/vault/kept") + b"\0"))
    frames = keeper.frames()
    if not frames and keeper.transport.closed:
        keeper = await _keeper(door)
        await keeper.send(request(7, 4, text("/vault/kept") + b"\0"))
        frames = keeper.frames()
    assert frames and frames[-1][16:].startswith(text(KEPT)), where
    assert len(door._connections) < 10, f"{where}: connections pile up"
    for session in server.tree.ephemerals:
        assert session in server.tree.sessions, f"{where}: an ephemeral of nobody"
    return keeper


def main() -> None:
    """Runs the hunt."""
    cases, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    start = time.monotonic()
    print(asyncio.run(hunt(seed, cases)), f"{time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
