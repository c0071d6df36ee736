"""Faults in the simulated world: what each kind of `sim.faults` does to the hardware.

Faults overlap. Those that put a machine in a state (slow, disk full, drift, ...) are not undone one by one:
the state is computed from all faults that hold, whenever one begins or ends. A crash ends with the
next restart of its host, whoever orders it, and ends every pause of it; a host paused twice goes on when
both pauses are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from protos.trace import FaultEvent
from sim import faults
from sim.faults import AnyFault, Fault, check_values, kind_of
from sim.world.loop import nanoseconds
from sim.world.network import Impairment
from sim.world.rpc.world import lose_no_replies, lose_replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.machine import Machine
    from sim.world.simulation import Simulation


class Faults:
    """The faults of a simulation.

    Attributes:
        active: those that hold, by number.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._count = 0
        self._impairments: dict[int, int] = {}
        self.active: dict[int, AnyFault] = {}
        simulation.watchers.append(self._watch)

    def inject(self, fault: AnyFault) -> int:
        """Makes a fault happen and returns its number, for `lift`.

        Raises:
            ValueError: it names a host that there is not or that is in no state for it, or a value that is
                out of range; the message says which, and nothing has happened.
        """
        self._check(fault)
        self._count += 1
        number = self._count
        if fault.lasting:
            self.active[number] = fault
            self._write(number, fault, "begin")
            self._begin(number, fault)
        else:
            fields = self._strike(fault)
            self._write(number, fault, "once", **fields)
        return number

    def lift(self, number: int) -> None:
        """Ends a lasting fault; one that is over already stays over.

        Raises:
            ValueError: there was never such a fault.
        """
        fault = self.active.get(number)
        if fault is None:
            if not 0 < number <= self._count:
                raise ValueError(f"there is no fault number {number}")
            return
        if isinstance(fault, faults.Crash):
            self._simulation.machines[fault.host].restart()  # `_watch` sees it, and ends the fault
        else:
            self._end(number)

    def heal(self) -> None:
        """Lifts every fault that holds; crashed hosts last, so that they start in a world that works.

        Replies that were to be lost and writes that were to be torn, but have not been yet, will not be.
        """
        lose_no_replies(self._simulation)
        for machine in self._simulation.machines.values():
            machine.disk.tear = False
        for number, _ in sorted(
            self.active.items(), key=lambda item: (isinstance(item[1], faults.Crash), item[0])
        ):
            self.lift(number)

    def _end(self, number: int) -> None:
        fault = self.active.pop(number)
        self._write(number, fault, "end")
        impairment = self._impairments.pop(number, None)
        if impairment is not None:
            self._simulation.network.lift(impairment)
            return
        machine = self._simulation.machines[fault.hosts()[0]]
        if isinstance(fault, faults.Pause):
            if machine.paused and not self._holding(faults.Pause, machine.name):
                machine.resume()
        elif isinstance(fault, faults.ClockSkew):
            machine.clock.shift(-nanoseconds(fault.seconds))
        elif not isinstance(fault, faults.Crash):
            self._set_state(machine)

    def _watch(self, host: str, event: str) -> None:
        """Sees what happens to hosts: some of it ends faults."""
        ended: type[Fault] | None = {
            "restart": faults.Crash,
            "boot": faults.Crash,
            "resume": faults.Pause,
            "crash": faults.Pause,
            "exit": faults.Pause,
        }.get(event)
        if ended is not None:
            for number in self._holding(ended, host):
                self._write(number, self.active.pop(number), "end")

    def _holding(self, kind: type[Fault], host: str) -> list[int]:
        return [n for n, fault in self.active.items() if isinstance(fault, kind) and host in fault.hosts()]

    # What faults do

    def _begin(self, number: int, fault: AnyFault) -> None:
        wrong = _impairment(fault)
        if wrong is not None:
            self._impairments[number] = self._simulation.network.impair(wrong)
            return
        machine = self._simulation.machines[fault.hosts()[0]]
        if isinstance(fault, faults.Crash):
            machine.crash()
        elif isinstance(fault, faults.Pause):
            if not machine.paused:
                machine.pause()
        elif isinstance(fault, faults.ClockSkew):
            machine.clock.shift(nanoseconds(fault.seconds))
        else:
            self._set_state(machine)

    def _strike(self, fault: AnyFault) -> dict[str, Any]:
        """Makes a fault happen that does not last; returns what the trace should say besides."""
        machine = self._simulation.machines[fault.hosts()[0]]
        match fault:
            case faults.LoseReply(method=method, count=count):
                lose_replies(machine.name, self._simulation, method, count)
            case faults.Corrupt(path=path):
                try:
                    return {"path": machine.disk.corrupt(path)}  # "" when the disk is empty
                except OSError as exc:
                    raise ValueError(f"corrupt: {path} on {machine.name}: {exc.strerror}") from None
            case faults.TornWrite():
                machine.disk.tear = True
            case faults.ClockJump(seconds=seconds):
                machine.clock.shift(nanoseconds(seconds))
            case _:
                raise AssertionError(f"{fault} lasts")
        return {}

    def _set_state(self, machine: Machine) -> None:
        """Puts a machine in the state that all faults together make."""
        cpu = disk = 1.0
        drift = lie = 0.0
        full = sync_fails = False
        for fault in self.active.values():
            if fault.hosts() != [machine.name]:
                continue
            match fault:
                case faults.Slow():
                    cpu *= fault.cpu
                    disk *= fault.disk
                case faults.SlowDisk():
                    disk *= fault.factor
                case faults.DiskFull():
                    full = True
                case faults.SyncFails():
                    sync_fails = True
                case faults.ClockDrift():
                    drift += fault.rate
                case faults.LyingMaster():
                    lie += fault.seconds
                case _:
                    pass
        if machine.cpu.slow != cpu:
            machine.cpu.set_slow(cpu)
        machine.disk.slow, machine.disk.full, machine.disk.sync_fails = disk, full, sync_fails
        machine.clock.lie = lie
        if machine.clock.rate != drift:
            machine.clock.drift(drift)

    # What is refused

    def _check(self, fault: AnyFault) -> None:
        machines = self._simulation.machines
        for name in fault.hosts():
            if name not in machines:
                raise ValueError(
                    f"{kind_of(fault)}: there is no host {name!r} (there are: {', '.join(machines)})"
                )
        check_values(fault)
        match fault:
            case faults.Crash(host=host) if not machines[host].running:
                raise ValueError(f"crash: {host} is down already")
            case faults.Pause(host=host) if not machines[host].running:
                raise ValueError(f"pause: {host} is down, and cannot be paused")
            case faults.LoseReply(host=host) if not machines[host].running:
                raise ValueError(f"lose-reply: {host} is down, and replies to nothing")
            case _:
                pass
        if isinstance(fault, faults.ClockDrift):
            total = sum(
                other.rate
                for other in self.active.values()
                if isinstance(other, faults.ClockDrift) and other.host == fault.host
            )
            if not -1.0 < total + fault.rate < 10.0:
                raise ValueError(f"clock-drift: rate is {fault.rate}, must be above -1 and below 10 in all")

    def _write(self, number: int, fault: AnyFault, phase: str, **more: Any) -> None:
        trace = self._simulation.trace
        if trace is not None:
            fields = {k: v for k, v in msgspec.to_builtins(fault).items() if k not in ("kind", "host")}
            now = self._simulation.now()
            trace.write(FaultEvent(now, number, kind_of(fault), phase, fault.hosts(), {**fields, **more}))


def _impairment(fault: AnyFault) -> Impairment | None:
    """Returns what a fault of the network puts between hosts."""
    match fault:
        case faults.Partition(groups=groups):
            group = {host: number for number, hosts in enumerate(groups) for host in hosts}
            return Impairment(lambda a, b: a in group and b in group and group[a] != group[b], blocks=True)
        case faults.Cut(source=source, target=target, both=both):
            ways = ((source, target), (target, source)) if both else ((source, target),)
            return Impairment(lambda a, b: (a, b) in ways, blocks=True)
        case faults.Isolate(host=host):
            return Impairment(lambda a, b: host in (a, b), blocks=True)
        case faults.Delay(source=source, target=target, seconds=seconds, jitter=jitter):
            return Impairment(
                _between(source, target), delay=nanoseconds(seconds), jitter=nanoseconds(jitter)
            )
        case faults.Loss(source=source, target=target, rate=rate):
            return Impairment(_between(source, target), loss=rate)
        case _:
            return None


def _between(source: str, target: str) -> Callable[[str, str], bool]:
    return lambda a, b: source in ("", a) and target in ("", b)
