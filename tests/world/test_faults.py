"""Faults in the simulated world: what they do, how they overlap, and what is refused."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.trace import FaultEvent
from services.recorder import Recorder
from sim import faults
from sim.faults import KINDS
from sim.world.faults import Faults
from sim.world.rpc.world import world_of
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sim.faults import AnyFault


class World:
    def __init__(self, hosts: str = "a b c", seed: int = 0) -> None:
        self.records: list[Any] = []
        self.simulation = Simulation(seed, recorder=Recorder(keep=self.records.extend))
        self.faults = Faults(self.simulation)
        for name in hosts.split():
            self.simulation.boot(name)

    def run(self, story: Callable[[World], Coroutine[Any, Any, Any]]) -> Any:
        return self.simulation.run(story(self))

    def machine(self, name: str) -> Any:
        return self.simulation.machines[name]

    def blocked(self, source: str, target: str) -> bool:
        return self.simulation.network.path(source, target).blocked

    def events(self) -> list[tuple[int, str, str]]:
        assert self.simulation.trace is not None
        self.simulation.trace.flush()
        return [(e.id, e.name, e.phase) for e in self.records if isinstance(e, FaultEvent)]


def test_a_crash_holds_until_the_restart() -> None:
    async def story(world: World) -> None:
        number = world.faults.inject(faults.Crash(host="a"))
        assert not world.machine("a").running
        world.faults.lift(number)
        assert world.machine("a").running
        assert world.machine("a").incarnation == 1
        assert world.events() == [(1, "crash", "begin"), (1, "crash", "end")]

    World().run(story)


def test_a_restart_by_somebody_else_ends_the_crash() -> None:
    async def story(world: World) -> None:
        number = world.faults.inject(faults.Crash(host="a"))
        world.machine("a").restart()
        assert world.faults.active == {}
        world.faults.lift(number)
        assert world.machine("a").incarnation == 1
        assert world.events() == [(1, "crash", "begin"), (1, "crash", "end")]

    World().run(story)


def test_a_crash_ends_a_pause() -> None:
    async def story(world: World) -> None:
        pause = world.faults.inject(faults.Pause(host="a"))
        crash = world.faults.inject(faults.Crash(host="a"))
        world.faults.lift(pause)
        assert not world.machine("a").running
        world.faults.lift(crash)
        assert not world.machine("a").paused
        assert world.events() == [
            (1, "pause", "begin"),
            (2, "crash", "begin"),
            (1, "pause", "end"),
            (2, "crash", "end"),
        ]

    World().run(story)


def test_a_host_paused_twice_goes_on_when_both_pauses_are_over() -> None:
    async def story(world: World) -> None:
        first, second = (world.faults.inject(faults.Pause(host="a")) for _ in range(2))
        world.faults.lift(first)
        assert world.machine("a").paused
        world.faults.lift(second)
        assert not world.machine("a").paused

    World().run(story)


def test_what_blocks_a_path_blocks_it_until_all_of_it_is_lifted() -> None:
    async def story(world: World) -> None:
        cut = world.faults.inject(faults.Cut(source="a", target="b", both=False))
        assert world.blocked("a", "b")
        assert not world.blocked("b", "a")
        partition = world.faults.inject(faults.Partition(groups=[["a"], ["b"]]))
        assert world.blocked("b", "a")
        assert not world.blocked("a", "c"), "who is in no group reaches everybody"
        isolate = world.faults.inject(faults.Isolate(host="c"))
        assert world.blocked("a", "c")
        assert not world.blocked("c", "c")
        world.faults.lift(partition)
        assert world.blocked("a", "b")
        assert not world.blocked("b", "a")
        world.faults.lift(cut)
        assert not world.blocked("a", "b")
        world.faults.lift(isolate)
        assert not world.blocked("a", "c")

    World().run(story)


def test_a_partition_holds_for_paths_and_hosts_that_come_later() -> None:
    async def story(world: World) -> None:
        world.faults.inject(faults.Isolate(host="a"))
        world.simulation.boot("d")
        assert world.blocked("d", "a")

    World().run(story)


def test_delays_add_up_and_losses_compound() -> None:
    async def story(world: World) -> None:
        path = world.simulation.network.path("a", "b")
        usual = path.latency
        for fault in (faults.Delay(source="a", seconds=1.0), faults.Delay(seconds=2.0, jitter=0.5)):
            world.faults.inject(fault)
        for _ in range(2):
            world.faults.inject(faults.Loss(source="a", target="b", rate=0.5))
        assert path.latency == usual + 3 * 10**9
        assert path.jitter == 5 * 10**8
        assert path.loss == pytest.approx(0.75)
        assert world.simulation.network.path("b", "a").latency == usual + 2 * 10**9
        world.faults.heal()
        assert (path.latency, path.jitter, path.loss) == (usual, 0, 0.0)

    World().run(story)


def test_a_loss_of_everything_is_a_cut() -> None:
    async def story(world: World) -> None:
        number = world.faults.inject(faults.Loss(source="a", rate=1.0))
        assert world.blocked("a", "b")
        world.faults.lift(number)
        assert not world.blocked("a", "b")

    World().run(story)


def test_machines_are_in_the_state_that_all_faults_together_make() -> None:
    async def story(world: World) -> None:
        machine = world.machine("a")
        slow = world.faults.inject(faults.Slow(host="a", cpu=3.0, disk=2.0))
        for fault in (
            faults.Slow(host="a", cpu=2.0),
            faults.SlowDisk(host="a", factor=5.0),
            faults.DiskFull(host="a"),
            faults.SyncFails(host="a"),
            faults.ClockDrift(host="a", rate=0.1),
            faults.ClockDrift(host="a", rate=0.2),
            faults.LyingMaster(host="a", seconds=4.0),
        ):
            world.faults.inject(fault)
        assert (machine.cpu.slow, machine.disk.slow) == (6.0, 10.0)
        assert (machine.disk.full, machine.disk.sync_fails) == (True, True)
        assert machine.clock.rate == pytest.approx(0.3)
        assert machine.clock.lie == 4.0
        world.faults.lift(slow)
        assert (machine.cpu.slow, machine.disk.slow) == (2.0, 5.0)
        world.faults.heal()
        assert (machine.cpu.slow, machine.disk.slow) == (1.0, 1.0)
        assert (machine.disk.full, machine.disk.sync_fails) == (False, False)
        assert (machine.clock.rate, machine.clock.lie) == (0.0, 0.0)

    World().run(story)


def test_a_skew_ends_and_a_jump_stays() -> None:
    async def story(world: World) -> None:
        clock = world.machine("a").clock
        world.faults.inject(faults.ClockSkew(host="a", seconds=3.0))
        world.faults.inject(faults.ClockSkew(host="a", seconds=-1.0))
        world.faults.inject(faults.ClockJump(host="a", seconds=10.0))
        assert clock.offset_ns == 12 * 10**9
        world.faults.heal()
        assert clock.offset_ns == 10 * 10**9
        assert (3, "clock-jump", "once") in world.events()

    World().run(story)


def test_corruption_says_where_it_struck() -> None:
    async def story(world: World) -> None:
        world.faults.inject(faults.Corrupt(host="a"))
        file = await world.machine("a").disk.open("x", "w")
        await file.append(b"abc")
        world.faults.inject(faults.Corrupt(host="a"))
        assert await file.read() != b"abc"
        with pytest.raises(ValueError, match="corrupt: y on a: No such file"):
            world.faults.inject(faults.Corrupt(host="a", path="y"))
        assert world.events() == [(1, "corrupt", "once"), (2, "corrupt", "once")]
        events = [record for record in world.records if isinstance(record, FaultEvent)]
        assert [event.fields["path"] for event in events] == ["", "x"]

    World().run(story)


def test_healing_lifts_everything_and_restarts_last() -> None:
    async def story(world: World) -> None:
        world.faults.inject(faults.Crash(host="a"))
        world.faults.inject(faults.Isolate(host="a"))
        world.faults.inject(faults.Pause(host="b"))
        world.faults.heal()
        assert world.faults.active == {}
        assert world.machine("a").running
        assert not world.machine("b").paused
        assert [event for event in world.events() if event[2] == "end"] == [
            (2, "isolate", "end"),
            (3, "pause", "end"),
            (1, "crash", "end"),
        ]

    World().run(story)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.Crash(host="z"), r"crash: there is no host 'z' \(there are: a, b, c"),
        (faults.Crash(host="c"), "crash: c is down already"),
        (faults.Pause(host="c"), "pause: c is down, and cannot be paused"),
        (faults.LoseReply(host="c"), "lose-reply: c is down"),
        (faults.LoseReply(host="a", count=0), "lose-reply: count is 0, must be 1 or more"),
        (faults.Crash(host=""), "crash: host must name a host"),
        (faults.Cut(source="a", target=""), "cut: target must name a host"),
        (faults.Cut(source="a", target="a"), "cut: a cannot be cut off from itself"),
        (faults.Partition(groups=[["a", "b"]]), "partition: groups must be two or more"),
        (faults.Partition(groups=[["a", "b"], ["b"]]), "partition: b is in two groups"),
        (faults.Partition(groups=[["a"], ["q"]]), "partition: there is no host 'q'"),
        (faults.Loss(rate=1.5), r"loss: rate is 1\.5, must be between 0 and 1"),
        (faults.Delay(seconds=-1.0), r"delay: seconds is -1\.0, must be 0 or more"),
        (faults.Delay(jitter=math.nan), "delay: jitter is nan"),
        (faults.Slow(host="a", cpu=0.0), r"slow: cpu is 0\.0, must be above 0"),
        (faults.SlowDisk(host="a", factor=-2.0), r"slow-disk: factor is -2\.0, must be above 0"),
        (faults.ClockDrift(host="a", rate=-1.0), r"clock-drift: rate is -1\.0, must be above -1"),
        (faults.ClockSkew(host="a", seconds=math.inf), "clock-skew: seconds is inf"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_has_happened(fault: AnyFault, message: str) -> None:
    async def story(world: World) -> None:
        world.machine("c").crash()
        with pytest.raises(ValueError, match=message):
            world.faults.inject(fault)
        assert world.faults.active == {}
        assert world.events() == []

    World().run(story)


def test_a_fault_that_never_was_cannot_be_lifted() -> None:
    async def story(world: World) -> None:
        with pytest.raises(ValueError, match="no fault number 1"):
            world.faults.lift(1)

    World().run(story)


EXAMPLES: dict[str, AnyFault] = {
    "crash": faults.Crash(host="a"),
    "pause": faults.Pause(host="a"),
    "slow": faults.Slow(host="a"),
    "partition": faults.Partition(groups=[["a"], ["b", "c"]]),
    "cut": faults.Cut(source="a", target="b"),
    "isolate": faults.Isolate(host="a"),
    "delay": faults.Delay(seconds=0.1),
    "loss": faults.Loss(rate=0.2),
    "lose-reply": faults.LoseReply(host="a"),
    "disk-full": faults.DiskFull(host="a"),
    "sync-fails": faults.SyncFails(host="a"),
    "slow-disk": faults.SlowDisk(host="a"),
    "corrupt": faults.Corrupt(host="a"),
    "torn-write": faults.TornWrite(host="a"),
    "clock-skew": faults.ClockSkew(host="a", seconds=1.0),
    "clock-drift": faults.ClockDrift(host="a", rate=0.001),
    "clock-jump": faults.ClockJump(host="a", seconds=1.0),
    "lying-master": faults.LyingMaster(host="a", seconds=1.0),
}


def test_every_kind_is_known_here() -> None:
    assert list(EXAMPLES) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_happens_is_traced_and_can_be_lifted(kind: str) -> None:
    async def story(world: World) -> None:
        number = world.faults.inject(EXAMPLES[kind])
        await asyncio.sleep(1)
        world.faults.lift(number)
        lasting = KINDS[kind].lasting
        assert world.events() == [(1, kind, phase) for phase in (("begin", "end") if lasting else ("once",))]

    World().run(story)


def test_healing_calls_off_what_was_ordered_and_has_not_happened() -> None:
    async def story(world: World) -> None:
        machine = world.machine("a")
        world.faults.inject(faults.LoseReply(host="a", count=3))
        world.faults.inject(faults.TornWrite(host="a"))
        assert world_of(world.simulation).losing and machine.disk.tear
        world.faults.heal()
        assert not world_of(world.simulation).losing and not machine.disk.tear

    World().run(story)


LASTING = [fault for fault in EXAMPLES.values() if fault.lasting]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(LASTING), st.integers(1, 12)), max_size=25))
def test_faults_in_any_order_leave_nothing_behind_when_all_are_lifted(steps: list[Any]) -> None:
    async def story(world: World) -> None:
        begun: list[int] = []
        for step in steps:
            if not isinstance(step, int):
                try:
                    begun.append(world.faults.inject(step))
                except ValueError as exc:
                    assert str(exc) in ("crash: a is down already", "pause: a is down, and cannot be paused")
            elif step in begun:
                world.faults.lift(step)
            await asyncio.sleep(0.1)
        world.faults.heal()
        machine = world.machine("a")
        assert machine.running
        assert not machine.paused
        assert (machine.cpu.slow, machine.disk.slow, machine.clock.rate) == (1.0, 1.0, 0.0)
        path = world.simulation.network.path("a", "b")
        assert (path.blocked, path.loss, path.latency) == (False, 0.0, 500_000)
        phases: dict[int, list[str]] = {}
        for number, _, phase in world.events():
            phases.setdefault(number, []).append(phase)
        assert all(found == ["begin", "end"] for found in phases.values())

    World().run(story)
