"""What real nodes write into their traces, joined."""

from __future__ import annotations

import asyncio
from pathlib import Path

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from protos.trace import ClockSample, HostEvent, Lost, Message, Note
from services.cluster import Cluster
from services.real.clock import SkewedClock
from services.real.tracing import HostTrace
from sim import faults
from sim.scenario.cluster_faults import ClusterFaults
from sim.trace.join import joined
from tests.real.outside import PROBE, ask


def test_a_call_is_four_times_in_order_and_a_dead_one_is_lost(tmp_path: Path) -> None:
    async def main() -> None:
        async with Cluster.create(tmp_path / "c") as cluster:
            await cluster.start("a", PROBE)
            client = cluster.client("me")
            async with client.connect("a") as channel:
                stub = echo_pb2_grpc.EchoStub(channel)
                await stub.Say(Words(text="hello"), wait_for_ready=True)
                assert [word async for word in stub.Repeat(Words(number=2))]
                for _ in range(30):
                    assert [word async for word in stub.Repeat(Words(number=1))]
                injected = ClusterFaults(cluster)
                await injected.inject(faults.ClockSkew(host="a", seconds=2))
                await ask(client, "a", "count")
                await asyncio.sleep(0.5)  # the node flushes its trace that often
                pause = await injected.inject(faults.Pause(host="a"))
                dying = asyncio.ensure_future(stub.Say(Words(text="you never hear this")))
                await asyncio.sleep(0.05)
                await injected.inject(faults.Crash(host="a"))
                await asyncio.wait([dying])
                assert pause and dying.exception() is not None

    asyncio.run(main())
    events = list(joined(tmp_path / "c"))
    assert [event.time for event in events] == sorted(event.time for event in events)
    messages = [event for event in events if isinstance(event, Message)]
    first = next(message.call for message in messages if message.method.endswith("/Say"))
    request, response = (message for message in messages if message.call == first)
    assert (request.source, request.host, request.part) == ("me", "a", "request")
    assert (response.source, response.host, response.part, response.code) == ("a", "me", "response", "OK")
    assert request.sent <= request.time <= response.sent <= response.time
    assert request.sent < response.time
    assert request.size == response.size == len(Words(text="hello").SerializeToString())
    streams = [message for message in messages if message.method.endswith("/Repeat")]
    assert sum(message.code == "OK" for message in streams) == 31
    repeat = [message for message in streams if message.call == streams[0].call]
    assert [(m.part, m.index, m.code) for m in sorted(repeat, key=lambda m: m.sent)] == [
        ("request", 0, ""),
        ("response", 0, ""),
        ("response", 1, ""),
        ("response", 2, "OK"),
    ]
    assert all(message.sent < message.time for message in repeat)
    lost = [event for event in events if isinstance(event, Lost)]
    assert [(event.source, event.host, event.why) for event in lost] == [("me", "a", "a crashed")]
    assert [e.name for e in events if isinstance(e, HostEvent)] == ["boot", "pause", "crash"]
    assert any(isinstance(event, Note) and event.name == "ready" for event in events)
    assert any(isinstance(e, ClockSample) and e.host == "a" and abs(e.offset - 2e9) < 1e7 for e in events)


def test_a_note_is_in_the_file_before_anyone_can_hear_of_what_it_says(tmp_path: Path) -> None:
    """A master that was killed had given out a task, and the trace did not say so."""

    async def main() -> None:
        trace = HostTrace("a", tmp_path, 0, SkewedClock())
        trace.start()
        trace.note("assigned", {"task": 21})
        await asyncio.sleep(0)
        assert b'"task":21' in (tmp_path / "trace-0.jsonl").read_bytes()
        trace.close()

    asyncio.run(main())
