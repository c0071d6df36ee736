"""The program: the service's own spanserver, on a machine whose work costs time.

Work is charged where it comes in: a call of a client before it is served, what other replicas send before it
is looked at, what is sent to them as it goes. The service is as it is, and knows nothing of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from scenarios.papers.spanner.calibration import VALUE, Costs
from services.spanner.replica.links import Links
from services.spanner.spanserver.calls import Calls
from services.spanner.spanserver.program import run
from services.spanner.spanserver.settings import founding_of, schema_of, settings_of
from sim.world.loop import nanoseconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from protos import spanner_pb2 as pb
    from services.host import Host
    from services.spanner.spanserver.server import Spanserver


class Processor:
    """The processor of a host, for work that the service does not know of.

    Args:
        host: a simulated one.
    """

    def __init__(self, host: Host) -> None:
        self._cpu: Any = host.machine.cpu  # type: ignore[attr-defined]
        self._loop = asyncio.get_running_loop()

    def work(self, seconds: float) -> asyncio.Future[None]:
        """Puts work before the processor; returns what is done when it is."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._cpu.run(nanoseconds(seconds), _end, done)
        return done

    def charge(self, seconds: float) -> None:
        """Puts work before the processor that nobody waits for: it delays what comes after."""
        self._cpu.run(nanoseconds(seconds), _nothing)


def _end(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _nothing() -> None:
    """What is done when the work is."""


class Charged(Calls):
    """What clients ask, for the processor's time.

    Args:
        server: of which spanserver.
        costs: what it takes.
        processor: whose time.
    """

    def __init__(self, server: Spanserver, costs: Costs, processor: Processor) -> None:
        super().__init__(server)
        self._costs = costs
        self._work = processor.work
        self._voting = asyncio.Lock()
        self._voters: dict[str, int] = {}

    async def read(self, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
        """Reads; that it does not lead costs a server nothing to say."""
        strong = not request.transaction.HasField("read_only") or request.transaction.read_only.strong
        hosted = self._server.groups.get(request.group)
        if not strong or (hosted is not None and hosted.replica.term):
            await self._work(self._costs.strong_s if strong else self._costs.snapshot_s)
        async for part in super().read(request):
            if self._costs.block_s and len(part.rows) > VALUE:  # one of many disks: it waits for itself alone
                await asyncio.sleep(self._costs.block_s * len(part.rows) / VALUE)
            yield part

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """Commits."""
        id = request.transaction.id
        self._voters[id] = len(request.participants)
        try:
            await self._work(self._costs.write_s)
            return await super().commit(request)
        finally:
            self._voters.pop(id, None)

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepares."""
        await self._work(self._costs.write_s)
        return await super().prepare(request)

    async def decide(self, request: pb.DecideRequest) -> pb.Decision:
        """Takes a vote, one after the other; that a participant has logged the outcome costs no more."""
        if not request.finished:
            async with self._voting:
                voters = self._voters.get(request.transaction, 0)
                await self._work(self._costs.vote_s + self._costs.voter_s * voters)
        return await super().decide(request)


class PaidLinks(Links):
    """Ways to other spanservers, for the processor's time: so much a byte, at either end.

    Args:
        old: those in whose place they come.
        host, universe, heard: as of `Links`.
        byte_s: seconds of a core a byte.
        processor: whose time.
    """

    def __init__(
        self,
        host: Host,
        universe: str,
        heard: Callable[[str, Iterable[pb.Letter]], None],
        byte_s: float,
        processor: Processor,
    ) -> None:
        super().__init__(host, universe, self._arrived)
        self._enter = heard
        self._byte_s = byte_s
        self._processor = processor
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], list[pb.Letter]]]] = {}

    def send(self, to: str, letters: bytes) -> None:
        """Sends to a spanserver, or loses it."""
        self._processor.charge(self._byte_s * len(letters))
        super().send(to, letters)

    def _arrived(self, sender: str, letters: Iterable[pb.Letter]) -> None:
        """Has it worked on, in order, when the processor is paid."""
        kept = list(letters)
        done = self._processor.work(self._byte_s * sum(len(one.message) for one in kept))
        waiting = self._waiting.setdefault(sender, deque())
        waiting.append((done, kept))
        done.add_done_callback(lambda _: self._next(sender, waiting))

    def _next(self, sender: str, waiting: deque[tuple[asyncio.Future[None], list[pb.Letter]]]) -> None:
        while waiting and waiting[0][0].done():
            self._enter(sender, waiting.popleft()[1])


async def serve(
    host: Host,
    *,
    zone: str,
    masters: Sequence[Any],
    groups: Sequence[dict[str, Any]],
    schema: str,
    locations: Sequence[str],
    settings: dict[str, Any],
    costs: dict[str, Any],
) -> None:
    """Is a spanserver, as `services.spanner.spanserver.serve` is, on a machine of the paper's.

    Args:
        host: a simulated one.
        zone, masters, groups, schema, locations, settings: as there.
        costs: see `Costs`.
    """
    paid = msgspec.convert(costs, Costs)
    processor = Processor(host)
    chosen = settings_of(settings)

    def calls(server: Spanserver) -> Charged:
        if paid.replicate_s:
            replicas = server.replicas
            byte_s = paid.replicate_s / VALUE
            # Before anything has been sent.
            replicas.links = PaidLinks(host, chosen.universe, replicas._heard, byte_s, processor)
        return Charged(server, paid, processor)

    await run(host, zone, masters, founding_of(groups), schema_of(schema), locations, chosen, calls)
