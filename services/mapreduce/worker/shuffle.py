"""The shuffle: how one execution of a reduce task pulls its region of all M map outputs (3.1 step 5, 3.3).

Up to `FETCHERS` peers are asked at a time, each for its region of many map outputs in one call, and
what comes is appended to files on the disk, whole regions only. Outputs on this very host are copied on
the disk.

What 3.3 asks for:

- of each map task one output is read: exactly M regions, asserted at the end;
- one that has moved is read from where it is now, unless it has been read already;
- nothing is read from a failed worker after the notice: a call under way is broken off;
- what cannot be read is tried again for a while, then reported, and again for as long as nobody says
  otherwise.

Notes in the trace, each with `job`, `reduce` and `attempt`:

- `regions read`, one a call that brought some: `source`, `maps`, `attempts`
- `inputs withdrawn`, the notice that outputs not yet read are gone: `maps`, `attempts`
- `region damaged`, bits have flipped since its writer summed it up: `source`, `map`
- `shuffled`, when all M are there: `maps`, `empty` (those without a byte for this reduce)
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from msgspec import Struct

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.sizes import from_byte
from services.mapreduce.worker.regions import read
from services.mapreduce.worker.segments import Segment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from services.host import Host
    from services.mapreduce.worker.plane import MapOutputs
    from services.mapreduce.worker.regions import Regions

FETCHERS = 5
"""Peers that are read from at a time."""

BATCH_BYTES = 64 << 20
"""About so much is asked for in a call: other reduces want to be served too."""

BATCH = 2_000
"""Regions of a call."""

_SILENCE = 5.0  # seconds without a chunk
_PATIENCE = 2.0  # seconds of failing before a lost input is reported
_RETRY = 0.2  # seconds before a peer is asked again, doubled with each failure
_RETRY_AT_MOST = 3.0


class Source(Struct):
    """An output that is to be read: whose execution, and about how many bytes."""

    attempt: int
    size: int


class Peer(Struct, eq=False):
    """A worker with outputs that are to be read.

    Attributes:
        pending: what is to be read there, by map.
        missing: maps that it said it does not have.
        call: the fetch under way, and what it asked for.
        failures, failing_since: how often nothing came of asking it, and since when; -1: all is well.
        resting: it is not asked for a while.
    """

    name: str
    pending: dict[int, Source] = {}
    missing: dict[int, None] = {}
    call: asyncio.Task[None] | None = None
    asked: dict[int, Source] = {}
    failures: int = 0
    failing_since: float = -1.0
    resting: bool = False


class Peers:
    """Stubs of other workers, shared by all reduce executions of a worker."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stubs: dict[str, rpc.WorkerAsyncStub] = {}

    def stub(self, name: str) -> rpc.WorkerAsyncStub:
        """Returns the stub of a worker."""
        stub = self._stubs.get(name)
        if stub is None:
            stub = self._stubs[name] = rpc.WorkerStub(self._host.connect(name))
        return stub


class Shuffle:
    """The shuffle of one execution.

    Args:
        host: the worker's door.
        peers: how others are reached.
        regions: the map outputs on this host.
        task: the reduce task.
        prefix: the segment files are called PREFIX.0, PREFIX.1, ...
        lost: called with what cannot be read.

    Attributes:
        maps: M.
        read: how many regions have been read.
        bytes: how many bytes they were.
    """

    def __init__(
        self,
        host: Host,
        peers: Peers,
        regions: Regions,
        task: pb.Task,
        prefix: str,
        lost: Callable[[pb.LostInput], None],
    ) -> None:
        self._host = host
        self._stubs = peers
        self._regions = regions
        self._task = task
        self._lost = lost
        self.maps = task.maps
        self.read = 0
        self.bytes = 0
        self._empty = 0
        self._have = bytearray(task.maps)
        self._peers: dict[str, Peer] = {}
        self._at: dict[int, Peer] = {}  # where each output is to be read
        self._segments = [Segment(host.disk, f"{prefix}.{n}") for n in range(FETCHERS)]
        self._free = list(reversed(self._segments))
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._check()

    # What the master says

    def offer(self, outputs: MapOutputs) -> None:
        """These outputs can be read; those known from elsewhere have moved."""
        for number, index, attempt, size in zip(
            outputs.maps, outputs.workers, outputs.attempts, outputs.sizes, strict=True
        ):
            worker = outputs.names[index]
            if self._have[number]:
                continue
            before = self._at.get(number)
            if before is not None:
                if before.name == worker and before.pending[number].attempt == attempt:
                    continue
                self._drop(number)
            if size == 0:
                self._empty += 1
                self._got(number, 0)
                continue
            peer = self._peers.get(worker)
            if peer is None:
                peer = self._peers[worker] = Peer(worker)
            peer.pending[number] = Source(attempt, from_byte(size))
            self._at[number] = peer
        self._break_off()
        self._pump()

    def withdraw(self, maps: Sequence[int], attempts: Sequence[int]) -> None:
        """These executions' outputs are gone; a later one's stands, should it have been heard of already."""
        outputs = dict.fromkeys(zip(maps, attempts, strict=True))
        gone = [number for number, attempt in outputs if self._is_at(number, attempt)]
        if gone:
            self._note("inputs withdrawn", maps=gone, attempts=[self._at[n].pending[n].attempt for n in gone])
        for number in gone:
            self._drop(number)
        self._break_off()

    def _is_at(self, number: int, attempt: int) -> bool:
        peer = self._at.get(number)
        return peer is not None and peer.pending[number].attempt == attempt

    def _drop(self, number: int) -> None:
        peer = self._at.pop(number)
        del peer.pending[number]
        peer.missing.pop(number, None)

    def _break_off(self) -> None:
        """Ends calls of which nothing is wanted any more."""
        for peer in self._peers.values():
            # A task that has not begun has not asked for anything, and cancelled it would never begin.
            if peer.call and peer.asked and not any(self._wanted(peer, number) for number in peer.asked):
                peer.call.cancel()

    def _wanted(self, peer: Peer, number: int) -> bool:
        asked = peer.asked.get(number)
        return asked is not None and peer.pending.get(number) is asked

    def _got(self, number: int, size: int) -> None:
        assert not self._have[number], "the output of a map task was read twice"
        self._have[number] = 1
        self.read += 1
        self.bytes += size
        self._check()

    def _note(self, name: str, **fields: Any) -> None:
        task = self._task
        self._host.trace(name, job=task.job, reduce=task.number, attempt=task.attempt, **fields)

    def _check(self) -> None:
        if self.read == self.maps and not self._ended.done():
            self._ended.set_result(None)

    # Reading

    async def run(self) -> tuple[str, ...]:
        """Returns the paths of the segments when they hold all M regions.

        Raises:
            OSError: of this host's disk.
        """
        try:
            await self._ended
            assert self.read == self.maps == sum(self._have)
        finally:
            await self._stop()
        self._note("shuffled", maps=self.maps, empty=self._empty)
        return tuple(segment.path for segment in self._segments if segment.size)

    async def _stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._ended.done():
            self._ended.cancel()
        calls = [peer.call for peer in self._peers.values() if peer.call is not None]
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)
        for segment in self._segments:
            await segment.close()

    @property
    def paths(self) -> list[str]:
        """All files that may be there."""
        return [segment.path for segment in self._segments]

    def _pump(self) -> None:
        """Asks as many peers as may be asked at a time."""
        if self._ended.done():
            return
        ready = [peer for peer in self._peers.values() if not peer.call and peer.pending and not peer.resting]
        first = self._task.number % len(ready) if ready else 0  # not all reduces ask the same peers at once
        for peer in (*ready[first:], *ready[:first])[: len(self._free)]:
            segment = self._free.pop()
            peer.call = asyncio.create_task(self._ask(peer, segment), name=f"fetch from {peer.name}")

    async def _ask(self, peer: Peer, segment: Segment) -> None:
        """Fetches some of what is to be read at a peer, and sees to what follows."""
        began = asyncio.get_running_loop().time()
        peer.asked = _batch(peer)
        peer.missing.clear()
        try:
            failed = bool(peer.asked) and not await self._fetch(peer, segment)
        except Exception as exc:  # of the disk; or a fault of ours, which must not be waited for
            if not self._ended.done():
                self._ended.set_exception(exc)
            return
        except asyncio.CancelledError:
            if self._ended.done():
                raise
            failed = False  # broken off: nobody wants it any more
        finally:
            peer.call, peer.asked = None, {}
            if not self._ended.done():
                await self._give_back(segment)
        if failed or peer.missing:
            self._failed(peer, began)
        else:
            peer.failures, peer.failing_since = 0, -1.0
        self._pump()

    async def _give_back(self, segment: Segment) -> None:
        try:
            await segment.cut()
        except OSError as exc:
            if not self._ended.done():
                self._ended.set_exception(exc)
        self._free.append(segment)

    async def _fetch(self, peer: Peer, segment: Segment) -> bool:
        """Reads what was asked for, and says whether the peer answered to all of it.

        Raises:
            OSError: of this host's disk.
        """
        chunks = self._from_disk(peer) if peer.name == self._host.name else self._from_peer(peer)
        left = len(peer.asked)
        brought: dict[int, int] = {}
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    left -= chunk.last or chunk.missing
                    await self._take(peer, segment, chunk, brought)
        except (grpc.aio.AioRpcError, TimeoutError):
            return False
        finally:
            if brought:
                self._note("regions read", source=peer.name, maps=[*brought], attempts=[*brought.values()])
        return left == 0

    async def _take(self, peer: Peer, segment: Segment, chunk: pb.Bytes, brought: dict[int, int]) -> None:
        number = chunk.map
        if chunk.missing:
            peer.missing[number] = None
        elif chunk.data and self._wanted(peer, number):
            await segment.append(chunk.data)
        if chunk.missing or not self._wanted(peer, number):  # it may have been withdrawn while the disk wrote
            await segment.cut()
        elif chunk.last and segment.checksum != chunk.checksum:
            # Bits have flipped on the peer's disk: what it has left is worth nothing.
            self._note("region damaged", source=peer.name, map=number)
            peer.missing[number] = None
            await segment.cut()
        elif chunk.last:
            size = segment.partial
            segment.keep()
            brought[number] = peer.asked[number].attempt
            self._drop(number)
            self._got(number, size)

    async def _from_peer(self, peer: Peer) -> AsyncGenerator[pb.Bytes, None]:
        task = self._task
        request = pb.Regions(
            job=task.job,
            region=task.number,
            maps=peer.asked,
            attempts=[source.attempt for source in peer.asked.values()],
        )
        call = self._stubs.stub(peer.name).Fetch(request)
        try:
            while True:
                async with asyncio.timeout(_SILENCE):
                    chunk = await call.read()
                if not isinstance(chunk, pb.Bytes):
                    return
                yield chunk
        finally:
            call.cancel()

    async def _from_disk(self, peer: Peer) -> AsyncGenerator[pb.Bytes, None]:
        task = self._task
        for number, source in peer.asked.items():
            output = self._regions.find(task.job, number, source.attempt)
            if output is None:
                yield pb.Bytes(map=number, missing=True)
                continue
            try:
                async with aclosing(read(self._host.disk, output, task.number, number)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except OSError:
                yield pb.Bytes(map=number, missing=True)

    def _failed(self, peer: Peer, began: float) -> None:
        """A call begun then was not answered, or not to all: the peer is asked again, in time reported."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if peer.failing_since < 0:
            peer.failing_since = began
        pause = min(_RETRY * 2**peer.failures, _RETRY_AT_MOST)
        peer.failures += 1
        peer.resting = True
        overdue = now - peer.failing_since >= _PATIENCE
        for number, source in peer.pending.items():
            missing = number in peer.missing
            if missing or overdue:
                self._lost(
                    pb.LostInput(
                        job=self._task.job,
                        map=number,
                        attempt=source.attempt,
                        worker=peer.name,
                        reduce=self._task.number,
                        missing=missing,
                        reader=self._task.attempt,
                    )
                )
        self._timers[peer.name] = loop.call_later(pause, self._rested, peer)

    def _rested(self, peer: Peer) -> None:
        peer.resting = False
        self._pump()


def _batch(peer: Peer) -> dict[int, Source]:
    batch: dict[int, Source] = {}
    size = 0
    for number, source in peer.pending.items():
        if batch and (len(batch) == BATCH or size + source.size > BATCH_BYTES):
            break
        batch[number] = source
        size += source.size
    return batch
