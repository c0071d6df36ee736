"""A replica: leads or follows, as the view says. The package's docstring explains the protocol."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

import grpc
from msgspec import Struct

from protos import log_pb2 as pb
from protos import log_pb2_grpc as rpc
from services.primary_backup.log import Log
from services.primary_backup.timing import CONFIRM, HEARTBEAT, RETRY, SILENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.host import Context, Host

T = TypeVar("T")

MOST_PENDING = 1000  # requests that wait for the primary; more are refused
MOST_ENTRIES = 500  # entries in a message between replicas


class Pending(Struct, eq=False):
    """A client's request that waits for its turn."""

    request: pb.Request | None  # None: it reads
    answer: asyncio.Future[int | list[bytes]]


class Fenced(Exception):
    """What somebody asks for belongs to a view that is over."""


class Replica(rpc.ReplicaServicer, rpc.LogServicer):
    """One of the two replicas.

    Args:
        host: its door.
        partner: the other replica.
        witness: who knows the view.
        early: acknowledge before the backup has the entry. It is the mistake that `basics/lost-write`
            is about, and nobody should.
    """

    def __init__(self, host: Host, partner: str, witness: str, *, early: bool = False) -> None:
        self._host = host
        self._me = host.name
        self._partner = partner
        self._early = early
        self._to_witness = rpc.WitnessStub(host.connect(witness))
        self._to_partner = rpc.ReplicaStub(host.connect(partner))
        self._log = Log(host.disk)
        self._changing_log = asyncio.Lock()
        self._view = pb.View()  # the newest that is known here
        self._confirmed = 0  # entries that were confirmed to the primary of this view
        self._matched = 0  # entries that the partner is known to have, while leading
        self._pending: asyncio.Queue[Pending] | None = None  # None while not leading
        self._heard = asyncio.Event()  # a primary showed a sign of life

    async def run(self) -> None:
        """Serves until cancelled; a broken invariant ends it."""
        async with asyncio.TaskGroup() as self._work:
            await self._run()

    async def _run(self) -> None:
        while True:
            try:
                await self._log.load()
                break
            except OSError:
                await asyncio.sleep(RETRY)
        # Nothing is accepted before the witness was asked: an older view may have been forgotten here.
        self._adopt(await self._current())
        server = self._host.serve()
        rpc.add_ReplicaServicer_to_server(self, server)
        rpc.add_LogServicer_to_server(self, server)
        await server.start()
        while True:
            if self._view.primary != self._me:
                await self._follow()
                continue
            try:
                await self._lead()
            except Fenced as exc:
                self._host.trace("fenced", why=str(exc))
            except OSError as exc:
                self._host.trace("disk fails", error=str(exc))
                await asyncio.sleep(2 * SILENCE)  # so quiet that the backup takes over

    # Leading

    async def _lead(self) -> None:
        """Is the primary.

        Raises:
            Fenced: another is.
            OSError: the disk fails.
        """
        view = await self._propose(self._view, primary=self._me, backup="")
        self._pending = asyncio.Queue(MOST_PENDING)
        batch: list[Pending] = []
        catching_up = asyncio.create_task(self._catch_up(view))
        try:
            while True:
                batch = await self._next_batch()
                goal = await self._write(view, batch)
                if self._early:
                    self._answer(batch, goal)  # the mistake
                if view.backup:
                    if not await self._replicate(view):
                        view = await self._propose(view, primary=self._me, backup="")
                elif catching_up.done() and await self._replicate(view):
                    # The partner has everything; from here on it must confirm everything.
                    view = await self._propose(view, primary=self._me, backup=self._partner)
                if not view.backup and catching_up.done():
                    catching_up = asyncio.create_task(self._catch_up(view))
                self._answer(batch, goal)
        finally:
            catching_up.cancel()
            pending, self._pending = self._pending, None
            while not pending.empty():
                batch.append(pending.get_nowait())
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(Fenced(f"{self._me} is no longer the primary"))

    async def _next_batch(self) -> list[Pending]:
        """Returns the requests that wait, or none when it is time for a sign of life."""
        assert self._pending is not None
        batch = []
        try:
            async with asyncio.timeout(HEARTBEAT):
                batch.append(await self._pending.get())
        except TimeoutError:
            pass
        while not self._pending.empty():
            batch.append(self._pending.get_nowait())
        return batch

    async def _write(self, view: pb.View, batch: list[Pending]) -> int:
        """Appends the requests that are new to the own log; returns its length."""
        async with self._changing_log:
            if self._view != view:
                raise Fenced(f"view {self._view.number} follows view {view.number}")
            fresh: dict[tuple[str, int], pb.Entry] = {}
            for one in batch:
                if one.request is not None:
                    client, number, data = one.request.client, one.request.request, one.request.data
                    if self._log.find(client, number) is None:
                        fresh[client, number] = pb.Entry(
                            view=view.number, client=client, request=number, data=data
                        )
            if fresh:
                await self._log.append(list(fresh.values()))
            return len(self._log.entries)

    def _answer(self, batch: list[Pending], goal: int) -> None:
        """Acknowledges what is on every member of the view: the first `goal` entries."""
        for one in batch:
            if one.answer.done():
                continue
            if one.request is None:
                one.answer.set_result([entry.data for entry in self._log.entries[:goal]])
            else:
                position = self._log.find(one.request.client, one.request.request)
                assert position is not None and position < goal
                one.answer.set_result(position)

    async def _replicate(self, view: pb.View) -> bool:
        """Sends the partner what it lacks; says whether it confirmed the whole log, in this view."""
        try:
            async with asyncio.timeout(CONFIRM):
                entries = self._log.entries
                goal, start = len(entries), min(self._matched, len(entries))
                while True:
                    matched = await self._to_partner.Replicate(
                        pb.Entries(
                            view=view,
                            start=start,
                            before=entries[start - 1].view if start else 0,
                            entries=entries[start : min(start + MOST_ENTRIES, goal)],
                        ),
                        timeout=CONFIRM,
                    )
                    start = self._matched = matched.length
                    if start >= goal:
                        return True
        except (grpc.aio.AioRpcError, TimeoutError):
            return False

    async def _catch_up(self, view: pb.View) -> None:
        """Returns when the partner, who is not a member, has caught up."""
        self._matched = len(self._log.entries)
        while not await self._replicate(view):
            await asyncio.sleep(RETRY)

    # Following

    async def _follow(self) -> None:
        """Is the backup, or waits to become one, until it has to lead."""
        while self._view.primary != self._me:
            self._heard.clear()
            try:
                async with asyncio.timeout(SILENCE):
                    await self._heard.wait()
            except TimeoutError:
                known = self._view
                self._adopt(await self._current())
                if self._view == known and self._view.backup == self._me:
                    with contextlib.suppress(Fenced):
                        await self._propose(known, primary=self._me, backup="")

    async def Replicate(self, request: pb.Entries, context: Context) -> pb.Matched:
        """Takes over entries from the primary."""
        # What has begun is finished even if the primary no longer waits.
        outcome = await asyncio.shield(self._work.create_task(self._settle(request)))
        if isinstance(outcome, Fenced):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(outcome))
        if isinstance(outcome, OSError):
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the disk fails: {outcome}")
        return outcome

    async def _settle(self, request: pb.Entries) -> pb.Matched | Fenced | OSError:
        try:
            return await self._accept(request)
        except (Fenced, OSError) as exc:
            return exc

    async def _accept(self, request: pb.Entries) -> pb.Matched:
        assert request.view.primary == self._partner, "only the partner writes here, and only as primary"
        self._hear(request.view)
        async with self._changing_log:
            self._hear(request.view)  # it may have become old while waiting
            log, start = self._log, request.start
            if start > len(log.entries):
                return pb.Matched(length=len(log.entries))
            if start and log.entries[start - 1].view != request.before:
                return pb.Matched(length=self._start_of_view(start - 1))
            have = 0
            while have < len(request.entries) and start + have < len(log.entries):
                if log.entries[start + have].view != request.entries[have].view:
                    assert start + have >= self._confirmed, "a confirmed entry would be dropped"
                    await log.cut(start + have)
                    break
                have += 1
            if have < len(request.entries):
                await log.append(request.entries[have:])
            if self._view != request.view:
                raise Fenced(f"view {self._view.number} follows view {request.view.number}")
            self._confirmed = max(self._confirmed, start + len(request.entries))
            return pb.Matched(length=start + len(request.entries))

    def _hear(self, view: pb.View) -> None:
        """A primary shows a sign of life.

        Raises:
            Fenced: it is the primary of a view that is over.
        """
        if view.number < self._view.number:
            raise Fenced(f"view {self._view.number} follows view {view.number}")
        self._adopt(view)
        self._heard.set()

    def _start_of_view(self, position: int) -> int:
        """Returns the position of the first entry written in the same view as the one at `position`."""
        entries = self._log.entries
        while position and entries[position - 1].view == entries[position].view:
            position -= 1
        return position

    # Views

    def _adopt(self, view: pb.View) -> None:
        if view.number > self._view.number:
            self._host.trace("view", number=view.number, primary=view.primary, backup=view.backup)
            self._view = view
            self._confirmed = 0

    async def _current(self) -> pb.View:
        """Returns the view that holds, however long it takes to ask."""
        return await self._insist(lambda: self._to_witness.Current(pb.Nothing(), timeout=RETRY * 5))

    async def _propose(self, after: pb.View, primary: str, backup: str) -> pb.View:
        """Makes a view the next one after one that this replica is a member of, and returns it.

        It does not return before the witness has answered. A proposal whose fate is unknown may be taken
        at any later moment, and until that is settled nobody can say who the members are.

        Raises:
            Fenced: somebody else's view came first.
        """
        wanted = pb.View(number=after.number + 1, primary=primary, backup=backup)
        current = await self._insist(lambda: self._to_witness.Propose(wanted, timeout=RETRY * 5))
        assert current.number >= wanted.number, "a member's proposal is taken, or another was"
        self._adopt(current)
        if self._view != wanted:
            raise Fenced(f"view {self._view.number} follows view {after.number}")
        return wanted

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(RETRY)

    # Clients

    async def Append(self, request: pb.Request, context: Context) -> pb.Position:
        """Adds a record."""
        position = await self._wait(request, context)
        assert isinstance(position, int)
        return pb.Position(position=position)

    async def Read(self, request: pb.Nothing, context: Context) -> pb.Records:
        """Returns every record."""
        records = await self._wait(None, context)
        assert isinstance(records, list)
        return pb.Records(data=records)

    async def _wait(self, request: pb.Request | None, context: Context) -> int | list[bytes]:
        if self._pending is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"{self._me} is not the primary; ask {self._partner}"
            )
        if self._pending.full():
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_PENDING} requests wait already")
        one = Pending(request, asyncio.get_running_loop().create_future())
        self._pending.put_nowait(one)
        try:
            return await one.answer
        except Fenced as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        raise AssertionError("abort returned")


async def replica(host: Host, partner: str, witness: str, early: bool = False) -> None:
    """Program: a replica of the log. The arguments are those of `Replica`."""
    await Replica(host, partner, witness, early=early).run()
