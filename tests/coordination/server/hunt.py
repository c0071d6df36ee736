"""Hostile messages at the gRPC door of a running server: random ones, and fields of valid sessions mutated.

`python -m tests.coordination.server.hunt CASES [SEED]` runs as many as one likes, `test_hostile.py` some.
Each case is a stream of its own, without gRPC underneath, whose bytes go through protobuf. After each:
nothing has failed inside, the stream has ended well or with a status and the server's own words, what came
out can be read; and now and then a bystander looks whether what it had written is there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError

from protos import coordination_pb2 as pb
from services.coordination import api
from services.coordination.api import Acl, Code, CreateMode
from services.coordination.server.door import Door
from services.coordination.server.frontend import Frontend
from services.coordination.server.server import Server
from services.coordination.server.settings import Settings
from services.coordination.state.acl import digest_id
from tests.coordination.wire import alone
from tests.coordination.wire.hunt import INTERESTING, Failures

PATHS = (
    "/",
    "/a",
    "/a/b",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/vault/kept",
    "",
    "a",
    "/a//b",
)
PATHS += ("/..", "/a\0b", "/\ud7ff", "/" + "x" * 5000, "/y" * 3000, "/zookeeper/quota/a/zookeeper_limits")
JANE = (Acl(31, "digest", digest_id(b"jane:pw")),)
KEPT = b"kept"
STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

encode = msgspec.msgpack.Encoder().encode
said = msgspec.msgpack.Decoder(api.Reply | api.Event).decode


class Ended(Exception):
    """The server has ended the stream with a status."""


class Context:
    """A stream without gRPC: what the client sends is there already, and then it waits.

    Attributes:
        status: with which the server ended it.
        said: what the server has sent.
    """

    def __init__(self, messages: list[pb.ClientMessage], *, stays: bool) -> None:
        self._messages = messages
        self._stays = stays
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.said: list[pb.ServerMessage] = []

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4711"

    async def read(self) -> Any:
        await asyncio.sleep(0)
        if self._messages:
            return self._messages.pop(0)
        if self._stays:
            await asyncio.Event().wait()
        return grpc.aio.EOF

    async def write(self, message: pb.ServerMessage) -> None:
        self.said.append(pb.ServerMessage.FromString(message.SerializeToString()))
        await asyncio.sleep(0)

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.status = code, details
        raise Ended


def a_request(rng: random.Random) -> Any:
    """Returns a request of any kind, with fields that may be nonsense already."""
    path, number = rng.choice(PATHS), rng.choice(INTERESTING)
    version = max(-(1 << 63), min(number, (1 << 63) - 1))
    data = rng.choice((None, b"", b"x", bytes(2000)))
    acl = rng.choice((api.OPEN_ACL, JANE, (), (Acl(number, "world", "anyone"),), (Acl(31, "nope", "\0"),)))
    one: list[Any] = [
        api.Create(path, data, acl, rng.choice(tuple(CreateMode)), version),
        api.Delete(path, version),
        api.SetData(path, data, version),
        api.SetAcl(path, acl, version),
        api.Check(path, version),
    ]
    reads: list[Any] = [api.GetData(path, True), api.GetChildren(path, True)]
    return rng.choice(
        [
            *one,
            *reads,
            api.Multi(tuple(rng.choices(one, k=rng.randrange(4)))),
            api.MultiRead(tuple(rng.choices(reads, k=rng.randrange(4)))),
            api.Exists(path, rng.random() < 0.5),
            api.GetAcl(path),
            api.GetEphemerals(path),
            api.GetAllChildrenNumber(path),
            api.WhoAmI(),
            api.Ping(),
            api.Sync(path),
            api.CloseSession(),
            api.CreateSession(version & 0x7FFFFFFF, b"pw"),
            api.Authenticate(rng.choice(("digest", "ip", "x")), rng.randbytes(rng.randrange(12))),
            api.AddWatch(path, rng.random() < 0.5),
            api.RemoveWatches(path, rng.choice(tuple(api.WatchKind))),
            api.CheckWatches(path, rng.choice(tuple(api.WatchKind))),
            api.SetWatches(version, (path,), (path, path), (path,), (path,), (path,)),
            api.Reconfigure((path, "server.2=h:1:2:participant;3"), (version,), (), version),
        ]
    )


def changed(rng: random.Random, data: bytes) -> bytes:
    """Returns bytes with some of them changed."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(5):
            case 0:
                found[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del found[place : place + rng.randrange(1, 9)]
            case 2:
                found[place:place] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                number = rng.choice(INTERESTING) & (1 << 64) - 1
                found[place : place + 9] = b"\xcf" + number.to_bytes(8, "big")  # msgpack's uint64
            case _:
                del found[place:]
    return bytes(found)


def messages(rng: random.Random) -> list[bytes]:
    """Returns what one stream is sent."""
    connect = pb.Connect(timeout_ms=rng.choice((0, 200, -1, (1 << 31) - 1)))
    if rng.random() < 0.2:
        connect.session, connect.password = rng.choice((1, (1 << 63) - 1)), rng.randbytes(16)
    if rng.random() < 0.1:
        connect.last_zxid = rng.choice((1, 1 << 33, (1 << 63) - 1))
    asked = [pb.ClientMessage(connect=connect)]
    for _ in range(rng.randrange(1, 4)):
        requests = [encode(a_request(rng)) for _ in range(rng.randrange(1, 5))]
        if rng.random() < 0.5:
            which = rng.randrange(len(requests))
            requests[which] = changed(rng, requests[which])
        xids = [rng.choice((number, 0, (1 << 31) - 1)) for number in range(1, len(requests) + 1)]
        if rng.random() < 0.05:
            xids.pop()
        asked.append(pb.ClientMessage(requests=pb.Requests(xids=xids, requests=requests)))
    written = [message.SerializeToString() for message in asked]
    match rng.randrange(10):
        case 0:
            written = [rng.randbytes(rng.randrange(100)) for _ in range(rng.randrange(1, 4))]
        case 1 | 2:
            which = rng.randrange(len(written))
            written[which] = changed(rng, written[which])
        case 3:
            rng.shuffle(written)
    return written


async def hunt(seed: int, cases: int) -> dict[str, int]:
    """Sends that many cases, and returns how they ended.

    Raises:
        AssertionError: something is wrong; tells the case.
    """
    rng = random.Random(seed)
    failures = Failures()
    logging.getLogger().addHandler(failures)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.records.append(repr(context))
    )
    settings = Settings(tick=0.1, min_session_timeout=100, max_session_timeout=300, connections_per_address=0)
    server, wire, _ = await alone.start(settings)
    door = Door(Frontend(server), settings)
    work = asyncio.ensure_future(server.run())
    ended: dict[str, int] = {}
    try:
        await _ask(door, api.Authenticate("digest", b"jane:pw"), api.Create("/vault", b"", JANE))
        await _ask(door, api.Authenticate("digest", b"jane:pw"), api.Create("/vault/kept", KEPT, JANE))
        for number in range(cases):
            data = messages(rng)
            where = f"seed {seed}, case {number}: {data!r}"
            how = await _case(door, data, stays=rng.random() < 0.1, where=where)
            ended[how] = ended.get(how, 0) + 1
            assert not failures.records, f"{where}: {failures.records[0]}"
            if not number % 50:
                await _check(server, door, where)
    finally:
        work.cancel()
        await wire.stop()
        logging.getLogger().removeHandler(failures)
    return dict(sorted(ended.items()))


async def _case(door: Door, data: list[bytes], *, stays: bool, where: str) -> str:
    parsed = []
    for one in data:
        try:
            parsed.append(pb.ClientMessage.FromString(one))
        except DecodeError:
            break  # gRPC ends the stream there
    context = Context(parsed, stays=stays)
    talk = asyncio.ensure_future(door.Session(None, context))  # type: ignore[arg-type]
    done, _ = await asyncio.wait([talk], timeout=0.02 if stays else 10)
    if not done:
        assert stays, f"{where}: the stream does not end"
        talk.cancel()  # the client goes without a word
        await asyncio.wait([talk])
        how = "went"
    elif (error := talk.exception()) is None:
        how = "ended"
    else:
        assert isinstance(error, Ended) and context.status is not None, f"{where}: {error!r}"
        code, words = context.status
        assert code in STATUSES and "Traceback" not in words and "Error" not in words, f"{where}: {words}"
        how = code.name
    for message in context.said:
        for reply in message.replies.messages:
            said(reply)
    return how


async def _ask(door: Door, *requests: Any) -> list[Any]:
    """Returns what is answered to requests of a session of their own."""
    messages = [
        pb.ClientMessage(connect=pb.Connect(timeout_ms=300)),
        pb.ClientMessage(
            requests=pb.Requests(
                xids=range(1, len(requests) + 2),
                requests=[encode(request) for request in (*requests, api.CloseSession())],
            )
        ),
    ]
    context = Context(messages, stays=True)
    await door.Session(None, context)  # type: ignore[arg-type]
    return [said(reply) for message in context.said for reply in message.replies.messages]


async def _check(server: Server, door: Door, where: str) -> None:
    answers = await _ask(door, api.Authenticate("digest", b"jane:pw"), api.GetData("/vault/kept"))
    assert answers[1].code is Code.OK and answers[1].result.data == KEPT, where
    assert len(server.connections) < 10, f"{where}: connections pile up"
    assert server.throttle.outstanding == 0, f"{where}: requests are never answered"
    for session in server.tree.ephemerals:
        assert session in server.tree.sessions, f"{where}: an ephemeral of nobody"


def main() -> None:
    """Runs the hunt."""
    cases, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    start = time.monotonic()
    print(asyncio.run(hunt(seed, cases)), f"{time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
