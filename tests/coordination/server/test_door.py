"""The gRPC door: sessions as streams, in batches; and what it does to clients that misbehave."""

from __future__ import annotations

import asyncio

import grpc
import msgspec
import pytest

from protos import coordination_pb2 as pb
from protos import coordination_pb2_grpc as rpc
from services.coordination import api
from services.coordination.api import Code, Create, Exists, GetData, Ping, SetData
from services.coordination.server.door import Door
from services.coordination.server.settings import Settings
from sim.world.simulation import Simulation
from tests.coordination.server.ensemble import Ensemble

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(api.Reply | api.Event).decode


class Stream:
    """A client's stream, by hand."""

    def __init__(self, host):
        self.call = rpc.CoordinationStub(host.connect("zk")).Session()
        self.said = []
        self.xid = 0

    async def connect(self, **fields):
        await self.call.write(pb.ClientMessage(connect=pb.Connect(timeout_ms=10_000, **fields)))
        message = await self.call.read()
        return message.connected

    async def send(self, *requests):
        data = [request if isinstance(request, bytes) else encode(request) for request in requests]
        xids = range(self.xid + 1, self.xid + 1 + len(data))
        self.xid += len(data)
        await self.call.write(pb.ClientMessage(requests=pb.Requests(xids=xids, requests=data)))

    async def hear(self, count):
        while len(self.said) < count:
            message = await self.call.read()
            if message is grpc.aio.EOF:
                break
            self.said += map(decode, message.replies.messages)
        return self.said

    async def ended(self):
        """Returns how the stream ends, once all that it has is read."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            pass
        return await self.call.code(), await self.call.details()


def run(test, seed=0, **settings):
    simulation = Simulation(seed, limit_s=3600)
    simulation.boot("zk", program, {"settings": settings, "ensembles": (ensembles := [])})
    host = simulation.boot("client")

    async def main():
        await asyncio.sleep(1)
        await test(Stream(host), ensembles[0], host)

    simulation.run(main(), name="client")


async def program(host, settings, ensembles):
    ensemble = Ensemble(host, 1, **settings)
    ensembles.append(ensemble)
    ensemble.lead()
    server = host.serve()
    rpc.add_CoordinationServicer_to_server(Door(ensemble.fronts[1], Settings(**settings)), server)
    await server.start()
    await ensemble.servers[1].run()


def test_a_session_is_one_stream():
    async def test(stream, ensemble, host):
        connected = await stream.connect()
        assert connected.session and len(connected.password) == 16 and connected.timeout_ms == 10_000
        await stream.send(Create("/a", b"1"), GetData("/a"), SetData("/a", b"2", 7))
        created, read, failed = await stream.hear(3)
        assert (created.xid, created.result.path) == (1, "/a")
        assert read.result.data == b"1"
        assert (failed.code, failed.result) == (Code.BAD_VERSION, None)

    run(test)


def test_requests_pipelined_over_many_messages_are_answered_in_order():
    async def test(stream, ensemble, host):
        await stream.connect()
        for n in range(50):
            await stream.send(*(Create(f"/{n}-{i}") for i in range(20)))
        assert [said.xid for said in await stream.hear(1000)] == list(range(1, 1001))

    run(test, outstanding=64)


def test_a_session_goes_on_in_another_stream():
    async def test(stream, ensemble, host):
        first = await stream.connect()
        other = Stream(host)
        again = await other.connect(session=first.session, password=first.password)
        assert again.session == first.session
        assert await stream.ended() == (
            grpc.StatusCode.UNAVAILABLE,
            "the session has moved to another server",
        )

    run(test)


def test_a_session_that_is_over_is_told_so():
    async def test(stream, ensemble, host):
        assert (await stream.connect(session=17, password=b"guess")).session == 0
        assert (await stream.ended())[0] is grpc.StatusCode.OK

    run(test)


def test_closing_is_answered_and_ends_the_stream_well():
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.send(api.CloseSession())
        assert (await stream.hear(1))[0].code is Code.OK
        assert (await stream.ended())[0] is grpc.StatusCode.OK

    run(test)


def test_without_a_quorum_the_client_is_to_try_another_server():
    async def test(stream, ensemble, host):
        await stream.connect()
        ensemble.look()
        assert await stream.ended() == (grpc.StatusCode.UNAVAILABLE, "there is no quorum")
        other = Stream(host)
        await other.call.write(pb.ClientMessage(connect=pb.Connect()))
        assert (await other.ended())[0] is grpc.StatusCode.UNAVAILABLE

    run(test)


@pytest.mark.parametrize(
    "message",
    [
        pb.ClientMessage(),
        pb.ClientMessage(requests=pb.Requests(xids=[1], requests=[encode(Ping())])),
    ],
)
def test_who_does_not_connect_first_is_refused(message):
    async def test(stream, ensemble, host):
        await stream.call.write(message)
        assert (await stream.ended())[0] is grpc.StatusCode.INVALID_ARGUMENT

    run(test)


def test_who_says_nothing_is_not_waited_for():
    async def test(stream, ensemble, host):
        assert (await stream.ended())[0] is grpc.StatusCode.DEADLINE_EXCEEDED

    run(test, handshake=5.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x93\xa6Create\x01\x02",
        encode(["Nonsense", "/a"]),
        encode(["Create", "/a", b"", [], 99, 0]),
        encode(["Create", 7]),
        b"\x92\xa6Exists\xa2/\xff",
        b"\x91" * 5000,
        encode(["SetData", "/a", b"x" * 2000]),
    ],
)
def test_what_cannot_be_read_ends_the_stream_with_a_status_and_no_text_of_an_exception(data):
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.send(Ping(), data)
        code, details = await stream.ended()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith("request 2 ")
        other = Stream(host)
        assert (await other.connect()).session

    run(test, max_buffer=1000)


def test_a_message_without_requests_or_with_too_few_numbers_is_refused():
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.call.write(
            pb.ClientMessage(requests=pb.Requests(xids=[1, 2], requests=[encode(Ping())]))
        )
        assert (await stream.ended())[0] is grpc.StatusCode.INVALID_ARGUMENT

    run(test)


def test_a_client_that_never_reads_is_not_read_from_and_its_session_expires():
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.send(Create("/a", b"x" * 50_000))
        await stream.hear(1)
        server = ensemble.servers[1]
        (connection,) = server.connections.values()

        async def flood():
            while True:
                await stream.send(*[GetData("/a")] * 10)

        flooding = asyncio.ensure_future(flood())
        await asyncio.sleep(5)
        sent = connection.figures().sent
        assert sent < 60  # of 50 kB each
        await asyncio.sleep(5)
        assert connection.figures().sent == sent
        await asyncio.sleep(10)
        assert not server.connections
        flooding.cancel()
        other = Stream(host)
        await other.connect()
        await other.send(Exists("/a"))
        assert (await other.hear(1))[0].code is Code.OK

    run(test, unread=1 << 20)


def test_a_client_that_does_not_read_its_events_is_cut_off():
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.send(api.AddWatch("/", recursive=True))
        other = Stream(host)
        await other.connect()
        hearing = asyncio.ensure_future(other.hear(5_000))
        for n in range(100):
            await other.send(*(Create(f"/{n}-{i}-{'x' * 500}") for i in range(50)))
        await hearing
        assert len(ensemble.servers[1].connections) == 1
        assert await stream.ended() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "what was said is not read")

    run(test, unread=1 << 20)


def test_answers_to_one_message_may_be_more_than_a_client_may_leave_unread():
    async def test(stream, ensemble, host):
        await stream.connect()
        await stream.send(Create("/a", b"x" * 50_000))
        await stream.hear(1)
        await stream.send(*[GetData("/a")] * 200)
        assert len(await stream.hear(201)) == 201

    run(test, unread=1 << 20)


def test_figures_are_told_with_and_without_a_quorum():
    async def test(stream, ensemble, host):
        stub = rpc.CoordinationStub(host.connect("zk"))
        await stream.connect()
        figures = msgspec.json.decode((await stub.Report(pb.Inquiry())).json)
        assert figures["zk_server_state"] == "leader"
        assert figures["zk_num_alive_connections"] == 1
        assert figures["zk_last_zxid"] == ensemble.zxid
        ensemble.look()
        figures = msgspec.json.decode((await stub.Report(pb.Inquiry())).json)
        assert figures["zk_server_state"] == "leaderelection"
        assert figures["zk_num_alive_connections"] == 0

    run(test)
