"""The processor of a simulated host: cores, and what work costs on them.

Two kinds of work compete for the cores. What the host does for its network (`run`: handling an RPC)
goes first and in order; computations (`compute`) take the cores that are left, in order, and give
way when a message comes in, as a busy machine's scheduler lets a process that slept go before one
that computes. So a worker that maps for ten seconds on its only core still answers heartbeats.

This is `simpy.PreemptiveResource` with two priorities, written out because it stands on the path of
every RPC: work costs one SimPy event.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from msgspec import Struct

from sim.world.loop import DISCARDED, nanoseconds

if TYPE_CHECKING:
    from sim.world.loop import VirtualTime

T = TypeVar("T")


class RpcCost(Struct, frozen=True):
    """What one message of an RPC costs the processor of its sender, and that of its receiver.

    The defaults are those of gRPC in Python on a present machine: a unary echo costs a server about
    100 µs, half of it for the request and half for the reply, and large messages pass at about 2 GB/s.

    Attributes:
        message: seconds a message.
        byte: seconds a byte.
    """

    message: float = 50e-6
    byte: float = 0.5e-9

    def __post_init__(self) -> None:
        _check(message=self.message, byte=self.byte)

    def seconds(self, size: int) -> float:
        """Returns the processor seconds of one message of `size` bytes."""
        return self.message + self.byte * size


class ComputeCost(Struct, frozen=True):
    """What `Host.compute` charges when the caller names no cost.

    It knows only the bytes that go in and come out. The defaults are those of a plain Python loop over
    text (about 50 MB/s) in a worker process that is already there.

    Attributes:
        call: seconds a call.
        byte: seconds a byte of pickled arguments and result.
    """

    call: float = 100e-6
    byte: float = 20e-9

    def __post_init__(self) -> None:
        _check(call=self.call, byte=self.byte)


RpcCosts: TypeAlias = RpcCost | Callable[[str], RpcCost | None] | None
"""What messages cost: alike with all hosts, by the name of the other host, or nothing."""


def _check(**costs: float) -> None:
    for name, cost in costs.items():
        if not 0 <= cost < 1e9:
            raise ValueError(f"processor cost: {name} is {cost} s, must be 0 or more")


class _Job(Struct, eq=False):
    """Work on a core; it is the SimPy event of its own end."""

    cpu: Cpu
    ns: int  # of work, at full speed
    urgent: bool
    then: Callable[..., object]
    args: tuple[Any, ...]
    life: int  # of the cpu: work from before a reset does not count
    callbacks: tuple[Callable[[_Job], None], ...] | None
    ends: int = 0

    _ok: ClassVar[bool] = True


def _finished(job: _Job) -> None:
    job.cpu._finish(job)


_FINISHED = (_finished,)


class Cpu:
    """The cores of one host.

    Args:
        env: virtual time.
        cores: how many.
        rpc_cost: what handling a message costs, perhaps by the other host's name; None: nothing.
        compute_cost: what a computation costs that does not say.

    Attributes:
        slow: work takes this many times as long (the fault `slow`).
        busy_ns: core nanoseconds of work finished so far, at full speed.

    Raises:
        ValueError: there is no core.
    """

    def __init__(
        self,
        env: VirtualTime,
        cores: int = 4,
        rpc_cost: RpcCosts = None,
        compute_cost: ComputeCost | None = None,
    ) -> None:
        if cores < 1:
            raise ValueError(f"a host has at least one core, not {cores}")
        self._env = env
        self.cores = cores
        self.rpc_cost = rpc_cost
        self.compute_cost = compute_cost or ComputeCost()
        self.slow = 1.0
        self.busy_ns = 0
        self._free = cores
        self._life = 0
        # What waits for a core; made when something does, for an empty deque takes 600 bytes.
        self._urgent: deque[_Job] | None = None
        self._waiting: deque[_Job] | None = None
        self._computing: dict[_Job, None] = {}

    def rpc_cost_with(self, peer: str) -> RpcCost | None:
        """Returns what a message to or from that host costs."""
        return self.rpc_cost(peer) if callable(self.rpc_cost) else self.rpc_cost

    def run(self, ns: int, then: Callable[..., object], *args: Any) -> None:
        """Does `ns` of work before all computations, then calls `then(*args)`, as hardware."""
        job = _Job(self, ns, True, then, args, self._life, _FINISHED)
        if self._free:
            self._start(job)
        elif self._computing:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.appendleft(self._interrupt(next(reversed(self._computing))))
            self._start(job)
        else:
            if self._urgent is None:
                self._urgent = deque()
            self._urgent.append(job)

    def work(self, ns: int, then: Callable[..., object], *args: Any) -> None:
        """Does `ns` of computation, then calls `then(*args)`, as hardware."""
        job = _Job(self, ns, False, then, args, self._life, _FINISHED)
        if self._free:
            self._start(job)
        else:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(job)

    def give_up(self, *args: Any) -> None:
        """Takes the computation with these arguments off its core, or out of the queue."""
        waiting = self._waiting or ()
        if any(job.args == args for job in waiting):
            self._waiting = deque(job for job in waiting if job.args != args)
        for job in [job for job in self._computing if job.args == args]:
            self._interrupt(job)
            if self._waiting:
                self._start(self._waiting.popleft())

    async def compute(self, fn: Callable[..., T], *args: Any, cost: float | None = None) -> T:
        """Runs `fn(*args)` and returns its result when its cost has been paid.

        Arguments and result are pickled and unpickled, as on their way to and from a real host's
        worker process: nothing is shared, and what cannot be pickled fails in both worlds.

        Args:
            fn: an importable function.
            args: its arguments.
            cost: processor seconds; None: by `compute_cost`, from the pickled sizes.

        Raises:
            ValueError: the cost is negative.
            Exception: whatever `fn` raises, after its cost has been paid.
        """
        if cost is not None and not cost >= 0:
            raise ValueError(f"compute: cost is {cost} s, must be 0 or more")
        asked = pickle.dumps((fn, args), pickle.HIGHEST_PROTOCOL)
        function, arguments = pickle.loads(asked)
        error: Exception | None = None
        answer = b""
        try:
            answer = pickle.dumps(function(*arguments), pickle.HIGHEST_PROTOCOL)
        except Exception as exc:
            error = exc
        if cost is None:
            cost = self.compute_cost.call + self.compute_cost.byte * (len(asked) + len(answer))
        paid = asyncio.get_running_loop().create_future()
        self.work(nanoseconds(cost), _pay, paid)
        await paid
        if error is not None:
            raise error
        result: T = pickle.loads(answer)
        return result

    def set_slow(self, factor: float) -> None:
        """Makes work take `factor` times as long; computations under way slow down where they are.

        Raises:
            ValueError: the factor is not positive.
        """
        if not 0 < factor < 1e9:
            raise ValueError(f"work takes {factor} times as long: must be above 0")
        running = [self._interrupt(job) for job in list(self._computing)]
        self.slow = factor
        for job in running:
            self._start(job)

    def reset(self) -> None:
        """Forgets all work: the process it was for is dead."""
        for job in list(self._computing):
            self._interrupt(job)
        self._urgent = self._waiting = None
        self._free = self.cores
        self._life += 1

    def _start(self, job: _Job) -> None:
        self._free -= 1
        if not job.urgent:
            self._computing[job] = None
        env = self._env
        job.ends = env._now + (job.ns if self.slow == 1.0 else round(job.ns * self.slow))
        env.push(job.ends, job)

    def _interrupt(self, job: _Job) -> _Job:
        """Takes a computation off its core and returns what remains of it as a job."""
        del self._computing[job]
        self._free += 1
        job.callbacks = DISCARDED
        self._env.discarded()
        remains = round((job.ends - self._env._now) / self.slow)
        self.busy_ns += job.ns - remains
        return _Job(self, remains, False, job.then, job.args, job.life, _FINISHED)

    def _finish(self, job: _Job) -> None:
        if job.life != self._life:
            return
        self._free += 1
        self.busy_ns += job.ns
        if not job.urgent:
            del self._computing[job]
        if self._urgent:
            self._start(self._urgent.popleft())
        elif self._waiting:
            self._start(self._waiting.popleft())
        job.then(*job.args)


def _pay(paid: asyncio.Future[None]) -> None:
    if not paid.done():
        paid.set_result(None)
