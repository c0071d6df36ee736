"""What both worlds share: the seed's streams, the history, the checks, notes, schedules, tasks."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from protos.trace import Note
from sim.faults import KINDS, read_schedule, write_schedule
from sim.scenario.errors import InvalidInput, RunFailed, near
from sim.scenario.history import History
from sim.scenario.summary import CheckResult, Measure

if TYPE_CHECKING:
    import random
    from collections.abc import Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

    from services.host import Host
    from sim.faults import Action, AnyFault, Fault
    from sim.scenario.api import OpenOperation, Program
    from sim.scenario.plan import Plan
    from sim.scenario.records import Records
    from sim.world.chance import Chance

STORYTELLER = "scenario"
"""The host, in the trace and in the simulated world, on which the scenario's own code runs."""


class UnsupportedFault(ValueError):
    """This world cannot do that fault; it is refused, never ignored."""


class HostDown(ValueError):
    """A host of the real world is in no state for a fault: a schedule had it up again by then."""


class ProgramFailure(Struct):
    """A program that ended by raising: where, what in one line, and what more there is to say."""

    host: str
    error: str
    detail: str


class BaseWorld(ABC):
    """A world, but for the hosts and the faults.

    Args:
        plan: what to run.
        records: where to write.
        chance: the seed's streams.

    Attributes:
        results: what was reported of each declared check; None while nothing was.
        measures: numbers that the story reported, by name.
        faults: how many were injected.
    """

    kind: Literal["sim", "grpc"]

    def __init__(self, plan: Plan, records: Records, chance: Chance) -> None:
        self.seed = plan.seed
        self.rng = chance.stream("scenario")
        self.history = History(records.history, self.now_ns)
        self.results: dict[str, CheckResult | None] = dict.fromkeys(plan.scenario.checks)
        self.measures: dict[str, Measure] = {}
        self.faults = 0
        self._plan = plan
        self._records = records
        self._chance = chance
        self._main: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @abstractmethod
    def perform(self) -> None:
        """Tells the story to its end, and takes the world down in any case."""

    @abstractmethod
    def abort(self) -> None:
        """Ends `perform` as soon as can be: nothing more can be recorded."""

    @abstractmethod
    def failures(self) -> list[ProgramFailure]:
        """Returns the programs that ended by raising."""

    # Hosts and faults: each world's own

    @abstractmethod
    def now_ns(self) -> int:
        """Returns ns since the start of the run."""

    @abstractmethod
    async def start(self, name: str, program: Program, *, adopt: bool = False, **parameters: Any) -> None:
        """Boots a host."""

    @abstractmethod
    async def serving(self, *names: str, within: float = 10.0) -> None:
        """Waits until hosts accept connections."""

    @abstractmethod
    async def stop(self, name: str) -> None:
        """Ends a host's program in an orderly way."""

    @abstractmethod
    def client(self, name: str) -> Host:
        """Returns the door of a host without a program."""

    @abstractmethod
    def hosts(self) -> list[str]:
        """Returns the names of the hosts started so far."""

    @abstractmethod
    def reachable(self) -> list[str]:
        """Returns every name that a fault may act on: hosts and clients."""

    @abstractmethod
    async def apply(self, fault: AnyFault) -> int:
        """Makes a fault happen, whose hosts exist."""

    @abstractmethod
    async def lift(self, fault: int) -> None:
        """Ends a lasting fault."""

    @abstractmethod
    async def heal(self) -> None:
        """Lifts every fault that holds, and calls off lost replies and torn writes yet to come."""

    # The rest

    def now(self) -> float:
        """Returns seconds since the start of the run."""
        return self.now_ns() / 1e9

    def stream(self, purpose: str) -> random.Random:
        """Returns the seed's stream of chance for a purpose."""
        return self._chance.stream(purpose)

    async def inject(self, fault: AnyFault) -> int:
        """Makes a fault happen and returns its number."""
        self._known(fault)
        self.faults += 1
        return await self.apply(fault)

    def _known(self, fault: Fault) -> None:
        there = self.reachable()
        for host in fault.hosts():
            if host not in there:
                kind = next(name for name, known in KINDS.items() if isinstance(fault, known))
                hint = near(host, there)
                raise ValueError(f"{kind}: there is no host {host!r}{hint} (there are: {', '.join(there)})")

    async def play(self, schedule: Sequence[Action]) -> None:
        """Carries out a schedule of faults."""
        if self._records.has_played:
            raise RunFailed("a story plays one schedule, which the run folder keeps; put both into one")
        given = self._plan.schedule is not None
        try:  # as whoever replays it will read it: a 3 that is a float becomes 3.0
            actions = read_schedule(
                write_schedule(list(schedule if self._plan.schedule is None else self._plan.schedule))
            )
        except (msgspec.ValidationError, TypeError) as exc:
            unfit = f"not a schedule of faults: {exc}"
            raise (InvalidInput(unfit) if given else ValueError(unfit)) from None
        self._records.played(actions)
        start = self.now()
        tasks = [
            self.spawn(self._act(number, action, start, given), name=f"fault-{number}")
            for number, action in enumerate(actions, 1)
        ]
        await asyncio.gather(*tasks)

    async def _act(self, number: int, action: Action, start: float, given: bool) -> None:
        await asyncio.sleep(start + action.at - self.now())
        try:
            fault = await self.inject(action.fault)
        except ValueError as exc:
            if given:
                raise InvalidInput(f"schedule, action {number}: {exc}") from None
            if isinstance(exc, HostDown):  # a busy machine has brought it back later than planned
                self.note("a fault is left out", why=str(exc))
                return
            raise
        if action.lasts is not None and action.fault.lasting:
            await asyncio.sleep(start + action.at + action.lasts - self.now())
            await self.lift(fault)

    def operation(
        self, process: int | str, f: str, value: Any = None, *, key: Any = None
    ) -> AbstractAsyncContextManager[OpenOperation]:
        """Records a client's operation in the history."""
        return self.history.operation(process, f, value, key=key)

    def check(self, name: str, ok: bool, detail: str = "") -> None:
        """Reports a check; reported several times, it must hold each time."""
        if name not in self.results:
            raise RunFailed(
                f"check {name!r} is not declared in @scenario(checks=...){near(name, self.results)}"
            )
        before = self.results[name]
        if before is None or before.ok:
            self.results[name] = CheckResult(name, bool(ok), detail)

    def measure(self, name: str, value: float, *, paper: float | None = None, unit: str = "") -> None:
        """Reports a number that the run has found; see `World.measure`."""
        for number in (value, paper):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"measure {name!r}: {number} is not a finite number")
        error = (value - paper) / abs(paper) if paper else None
        self.measures[name] = Measure(name, value, unit, paper, error)

    def note(self, name: str, **fields: Any) -> None:
        """Writes an annotation into the trace."""
        msgspec.json.encode(fields)  # what cannot be written fails here, not later
        self._records.trace.write(Note(self.now_ns(), STORYTELLER, name, fields=fields))

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Starts a task of the scenario's own; it is cancelled when the story ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            self.give_up(failure)

    def give_up(self, why: BaseException) -> None:
        """Ends the story where it stands, with this error unless it has one already."""
        if self._failure is None:
            self._failure = why
            if self._main is not None:
                self._main.cancel()

    def tell(self) -> Coroutine[Any, Any, None]:
        """Returns the telling of the story: to its end, or to the failure of a task that it spawned."""
        telling: Any = self._tell()
        telling.__qualname__ = self._plan.scenario.__name__  # for reports of who waits where
        return telling  # type: ignore[no-any-return]

    async def _tell(self) -> None:
        story = self._plan.scenario(self, **self._plan.arguments)
        self._main = asyncio.current_task()
        try:
            await story
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            raise self._failure from None
        except SystemExit as exc:  # from a task it would end the whole process
            raise RunFailed(f"the scenario called exit({exc.code!r})") from exc
        finally:
            self._main = None
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
