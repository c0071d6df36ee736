"""`SimHost`: the door of one simulated process, and what goes through it into the trace.

A service sees `services.host.Host`; this is that, on the hardware of a `Machine`. Each incarnation has
a `SimHost` of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from protos.trace import Note, Span
from services.host import DEFAULT_PORT
from sim.world.tasks import label_of

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    import grpc

    from services.child import Child
    from services.host import Disk
    from sim.world.clock import HostClock
    from sim.world.machine import Machine
    from sim.world.process import Process

T = TypeVar("T")


class SimHost:
    """What one incarnation of a simulated host may touch; implements `services.host.Host`.

    Attributes:
        machine, process: what it is a door to.
    """

    def __init__(self, machine: Machine, process: Process) -> None:
        self.machine = machine
        self.process = process
        self._rng: random.Random | None = None
        self._children = 0
        self._open: dict[SimSpan, None] = {}
        if machine.simulation.trace is not None:
            process.on_death(self._cut_spans)

    @property
    def name(self) -> str:
        """The host's name."""
        return self.process.name

    @property
    def incarnation(self) -> int:
        """How often this host has been started before."""
        return self.process.incarnation

    @property
    def disk(self) -> Disk:
        """The machine's disk."""
        return self.machine.disk

    @property
    def clock(self) -> HostClock:
        """The machine's clock."""
        return self.machine.clock

    @property
    def rng(self) -> random.Random:
        """Chance, from the seed, the name and the incarnation."""
        if self._rng is None:
            chance = self.machine.simulation.chance
            self._rng = chance.stream(f"host/{self.name}/{self.incarnation}")
        return self._rng

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel over the simulated network."""
        from sim.world import rpc

        return rpc.connect(
            self.machine.simulation, self.process, target, options=options, interceptors=interceptors
        )

    def serve(
        self,
        port: int = DEFAULT_PORT,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
    ) -> grpc.aio.Server:
        """Returns a server on the simulated network, not yet started."""
        from sim.world import rpc

        return rpc.serve(
            self.machine.simulation,
            self.process,
            port,
            options=options,
            interceptors=interceptors,
            maximum_concurrent_rpcs=maximum_concurrent_rpcs,
        )

    def compute(self, fn: Callable[..., T], *args: Any, cost: float | None = None) -> Awaitable[T]:
        """Runs `fn(*args)` and charges the machine's cores for it."""
        return self.machine.cpu.compute(fn, *args, cost=cost)

    def child(
        self,
        *,
        log: str = "",
        memory: int | None = None,
        heard: Callable[[Any], None] | None = None,
        cost: Callable[[Any], float] | None = None,
    ) -> Child:
        """Returns a process apart; see `sim.world.child`."""
        from sim.world.child import SimChild

        if memory is not None and memory <= 0:
            raise ValueError(f"a child's memory is {memory} bytes: must be above 0")
        self._children += 1
        return SimChild(self, self._children, log, heard, cost)

    def trace(self, name: str, **fields: Any) -> None:
        """Writes a `Note`."""
        recorder = self.machine.simulation.trace
        if recorder is not None:
            now = self.machine.simulation.loop.env._now
            recorder.write(Note(now, self.process.name, name, _task_name(), fields))

    def span(self, name: str, **fields: Any) -> SimSpan:
        """Writes a `Span` when the block ends; a crash ends it too."""
        return SimSpan(self, name, fields)

    def _cut_spans(self) -> None:
        spans, self._open = self._open, {}
        for span in spans:
            span.write(ok=False)

    def __repr__(self) -> str:
        return f"<host {self.name}#{self.incarnation}>"


class SimSpan:
    """An open span: a context manager that yields its fields."""

    __slots__ = ("_fields", "_host", "_name", "_start", "_task")

    def __init__(self, host: SimHost, name: str, fields: dict[str, Any]) -> None:
        self._host = host
        self._name = name
        self._fields = fields
        self._start = 0
        self._task = ""

    def __enter__(self) -> dict[str, Any]:
        self._start = self._host.machine.simulation.loop.env._now
        self._task = _task_name()
        self._host._open[self] = None
        return self._fields

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._host._open.pop(self, self) is None:
            self.write(ok=kind is None)

    def write(self, *, ok: bool) -> None:
        """Writes the record."""
        simulation = self._host.machine.simulation
        if simulation.trace is not None:
            now = simulation.loop.env._now
            simulation.trace.write(
                Span(now, self._host.name, self._name, self._start, self._task, ok, self._fields)
            )


def _task_name() -> str:
    return label_of(asyncio.current_task())
