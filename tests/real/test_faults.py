"""Every fault of the vocabulary on real nodes: what is seen from outside while it holds, and after."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.cluster import Cluster, ClusterError
from services.host import Host
from sim import faults
from sim.faults import AnyFault
from sim.scenario.base import UnsupportedFault
from sim.scenario.cluster_faults import ClusterFaults
from tests.real.outside import ask

HELD = 0.25  # seconds after which a call that has no answer is taken to hang


class Lab(NamedTuple):
    """A cluster to hurt, and a client to look with."""

    cluster: Cluster
    faults: ClusterFaults
    client: Host


def told(story: Callable[[Lab], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Makes a test of a story: told on the module's cluster, which is healed afterwards."""

    def test(folder: Path) -> None:
        async def main() -> None:
            async with lab(folder) as opened:
                await story(opened)

        asyncio.run(main())

    test.__doc__ = story.__doc__
    return test


@asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Lab]:
    cluster = Cluster.open(folder)
    client = cluster.client("me")
    injected = ClusterFaults(cluster, random.Random(7))
    try:
        yield Lab(cluster, injected, client)
    finally:
        await injected.heal()
        client.close()


async def say(host: Host, target: str, text: str = "hello", timeout: float = HELD) -> str:
    """Returns the echo, or the status code of the failure."""
    async with host.connect(target) as channel:
        try:
            return (await echo_pb2_grpc.EchoStub(channel).Say(Words(text=text), timeout=timeout)).text
        except grpc.aio.AioRpcError as exc:
            return exc.code().name


async def through(host: Host, way: str, peer: str) -> str:
    """Returns what a node gets when it calls another."""
    return str(await ask(host, way, "call", peer=peer, text="hello", timeout=HELD))


@told
async def test_crash_and_restart(lab: Lab) -> None:
    await ask(lab.client, "a", "append", path="kept", data="kept")
    number = await lab.faults.inject(faults.Crash(host="a"))
    assert await say(lab.client, "a") == "UNAVAILABLE"
    assert lab.cluster.state("a") == "dead"
    await lab.faults.lift(number)
    assert await ask(lab.client, "a", "read", path="kept") == "kept"
    with pytest.raises(ValueError, match="there is no fault number 99"):
        await lab.faults.lift(99)


@told
async def test_pause_hangs_and_goes_on(lab: Lab) -> None:
    assert await say(lab.client, "a") == "hello"
    number = await lab.faults.inject(faults.Pause(host="a"))
    assert lab.cluster.state("a") == "paused"
    assert [status.state for status in await lab.cluster.status()] == ["paused", "running", "running"]
    async with lab.client.connect("a") as channel:
        call = echo_pb2_grpc.EchoStub(channel).Say(Words(text="late"), timeout=10)
        await asyncio.sleep(0.2)
        assert not call.done()
        await lab.faults.lift(number)
        assert (await call).text == "late"


@told
async def test_rules_set_during_a_pause_hold_when_it_ends(lab: Lab) -> None:
    pause = await lab.faults.inject(faults.Pause(host="a"))
    await lab.faults.inject(faults.ClockSkew(host="a", seconds=50))
    await lab.faults.lift(pause)
    assert (await ask(lab.client, "a", "clock"))[0] == pytest.approx(50, abs=1)


@told
async def test_a_node_that_somebody_else_stopped_takes_over_the_rules_when_it_goes_on(lab: Lab) -> None:
    pid = next(status.pid for status in await lab.cluster.status() if status.name == "b")
    os.kill(pid, signal.SIGSTOP)
    while lab.cluster.state("b") != "paused":
        await asyncio.sleep(0.01)
    await lab.faults.inject(faults.Cut(source="b", target="c"))
    os.kill(pid, signal.SIGCONT)
    assert await through(lab.client, "b", "c") == "DEADLINE_EXCEEDED"


@told
async def test_healing_goes_on_past_a_node_that_does_not_answer_and_can_be_done_again(lab: Lab) -> None:
    await lab.faults.inject(faults.Cut(source="a", target="c"))
    await lab.faults.inject(faults.Crash(host="b"))
    control = lab.cluster.folder.node("a").control
    address = control.read_text()
    control.write_text("127.0.0.1:1")
    with pytest.raises(ClusterError, match="a does not answer its control service"):
        await lab.faults.heal()
    assert lab.cluster.state("b") == "running"
    control.write_text(address)
    assert len(await lab.faults.heal()) == 1
    assert await lab.faults.active() == {}
    await lab.cluster.serving(["b"])
    assert await through(lab.client, "a", "c") == "hello"


@told
async def test_slow_takes_the_processor_away(lab: Lab) -> None:
    turns = 400_000
    fast = min([await ask(lab.client, "a", "burn", turns=turns) for _ in range(3)])
    number = await lab.faults.inject(faults.Slow(host="a", cpu=15))
    slow = await ask(lab.client, "a", "burn", turns=turns * 4) / 4
    assert slow > 3 * fast
    await lab.faults.lift(number)
    assert min([await ask(lab.client, "a", "burn", turns=turns) for _ in range(3)]) < slow / 2


@told
async def test_a_partition_is_silence_in_both_directions_and_ends(lab: Lab) -> None:
    number = await lab.faults.inject(faults.Partition(groups=[["a"], ["b", "c"]]))
    assert await through(lab.client, "a", "b") == "DEADLINE_EXCEEDED"
    assert await through(lab.client, "c", "a") == "DEADLINE_EXCEEDED"
    assert await through(lab.client, "b", "c") == "hello"
    assert await say(lab.client, "a") == "hello"  # in no group
    assert await through(lab.client, "a", "a") == "hello"  # itself
    waiting = asyncio.ensure_future(ask(lab.client, "a", "call", peer="b", text="patient", timeout=10))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await lab.faults.lift(number)
    assert await waiting == "patient"


@told
async def test_a_cut_of_one_direction_executes_the_call_and_holds_the_reply(lab: Lab) -> None:
    before = await ask(lab.client, "b", "count")
    number = await lab.faults.inject(faults.Cut(source="b", target="a", both=False))
    assert await through(lab.client, "a", "b") == "DEADLINE_EXCEEDED"
    assert await ask(lab.client, "b", "count") == before + 1
    await lab.faults.lift(number)
    number = await lab.faults.inject(faults.Cut(source="a", target="b", both=False))
    assert await through(lab.client, "a", "b") == "DEADLINE_EXCEEDED"
    assert await ask(lab.client, "b", "count") == before + 1
    await lab.faults.lift(number)
    assert await through(lab.client, "a", "b") == "hello"


@told
async def test_isolation_reaches_the_clients_of_this_process_too(lab: Lab) -> None:
    number = await lab.faults.inject(faults.Isolate(host="a"))
    assert await say(lab.client, "a") == "DEADLINE_EXCEEDED"
    assert await say(lab.client, "b") == "hello"
    await lab.faults.lift(number)
    number = await lab.faults.inject(faults.Isolate(host="me"))
    assert await say(lab.client, "b") == "DEADLINE_EXCEEDED"
    assert await say(lab.client, "c") == "DEADLINE_EXCEEDED"
    await lab.faults.lift(number)
    assert await say(lab.client, "c") == "hello"


@told
async def test_a_stream_that_is_cut_goes_on_where_it_was(lab: Lab) -> None:
    async with lab.client.connect("a") as channel:
        chat = echo_pb2_grpc.EchoStub(channel).Chat(timeout=20)
        await chat.write(Words(text="1"))
        assert (await chat.read()).text == "1"  # type: ignore[union-attr]
        number = await lab.faults.inject(faults.Cut(source="me", target="a"))
        await chat.write(Words(text="2"))  # as with TCP, somebody takes it
        reading = asyncio.ensure_future(chat.read())
        await asyncio.sleep(0.2)
        assert not reading.done()
        await lab.faults.lift(number)
        assert (await reading).text == "2"  # type: ignore[union-attr]
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF


@told
async def test_the_door_holds_for_handlers_in_threads_too(lab: Lab) -> None:
    async def gather(stub: Any, *texts: str) -> str:
        try:
            return str((await stub.Gather([Words(text=text) for text in texts], timeout=HELD)).text)
        except grpc.aio.AioRpcError as exc:
            return f"{exc.code().name} {exc.details()}"

    async with lab.client.connect("a") as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        assert await gather(stub, "one", "two") == "one two"
        assert await gather(stub, "abort") == "NOT_FOUND user-agent"
        cut = await lab.faults.inject(faults.Cut(source="a", target="me", both=False))
        assert (await gather(stub, "one")).startswith("DEADLINE_EXCEEDED")
        assert (await gather(stub, "abort")).startswith("DEADLINE_EXCEEDED")
        await lab.faults.lift(cut)
        await lab.faults.inject(faults.LoseReply(host="a", method="Gather"))
        assert (await gather(stub, "one")).startswith("UNAVAILABLE")
        assert await gather(stub, "one") == "one"


@told
async def test_a_held_call_can_be_cancelled(lab: Lab) -> None:
    await lab.faults.inject(faults.Isolate(host="a"))
    async with lab.client.connect("a") as channel:
        call = echo_pb2_grpc.EchoStub(channel).Say(Words())
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await call.code() == grpc.StatusCode.CANCELLED


@told
async def test_what_is_cut_is_not_refused_even_when_the_peer_is_dead(lab: Lab) -> None:
    crash = await lab.faults.inject(faults.Crash(host="a"))
    cut = await lab.faults.inject(faults.Cut(source="me", target="a"))
    assert await say(lab.client, "a") == "DEADLINE_EXCEEDED"
    await lab.faults.lift(cut)
    assert await say(lab.client, "a") == "UNAVAILABLE"
    await lab.faults.lift(crash)


@told
async def test_a_cut_hides_the_death_of_the_peer_from_a_call_under_way(lab: Lab) -> None:
    async def under_way(timeout: float | None) -> asyncio.Task[Words]:
        pause = await lab.faults.inject(faults.Pause(host="a"))
        call = asyncio.ensure_future(stub.Say(Words(), timeout=timeout))
        await asyncio.sleep(0.05)
        assert pause
        return call

    async with lab.client.connect("a") as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        for timeout, code in ((0.4, "DEADLINE_EXCEEDED"), (None, "UNAVAILABLE")):
            await stub.Say(Words(), wait_for_ready=True)
            call = await under_way(timeout)
            cut = await lab.faults.inject(faults.Cut(source="me", target="a"))
            crash = await lab.faults.inject(faults.Crash(host="a"))
            await asyncio.sleep(0.1)
            assert not call.done()
            if timeout is None:
                await lab.faults.lift(cut)  # and now it is told
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call
            assert failure.value.code().name == code
            await lab.faults.lift(cut)
            await lab.faults.lift(crash)


@told
async def test_delay_and_jitter(lab: Lab) -> None:
    assert await say(lab.client, "a") == "hello"
    number = await lab.faults.inject(faults.Delay(source="me", target="a", seconds=0.15))
    start = time.monotonic()
    assert await say(lab.client, "a", timeout=5) == "hello"
    assert 0.15 < time.monotonic() - start < 0.3  # there, and not back
    await lab.faults.inject(faults.Delay(seconds=0.05, jitter=0.01))  # everywhere
    start = time.monotonic()
    assert await say(lab.client, "a", timeout=5) == "hello"
    assert 0.25 < time.monotonic() - start < 0.6
    await lab.faults.lift(number)


@told
async def test_a_delayed_stream_is_late_and_not_slow(lab: Lab) -> None:
    await lab.faults.inject(faults.Delay(source="a", target="me", seconds=0.2))
    async with lab.client.connect("a") as channel:
        start = time.monotonic()
        numbers = [word.number async for word in echo_pb2_grpc.EchoStub(channel).Repeat(Words(number=20))]
        assert numbers == list(range(20))
        assert 0.2 < time.monotonic() - start < 1.0


@told
async def test_loss_is_seen_as_retransmission(lab: Lab) -> None:
    await lab.faults.inject(faults.Loss(source="me", target="a", rate=0.3))
    took = []
    async with lab.client.connect("a") as channel:
        stub = echo_pb2_grpc.EchoStub(channel)

        async def one() -> None:
            start = time.monotonic()
            await stub.Say(Words(), timeout=30)
            took.append(time.monotonic() - start)

        await asyncio.gather(*(one() for _ in range(30)))
    assert min(took) < 0.2 <= max(took)


@told
async def test_a_lost_reply_was_executed_and_the_caller_cannot_know(lab: Lab) -> None:
    before = await ask(lab.client, "a", "count")
    await lab.faults.inject(faults.LoseReply(host="a", method="/dsim.echo.Echo/Say", count=2))
    assert await say(lab.client, "a") == "UNAVAILABLE"
    assert await say(lab.client, "a") == "UNAVAILABLE"
    assert await say(lab.client, "a") == "hello"
    assert await ask(lab.client, "a", "count") == before + 3
    await lab.faults.inject(faults.LoseReply(host="a", method="Repeat"))
    assert await say(lab.client, "a") == "hello"
    async with lab.client.connect("a") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            assert [word async for word in echo_pb2_grpc.EchoStub(channel).Repeat(Words(number=2))]
        assert failure.value.code() == grpc.StatusCode.UNAVAILABLE


@told
async def test_a_full_disk(lab: Lab) -> None:
    await ask(lab.client, "a", "append", path="full", data="x")
    number = await lab.faults.inject(faults.DiskFull(host="a"))
    assert await ask(lab.client, "a", "try_append", path="full", data="y") == "28"
    assert await ask(lab.client, "a", "try_append", path="new", data="y") == "28"
    assert await ask(lab.client, "a", "read", path="full") == "x"
    await lab.faults.lift(number)
    assert await ask(lab.client, "a", "try_append", path="full", data="y") == "written"


@told
async def test_a_failed_sync_loses_what_it_was_to_keep(lab: Lab) -> None:
    await ask(lab.client, "a", "append_open", path="log", data="kept,")
    assert await ask(lab.client, "a", "sync", path="log") == "synced"
    await ask(lab.client, "a", "append_open", path="log", data="lost")
    number = await lab.faults.inject(faults.SyncFails(host="a"))
    assert await ask(lab.client, "a", "sync", path="log") == "5"
    await lab.faults.lift(number)
    assert await ask(lab.client, "a", "sync", path="log") == "synced"  # and yet:
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="a")))
    assert await ask(lab.client, "a", "read", path="log") == "kept,"


@told
async def test_a_slow_disk(lab: Lab) -> None:
    fast = min([await ask(lab.client, "a", "write_many", count=50) for _ in range(3)])
    number = await lab.faults.inject(faults.SlowDisk(host="a", factor=20))
    assert await ask(lab.client, "a", "write_many", count=50) > 2 * fast
    await lab.faults.lift(number)


@told
async def test_corruption_flips_one_bit_of_one_byte(lab: Lab) -> None:
    text = "all of this is right"
    await ask(lab.client, "a", "append", path="deep/text", data=text)
    await lab.faults.inject(faults.Corrupt(host="a", path="deep/text"))
    now = (lab.cluster.folder.node("a").data / "deep" / "text").read_bytes()
    wrong = [(was, is_) for was, is_ in zip(text.encode(), now, strict=True) if was != is_]
    assert len(wrong) == 1 and (wrong[0][0] ^ wrong[0][1]).bit_count() == 1
    for path in ("nothing", "../log.txt"):
        with pytest.raises(ValueError, match="has no file"):
            await lab.faults.inject(faults.Corrupt(host="a", path=path))
    assert await lab.faults.inject(faults.Corrupt(host="a"))


@told
async def test_a_torn_write_leaves_its_beginning(lab: Lab) -> None:
    await lab.faults.inject(faults.TornWrite(host="a"))
    await ask(lab.client, "a", "append_open", path="torn", data="0123456789")
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="a")))
    assert await ask(lab.client, "a", "read", path="torn") == "01234"
    await ask(lab.client, "a", "append_open", path="torn", data="56789")  # the next crash tears nothing
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="a")))
    assert await ask(lab.client, "a", "read", path="torn") == "0123456789"


@told
async def test_healing_calls_off_what_was_ordered_and_has_not_happened(lab: Lab) -> None:
    await lab.faults.inject(faults.TornWrite(host="a"))
    await ask(lab.client, "a", "append_open", path="kept back", data="0123456789")
    await lab.faults.inject(faults.LoseReply(host="a", method="Say"))
    await lab.faults.inject(faults.Pause(host="a"))  # it hears of it all when it goes on
    await lab.faults.heal()
    assert await say(lab.client, "a") == "hello"
    await ask(lab.client, "a", "append_open", path="written since", data="0123456789")
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="a")))
    for path in ("kept back", "written since"):
        assert await ask(lab.client, "a", "read", path=path) == "0123456789"


@told
async def test_a_torn_write_that_was_synced_is_whole(lab: Lab) -> None:
    await lab.faults.inject(faults.TornWrite(host="a"))
    await ask(lab.client, "a", "append_open", path="synced", data="0123456789")
    assert await ask(lab.client, "a", "sync", path="synced") == "synced"
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="a")))
    assert await ask(lab.client, "a", "read", path="synced") == "0123456789"


@told
async def test_clocks(lab: Lab) -> None:
    async def off() -> float:
        return float((await ask(lab.client, "b", "clock"))[0])

    assert await off() == pytest.approx(0, abs=0.01)
    skew = await lab.faults.inject(faults.ClockSkew(host="b", seconds=100))
    assert await off() == pytest.approx(100, abs=0.01)
    await lab.faults.inject(faults.ClockJump(host="b", seconds=-30))
    assert await off() == pytest.approx(70, abs=0.01)
    await lab.faults.lift(skew)
    assert await off() == pytest.approx(-30, abs=0.01)
    drift = await lab.faults.inject(faults.ClockDrift(host="b", rate=5))
    await asyncio.sleep(0.2)
    drifting = await off()
    assert -30 + 1 <= drifting < -30 + 10
    await lab.faults.lift(drift)
    stopped = await off()
    assert drifting <= stopped
    await lab.faults.lift(await lab.faults.inject(faults.Crash(host="b")))
    assert await off() == pytest.approx(stopped, abs=0.01)  # the clock is the machine's, not the process's
    lie = await lab.faults.inject(faults.LyingMaster(host="b", seconds=3))
    assert (await ask(lab.client, "b", "clock"))[1] == 3
    await lab.faults.lift(lie)
    assert (await ask(lab.client, "b", "clock"))[1] == 0


@told
async def test_faults_overlap_and_one_can_be_lifted_alone(lab: Lab) -> None:
    cut = await lab.faults.inject(faults.Cut(source="me", target="a"))
    alone = await lab.faults.inject(faults.Isolate(host="a"))
    await lab.faults.lift(cut)
    assert await say(lab.client, "a") == "DEADLINE_EXCEEDED"
    await lab.faults.lift(alone)
    assert await say(lab.client, "a") == "hello"


@told
async def test_another_shell_sees_and_heals_them(lab: Lab) -> None:
    await lab.faults.inject(faults.Isolate(host="a"))
    await lab.faults.inject(faults.Crash(host="b"))
    other = ClusterFaults(Cluster.open(lab.cluster.folder.path))
    held = await other.active()
    assert list(held.values()) == [faults.Isolate(host="a"), faults.Crash(host="b")]
    assert await other.heal() == held
    assert await other.active() == {}
    assert await say(lab.client, "a") == "hello"
    assert await say(lab.client, "b", timeout=5) == "hello"


@told
async def test_a_restart_by_somebody_else_ends_the_crash(lab: Lab) -> None:
    await lab.faults.inject(faults.Crash(host="a"))
    await lab.cluster.restart("a")
    assert await lab.faults.active() == {}


@told
async def test_every_fault_is_in_the_trace(lab: Lab) -> None:
    number = await lab.faults.inject(faults.Cut(source="a", target="b"))
    await lab.faults.lift(number)
    lines = [json.loads(line) for line in lab.cluster.folder.events.read_text().splitlines()]
    mine = [line for line in lines if line["kind"] == "fault" and line["id"] == number]
    assert [(line["name"], line["phase"], line["hosts"]) for line in mine] == [
        ("cut", "begin", ["a", "b"]),
        ("cut", "end", ["a", "b"]),
    ]


@told
async def test_what_cannot_be_is_refused_in_one_line_and_nothing_happens(lab: Lab) -> None:
    refused: list[tuple[AnyFault, type[ValueError], str]] = [
        (
            faults.Crash(host="nobody"),
            ValueError,
            r"crash: there is no host 'nobody' \(there are: a, b, c, .*me",
        ),
        (faults.Crash(host="me"), UnsupportedFault, "crash: me is a client inside another process"),
        (faults.Slow(host="a", cpu=0.5), UnsupportedFault, "slow: cpu below 1"),
        (faults.Slow(host="a", cpu=201), UnsupportedFault, "slow: cpu is 201: a real host can be made 200"),
        (faults.Slow(host="a", cpu=-1), ValueError, "slow: cpu is -1, must be above 0"),
        (faults.Loss(source="a", target="b", rate=2), ValueError, "loss: rate is 2, must be between 0 and 1"),
        (faults.Delay(seconds=float("nan")), ValueError, "delay: seconds is nan"),
        (faults.Partition(groups=[["a"], ["a"]]), ValueError, "partition: a is in two groups"),
        (faults.Partition(groups=[["a"]]), ValueError, "partition: groups must be two or more"),
        (faults.Cut(source="a", target="a"), ValueError, "cut: a cannot be cut off from itself"),
        (faults.Pause(host=""), ValueError, "pause: host must name a host"),
    ]
    for fault, error, message in refused:
        with pytest.raises(error, match=message) as failure:
            await lab.faults.inject(fault)
        assert "\n" not in str(failure.value)
    await lab.faults.inject(faults.Crash(host="a"))
    with pytest.raises(ValueError, match="crash: a is down"):
        await lab.faults.inject(faults.Crash(host="a"))
    assert list((await lab.faults.active()).values()) == [faults.Crash(host="a")]
