"""Paxos groups in memory: what `group.Group` promises, and nothing better.

Entries take time, several are under way at once, and which of them survive a leader is left to chance. A
replica that has crashed runs on, but whatever it asks of its group or of others is never answered, and
nobody hears its
answers: that is a crash for all others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager, suppress
from typing import Any

from protos import spanner_pb2 as pb
from services.spanner.entries import Commit, Effects, encode
from services.spanner.errors import SpannerError
from services.spanner.group import Deposed, Member, NotLeader, TooFar
from services.spanner.keys import END, FIRST, KeyRange
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, apply_change
from services.spanner.tablet import Tablet
from services.spanner.transactions import Transactions, TransactionSettings
from services.spanner.transactions.coordinators import NoSuchGroup
from services.spanner.truetime.fixed import FixedTrueTime
from services.spanner.truetime.interval import Interval

BASE = 10**18
"""The time at which a run begins, in ns."""

SCHEMA = apply_change(
    EMPTY, CreateTable("T", (ColumnSpec("K", "INT64"), ColumnSpec("V", "STRING(MAX)")), ("K",))
)
TABLE = SCHEMA.table("T")
WIDTH = 100
"""Keys of a group: group n has those from n * WIDTH."""


LEASE = 10 * 10**9
"""Nanoseconds: no leader assigns a timestamp that is further ahead."""


class Clock:
    """A clock that is wrong by a constant."""

    def __init__(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns

    def time_ns(self) -> int:
        return now_ns() + self.offset_ns

    def time(self) -> float:
        return self.time_ns() / 1e9

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def claim(self, earliest: int, latest: int) -> None:
        assert earliest <= now_ns() <= latest


class Host:
    """A door with nothing behind it but a clock, chance and a list of spans."""

    def __init__(self, name: str, clock: Clock, rng: random.Random, spans: list[dict[str, Any]]) -> None:
        self.name, self.clock, self.rng, self._spans = name, clock, rng, spans

    @contextmanager
    def span(self, name: str, **fields: Any) -> Any:
        yield fields
        self._spans.append({"name": name, "host": self.name, **fields})

    def trace(self, name: str, **fields: Any) -> None:
        pass


def now_ns() -> int:
    return BASE + round(asyncio.get_running_loop().time() * 1e9)


class Proposal:
    def __init__(self, timestamp: int, entry: bytes) -> None:
        self.timestamp, self.entry, self.voted = timestamp, entry, False
        self.applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Replica:
    """A replica of a group; implements `group.Group`."""

    def __init__(self, core: Core, name: str, offset_ns: int) -> None:
        world = core.world
        self.core, self.name = core, name
        self.number = core.number
        self.clock = Clock(offset_ns)
        self.truetime = FixedTrueTime(self.clock, world.epsilon_ns)  # type: ignore[arg-type]
        self.tablet = Tablet()
        host = Host(name, self.clock, world.rng, world.spans)
        coordinators = Others(world, self)
        self.transactions = Transactions(self.tablet, host, coordinators, world.settings)  # type: ignore[arg-type]
        self.transactions.attach(self)
        self.applied = 0
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(Member(one.name, one.name) for one in self.core.replicas)

    @property
    def dead(self) -> bool:
        return self.died.done()

    @property
    def leader(self) -> str:
        return self.core.leader.name if self.core.leader is not None else ""

    @property
    def term(self) -> int:
        return self.core.term if self.core.leader is self and not self.dead else 0

    async def lead(self, now: Interval | None = None) -> int:
        if self.dead:
            await forever()
        if self.core.world.rng.random() < 0.2:
            await self.core.world.pause(0.0005)
        if self.dead:
            await forever()
        if self.core.leader is not self:
            raise NotLeader(self.leader)
        return self.core.term

    async def write(self, entry: Callable[[int], bytes], at_least: int = 0, term: int = 0) -> int:
        core, world = self.core, self.core.world
        if world.rng.random() < 0.5:
            await world.pause(0.0005)
        if self.dead:
            await forever()
        if core.leader is not self or (term and core.term != term):
            raise NotLeader(self.leader)
        timestamp = max(core.last + 1, at_least, self.truetime.now().earliest)
        if timestamp >= now_ns() + LEASE:
            raise TooFar(f"no lease reaches {timestamp}")
        data = entry(timestamp)
        core.last = timestamp
        proposal = Proposal(timestamp, data)
        core.flight.append(proposal)
        core.world.run(core.carry(proposal))
        world.point(f"{core.number}: assigned")
        try:
            await proposal.applied
        finally:
            if self.dead:
                await forever()
        return timestamp

    def assigned(self) -> int:
        return self.core.last

    async def paxos_safe(self, t: int) -> None:
        while self.paxos_safe_now < t:
            if self.dead:
                await forever()
            core = self.core
            if core.leader is not None:
                core.last = max(core.last, t)
            self._changed.clear()
            if self.paxos_safe_now < t:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.01)

    @property
    def paxos_safe_now(self) -> int:
        core = self.core
        if core.leader is None or self.applied < len(core.log):
            return core.log[self.applied - 1][0] if self.applied else 0
        return core.flight[0].timestamp - 1 if core.flight else core.last

    def catch_up(self, upto: int) -> None:
        """Applies what was chosen."""
        log = self.core.log
        while self.applied < upto and not self.dead:
            timestamp, entry = log[self.applied]
            self.applied += 1
            self.transactions.apply(self.applied, timestamp, entry)
        self._changed.set()


class Core:
    """What the replicas of a group have in common."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.log: list[tuple[int, bytes]] = []
        self.last = BASE
        self.term = 0
        self.leader: Replica | None = None
        self.flight: list[Proposal] = []
        start = FIRST if number == 0 else TABLE.key([number * WIDTH])
        end = END if number == world.groups - 1 else TABLE.key([(number + 1) * WIDTH])
        effects = Effects((), (KeyRange(start, end),), (), SCHEMA.encode())
        self.log.append((BASE + 1, encode(Commit("genesis", BASE + 1, effects))))
        self.last = BASE + 1
        offsets = world.rng
        self.replicas = [
            Replica(self, f"{number}{letter}", round(offsets.uniform(-1, 1) * world.epsilon_ns * 0.99))
            for letter in "abc"
        ]
        self.begin(self.replicas[0])

    def begin(self, replica: Replica) -> None:
        replica.catch_up(len(self.log))
        self.term += 1
        self.leader = replica
        replica.transactions.leads(self.term)
        for other in self.replicas:
            self.world.run(self._follow(other))

    async def carry(self, proposal: Proposal) -> None:
        """An entry on its way to a quorum."""
        await self.world.pause(0.003)
        if proposal not in self.flight:
            return
        proposal.voted = True
        while self.flight and self.flight[0].voted:
            first = self.flight[0]
            self.world.point(f"{self.number}: chosen")
            if first not in self.flight:  # its leader died this moment; chance has decided
                return
            self.flight.pop(0)
            self.log.append((first.timestamp, first.entry))
            leader = self.leader
            assert leader is not None
            leader.catch_up(len(self.log))
            if not first.applied.done():
                first.applied.set_result(None)
            for other in self.replicas:
                if other is not leader:
                    self.world.run(self._follow(other))
            self.world.point(f"{self.number}: applied")

    async def _follow(self, replica: Replica) -> None:
        upto = len(self.log)
        await self.world.pause(0.004)
        replica.catch_up(upto)

    def depose(self, crash: bool) -> None:
        """Ends the reign: the leader crashes, or only loses its lease."""
        leader = self.leader
        if leader is None:
            return
        self.leader = None
        flight, self.flight = self.flight, []
        for proposal in flight:
            if self.world.rng.random() < 0.5:
                self.log.append((proposal.timestamp, proposal.entry))
            if not proposal.applied.done():
                proposal.applied.set_exception(Deposed(""))
                proposal.applied.exception()
        if crash:
            leader.died.set_result(None)
            at = self.replicas.index(leader)
            self.replicas[at] = Replica(self, leader.name, leader.clock.offset_ns)
        else:
            leader.transactions.follows()
        self.world.run(self._elect())

    async def _elect(self) -> None:
        await self.world.pause(0.05)
        # Leases are disjoint: the next one begins after all that the last one assigned (4.1.1).
        while now_ns() <= self.last:
            await asyncio.sleep((self.last - now_ns() + 1) / 1e9)
        self.begin(self.world.rng.choice(self.replicas))


class Others:
    """Reaches the leaders of other groups; implements `Coordinators`."""

    def __init__(self, world: World, replica: Replica) -> None:
        self._world, self._replica = world, replica

    async def find(self, coordinator: int) -> None:
        if coordinator >= len(self._world.cores):
            raise NoSuchGroup(coordinator)

    async def decide(self, coordinator: int, participant: int, transaction: str, prepared: int) -> int:
        request = pb.DecideRequest(
            coordinator=coordinator,
            participant=participant,
            transaction=transaction,
            prepare_timestamp=prepared,
        )
        return (await self._ask(coordinator, "decide", request)).commit_timestamp

    async def finished(self, coordinator: int, participant: int, transaction: str) -> None:
        request = pb.DecideRequest(
            coordinator=coordinator, participant=participant, transaction=transaction, finished=True
        )
        await self._ask(coordinator, "decide", request)

    async def wound(self, coordinator: int, transaction: str) -> None:
        await self._ask(coordinator, "wound", pb.WoundRequest(group=coordinator, transaction=transaction))

    async def _ask(self, group: int, method: str, request: Any) -> Any:
        if self._replica.dead:
            await forever()
        try:
            await self.find(group)
            core = self._world.cores[group]
            server = core.leader or self._world.rng.choice(core.replicas)
            return await self._world.call(group, server.name, method, request)
        finally:
            if self._replica.dead:
                await forever()


class World:
    """Some groups, and a network between them.

    Args:
        seed: of all that chance decides.
        groups: how many.
        epsilon_ns: of TrueTime; clocks are wrong by nearly as much.
        settings: of transactions.
        loss: of how many messages in one, on average.
    """

    def __init__(
        self,
        seed: int,
        *,
        groups: int = 2,
        epsilon_ns: int = 2_000_000,
        settings: TransactionSettings | None = None,
        loss: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.groups, self.epsilon_ns, self.loss = groups, epsilon_ns, loss
        self.settings = settings or TransactionSettings(prepare_s=2.0, undecided_s=0.3, ask_again_s=0.3)
        self.spans: list[dict[str, Any]] = []
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.points: list[str] = []
        self.asked = (0, 0)  # points and messages until a client had its answer
        self.at_point: Callable[[int, str], None] = lambda number, label: None
        self.messages: list[str] = []
        self.lose: Callable[[int, str], bool] = lambda number, label: self.rng.random() < self.loss
        self.cores = [Core(self, number) for number in range(groups)]

    def run(self, work: Any) -> None:
        """Runs what the hardware does, whoever is there."""
        task = asyncio.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)

    def point(self, label: str) -> None:
        """Something has happened at which something may go wrong."""
        self.points.append(label)
        self.at_point(len(self.points) - 1, label)

    async def pause(self, most: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, most))

    def _lost(self, label: str) -> bool:
        self.messages.append(label)
        self.point(label)
        return self.lose(len(self.messages) - 1, label)

    async def call(self, group: int, server: str, method: str, request: Any) -> Any:
        """Asks a replica over a network that loses messages.

        Raises:
            SpannerError: what it answers; UNAVAILABLE: it crashed, or a message was lost.
        """
        await self.pause(0.002)
        if self._lost(f"{method} to {group}"):
            await asyncio.sleep(0.2)
            raise SpannerError("UNAVAILABLE", "no answer")
        replica = next(one for one in self.cores[group].replicas if one.name == server)
        work = asyncio.create_task(_handled(replica, method, request))
        work.add_done_callback(looked_at)
        try:
            await asyncio.wait({work, replica.died}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if method not in ("commit", "prepare"):  # what is begun there goes on
                work.cancel()
            raise
        if not work.done():
            raise SpannerError("UNAVAILABLE", "connection reset")
        if self._lost(f"{method} from {group}"):
            await asyncio.sleep(0.2)
            raise SpannerError("UNAVAILABLE", "no answer")
        await self.pause(0.002)
        return work.result()


def looked_at(task: asyncio.Task[Any]) -> None:
    """For a task whose end perhaps nobody waits for."""
    if not task.cancelled():
        task.exception()


async def _handled(replica: Replica, method: str, request: Any) -> Any:
    answer = getattr(replica.transactions, method)(request)
    if isinstance(answer, AsyncIterator):
        return [part async for part in answer]
    return await answer


async def forever() -> None:
    await asyncio.get_running_loop().create_future()
