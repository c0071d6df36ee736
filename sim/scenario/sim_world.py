"""The simulated world as a scenario sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from services.host import DEFAULT_PORT
from sim.scenario.base import STORYTELLER, BaseWorld, ProgramFailure
from sim.scenario.errors import near
from sim.scenario.failure import describe
from sim.scenario.watchdog import REAL_LIMIT_S, STEP_LIMIT_S, Watchdog
from sim.world.faults import Faults
from sim.world.simulation import Simulation

if TYPE_CHECKING:
    from services.host import Host
    from sim.faults import AnyFault
    from sim.scenario.api import Program
    from sim.scenario.plan import Plan
    from sim.scenario.records import Records
    from sim.world.network import Endpoint

_KNOCK_EVERY_S = 0.01  # virtual seconds between two looks at a host that is to serve


class SimWorld(BaseWorld):
    """A simulation, and a story to be told in it.

    The story runs in a process of its own, on a host named "scenario" that no fault may touch.

    Args:
        plan: what to run.
        records: where to write.
    """

    kind = "sim"

    def __init__(self, plan: Plan, records: Records) -> None:
        self.simulation = Simulation(
            plan.seed,
            recorder=records.trace,
            interleave=plan.interleave,
            limit_s=plan.scenario.limit_s,
        )
        super().__init__(plan, records, self.simulation.chance)
        self._limit_s = plan.limit_s
        self._faults = Faults(self.simulation)
        self._hosts: dict[str, None] = {}
        self._clients: dict[str, None] = {}

    def perform(self) -> None:
        """Tells the story to its end.

        Raises:
            Stuck: it does not come to one.
            BaseException: what the story raises.
        """
        if self._plan.scenario.hardware is not None:
            self._plan.scenario.hardware(self.simulation)
        usual = self._plan.scenario.real_limit_s or REAL_LIMIT_S
        total = usual if self._limit_s is None else self._limit_s
        step = STEP_LIMIT_S * usual / REAL_LIMIT_S if self._limit_s is None else self._limit_s
        watchdog = Watchdog(self.simulation.loop, total, step)
        try:
            with watchdog:
                self.simulation.run(self.tell(), name=STORYTELLER)
        except KeyboardInterrupt:
            # It went through some task, which is not to complain that nobody looked at it.
            self.simulation.loop.set_exception_handler(lambda loop, context: None)
            if watchdog.verdict is None:
                raise
            raise watchdog.verdict from None

    def abort(self) -> None:
        """Stops where it stands."""
        self.simulation.loop.stop()

    def now_ns(self) -> int:
        """Returns virtual ns since the start of the run."""
        return self.simulation.now()

    async def start(self, name: str, program: Program, *, adopt: bool = False, **parameters: Any) -> None:
        """Boots a host."""
        if name in self._clients or name == STORYTELLER:
            raise ValueError(f"{name} is the name of a client: a host needs another one")
        self.simulation.boot(name, program, _as_sent(parameters), adopt=adopt)
        self._hosts[name] = None

    async def serving(self, *names: str, within: float = 10.0) -> None:
        """Waits until hosts accept connections."""
        waiting = dict.fromkeys(names)
        try:
            async with asyncio.timeout(within):
                while waiting:
                    for name in list(waiting):
                        if await self._answers(name):
                            del waiting[name]
                    if waiting:
                        await asyncio.sleep(_KNOCK_EVERY_S)
        except TimeoutError:
            raise TimeoutError(f"not serving within {within:g} s: {', '.join(waiting)}") from None

    async def _answers(self, name: str) -> bool:
        decided: asyncio.Future[bool] = self.simulation.loop.create_future()

        def done(endpoint: Endpoint | None, why: str) -> None:
            if endpoint is not None:
                endpoint.close()
            if not decided.done():
                decided.set_result(endpoint is not None)

        process = self.simulation.machines[STORYTELLER].host.process
        self.simulation.network.dial(process, name, DEFAULT_PORT, done)
        return await decided

    async def stop(self, name: str) -> None:
        """Ends a host's program in an orderly way."""
        if name not in self._hosts:
            raise ValueError(f"there is no host {name!r}{near(name, self._hosts)} that could be stopped")
        await self.simulation.machines[name].stop()

    def client(self, name: str) -> Host:
        """Returns the door of a host without a program."""
        if name in self._hosts or name == STORYTELLER:
            raise ValueError(f"{name} is the name of a host that runs a program: a client needs another one")
        if name not in self._clients:
            self.simulation.boot(name)
            self._clients[name] = None
        return self.simulation.machines[name].host

    def hosts(self) -> list[str]:
        """Returns the names of the hosts started so far."""
        return list(self._hosts)

    def reachable(self) -> list[str]:
        """Returns every name that a fault may act on."""
        return [*self._hosts, *self._clients]

    def failures(self) -> list[ProgramFailure]:
        """Returns the programs that raised, with their tracebacks."""
        file = self._plan.scenario.file
        return [
            ProgramFailure(host, f"{type(exc).__name__}: {exc}", describe(exc, file))
            for host, exc in self.simulation.failures
        ]

    async def apply(self, fault: AnyFault) -> int:
        """Makes a fault happen."""
        return self._faults.inject(fault)

    async def lift(self, fault: int) -> None:
        """Ends a lasting fault."""
        self._faults.lift(fault)

    async def heal(self) -> None:
        """Lifts every fault that holds."""
        self._faults.heal()


def _as_sent(parameters: dict[str, Any]) -> dict[str, Any]:
    """Returns parameters as a process would get them: copies, of JSON values."""
    copies: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parameters))
    return copies
