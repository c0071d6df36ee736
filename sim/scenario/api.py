"""What a scenario sees of its world, whichever world it is.

A scenario is an `async def` decorated with `@scenario`, which takes a `World` and keyword
parameters with defaults. The first line of its docstring says what one will see; it reads like
the story that it tells: start hosts, drive clients, let faults happen, check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from services.host import Host
    from sim.faults import Action, AnyFault
    from sim.scenario.base import ProgramFailure

Program: TypeAlias = Callable[..., Awaitable[Any]]
"""`async def program(host, **parameters)`; with `adopt`, `async def main(**parameters)` that knows no Host.

It must be importable by name (a module-level function), for the real world starts it in a process of its own.
"""


class OpenOperation(Protocol):
    """An operation of a client between its invocation and its completion."""

    def ok(self, value: Any = None, *, timestamp: int | None = None) -> None:
        """It took effect; `value` is what it returned (the invoked value when None).

        Args:
            timestamp: of a transaction: at which it took place, if the store tells it.
        """
        ...

    def fail(self, error: str = "") -> None:
        """It certainly had no effect."""
        ...

    def info(self, error: str = "") -> None:
        """Nobody knows. Also what is recorded when the block is left without a word."""
        ...


class World(Protocol):
    """The world a scenario runs in.

    Attributes:
        kind: "sim" or "grpc"; a scenario that must know asks, most need not.
        seed: the run's seed.
        rng: the scenario's own chance, the stream `scenario` of the seed.
    """

    kind: Literal["sim", "grpc"]
    seed: int
    rng: random.Random

    def stream(self, purpose: str) -> random.Random:
        """Returns the seed's stream of chance for a purpose: a draw from one does not shift another."""
        ...

    def now(self) -> float:
        """Returns seconds since the start of the run (virtual or wall)."""
        ...

    async def start(self, name: str, program: Program, *, adopt: bool = False, **parameters: Any) -> None:
        """Boots host `name` on an empty disk, running `program(host, **parameters)`.

        Returns when the program has been started; clients use `wait_for_ready`, or `serving`.
        `parameters` must be JSON values: the real world passes them on a command line.

        Raises:
            ValueError: the name is taken, or cannot be a name.
            TypeError: a parameter is not a JSON value.
        """
        ...

    async def serving(self, *names: str, within: float = 10.0) -> None:
        """Returns when each of these hosts accepts gRPC connections on its default port.

        Raises:
            TimeoutError: naming those that do not.
        """
        ...

    async def stop(self, name: str) -> None:
        """Ends a host's program in an orderly way (cancellation; SIGTERM), as an operator would."""
        ...

    def client(self, name: str) -> Host:
        """Returns the door of a host that runs no program: the scenario's own tasks use it as clients.

        The host exists for the network and for faults like any other.
        """
        ...

    def hosts(self) -> list[str]:
        """Returns the names of the hosts started so far, clients excluded."""
        ...

    def failures(self) -> list[ProgramFailure]:
        """Returns the programs that ended by raising. Some may; a scenario whose must not checks it."""
        ...

    async def inject(self, fault: AnyFault) -> int:
        """Makes a fault happen and returns its number, for `lift`.

        Raises:
            UnsupportedFault: this world cannot do it (never silently ignored).
            ValueError: it names a host that there is not, or a value out of range.
        """
        ...

    async def lift(self, fault: int) -> None:
        """Ends a lasting fault (restarts a crashed host, resumes a paused one, ...)."""
        ...

    async def heal(self) -> None:
        """Lifts every fault that holds, and calls off lost replies and torn writes yet to come."""
        ...

    async def play(self, schedule: Sequence[Action]) -> None:
        """Carries out a schedule of faults, then returns with those lifted that had a duration.

        Times count from now. The list is kept in the run folder as `schedule.json`; `replay`, an edited
        copy and `shrink` put another in its place. A story plays one schedule.
        """
        ...

    def operation(
        self, process: int | str, f: str, value: Any = None, *, key: Any = None
    ) -> AbstractAsyncContextManager[OpenOperation]:
        """Records a client's operation in the history: `async with world.operation(...) as op`.

        Left without a word, or by an exception, it is recorded as `info`. After that the client goes
        on under a new name ("c1", then "c1.2"), for the operation may still take effect at any time.

        Raises:
            RuntimeError: the client has an operation open already.
        """
        ...

    def check(self, name: str, ok: bool, detail: str = "") -> None:
        """Reports one of the checks that the scenario names in its decorator.

        Reported several times, it must hold each time. `detail` says in words what it rests on.
        """
        ...

    def measure(self, name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
        """Reports a number that the run has found, for `summary.json` and the words at the end.

        Args:
            name: what it is; reported twice, the later value stands.
            value: finite.
            paper: what the paper says, if it does: the error, as a share of it, is told too.
            unit: "s", "MB/s"; "" for a plain number.

        Raises:
            ValueError: a number is not finite.
        """
        ...

    def note(self, name: str, **fields: Any) -> None:
        """Writes an annotation into the trace, on the line of the scenario itself."""
        ...

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Starts a task of the scenario's own.

        One that fails, fails the scenario at once; what still runs when the story ends is cancelled.
        """
        ...
