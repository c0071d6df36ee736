"""The real world as a scenario sees it: a local cluster of processes, owned by the run."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from protos.trace import Log, Note
from services.cluster import Cluster, ClusterError
from sim.scenario.base import STORYTELLER, BaseWorld, ProgramFailure
from sim.scenario.cluster_faults import ClusterFaults
from sim.scenario.watchdog import REAL_LIMIT_S, STEP_LIMIT_S, RealWatchdog
from sim.trace.join import joined
from sim.world.chance import Chance
from sim.world.stuck import RealTimeLimit, report

if TYPE_CHECKING:
    from services.host import Host
    from sim.faults import AnyFault
    from sim.scenario.api import Program
    from sim.scenario.plan import Plan
    from sim.scenario.records import Records

CLUSTER = "cluster"
"""The folder, within the run's, that holds what the nodes left: logs, data, their own traces."""

NODE_LOG = "node"
"""The logger with which a node says why its program ended."""


class GrpcWorld(BaseWorld):
    """A local cluster, and a story to be told on it.

    The cluster is owned by this process and taken down at the end of the story in every case. The
    story's clients live in this process; each host is a process of its own.

    Args:
        plan: what to run.
        records: where to write.
    """

    kind = "grpc"

    def __init__(self, plan: Plan, records: Records) -> None:
        self._began = time.monotonic_ns()
        self._epoch = time.time_ns()
        self._end_ns: int | None = None
        super().__init__(plan, records, Chance(plan.seed))
        self._limit_s = REAL_LIMIT_S if plan.limit_s is None else plan.limit_s
        self._step_s = STEP_LIMIT_S if plan.limit_s is None else plan.limit_s
        self._watchdog: RealWatchdog | None = None
        self._cluster: Cluster | None = None
        self._cluster_faults: ClusterFaults | None = None
        self._clients: dict[str, None] = {}
        self._failures: list[ProgramFailure] = []

    def perform(self) -> None:
        """Tells the story to its end, and takes the cluster down."""
        scratch = self._records.folder is None
        folder = Path(tempfile.mkdtemp(prefix="dsim-")) if scratch else self._records.folder
        assert folder is not None
        try:
            try:
                asyncio.run(self._perform(folder / CLUSTER))
            except KeyboardInterrupt:
                if self._watchdog is None or self._watchdog.verdict is None:
                    raise
                raise self._watchdog.verdict from None
            finally:  # of a run that was cut short, too, what was recorded is kept
                self._join(folder / CLUSTER)
        finally:
            if scratch:
                shutil.rmtree(folder, ignore_errors=True)

    def _join(self, cluster: Path) -> None:
        for event in joined(cluster, self._epoch):
            self._records.trace.write(event)
            if isinstance(event, Log) and event.logger == NODE_LOG and event.level == "ERROR":
                log = cluster / "nodes" / event.host / "log.txt"
                self._failures.append(ProgramFailure(event.host, event.message, f"(see {log})"))

    async def _perform(self, folder: Path) -> None:
        async with Cluster.create(folder, system=self._plan.scenario.name) as cluster:
            self._cluster = cluster
            self._cluster_faults = ClusterFaults(cluster, self.stream("faults"))
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            self._watchdog = RealWatchdog(
                loop,
                self._limit_s,
                self._step_s,
                self._overdue,
                lambda: self._failure is None and task.cancelling() > 0,
            )
            try:
                with self._watchdog:
                    await self.tell()
            except KeyboardInterrupt:  # of the watchdog
                # It went through some task, which is not to complain that nobody looked at it.
                loop.set_exception_handler(lambda loop, context: None)
                with contextlib.suppress(asyncio.CancelledError):  # what Ctrl-C asked for is yet to come
                    await asyncio.sleep(0)
                raise
            finally:
                self._end_ns = self.now_ns()

    def _overdue(self) -> None:
        headline = f"the limit of {self._limit_s:g} s of real time is reached"
        self.give_up(RealTimeLimit(report(asyncio.get_running_loop(), headline)))

    def abort(self) -> None:
        """Cancels the story."""
        self.give_up(RuntimeError("the disk takes no more"))

    def now_ns(self) -> int:
        """Returns ns since the start of the run."""
        return time.monotonic_ns() - self._began if self._end_ns is None else self._end_ns

    @property
    def cluster(self) -> Cluster:
        """The cluster, while the story is told."""
        assert self._cluster is not None
        return self._cluster

    async def start(self, name: str, program: Program, *, adopt: bool = False, **parameters: Any) -> None:
        """Boots a host."""
        if name in self._clients or name == STORYTELLER:
            raise ValueError(f"{name} is the name of a client: a host needs another one")
        await self.cluster.start(name, program, parameters, adopt)

    async def serving(self, *names: str, within: float = 10.0) -> None:
        """Waits until hosts accept connections."""
        await self.cluster.serving(names, within)

    async def stop(self, name: str) -> None:
        """Ends a host's program in an orderly way."""
        await self.cluster.stop(name)

    def client(self, name: str) -> Host:
        """Returns the door of a host without a program."""
        host = self.cluster.client(name)
        self._clients[name] = None
        return host

    def hosts(self) -> list[str]:
        """Returns the names of the hosts started so far."""
        return self.cluster.hosts()

    def reachable(self) -> list[str]:
        """Returns every name that a fault may act on."""
        return [*self.hosts(), *self._clients]

    def note(self, name: str, **fields: Any) -> None:
        """Writes an annotation into the trace."""
        msgspec.json.encode(fields)
        self.cluster.folder.record(Note(time.time_ns(), STORYTELLER, name, fields=fields))

    def failures(self) -> list[ProgramFailure]:
        """Returns the programs that raised, with the logs that hold their tracebacks."""
        return self._failures

    async def apply(self, fault: AnyFault) -> int:
        """Makes a fault happen."""
        assert self._cluster_faults is not None
        return await self._cluster_faults.inject(fault)

    async def lift(self, fault: int) -> None:
        """Ends a lasting fault."""
        assert self._cluster_faults is not None
        await self._cluster_faults.lift(fault)

    async def heal(self) -> None:
        """Lifts every fault that holds."""
        assert self._cluster_faults is not None
        await self._cluster_faults.heal()


__all__ = ["CLUSTER", "ClusterError", "GrpcWorld"]
