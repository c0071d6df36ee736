"""What a worker has to tell its master, until the master has it: completions and inputs that cannot be read.

Messages that wait while a call is under way share the next one. A call whose reply was lost is made again: a
completion told twice is as good as told once (3.3).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from protos import mapreduce_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from protos import mapreduce_pb2_grpc as rpc

MOST = 500
"""Completions in a message: with a few thousand regions each, it stays below gRPC's limit of 4 MB."""

MOST_BYTES = 2 << 20

_TIMEOUT = 5.0  # seconds for a call
_RETRY = 0.2  # seconds, doubled with each failure
_RETRY_AT_MOST = 2.0
_TRIES = 4  # of a report of a lost input: who cannot read it reports it again


class Outbox:
    """Completions and reports on their way to the master.

    Args:
        master: its stub.
        unknown: called when the master says that it does not know this worker.
    """

    def __init__(self, master: rpc.MasterAsyncStub, unknown: Callable[[], None]) -> None:
        self._master = master
        self._unknown = unknown
        self._completions: dict[tuple[str, int], pb.Completion] = {}
        self._lost: dict[tuple[str, int, int, int], pb.LostInput] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}

    @property
    def waiting(self) -> list[pb.Completion]:
        """Completions that the master has not confirmed, in their order."""
        return list(self._completions.values())

    def complete(self, done: pb.Completion) -> None:
        """Takes a completion message."""
        self._completions[done.job, done.attempt] = done
        self._begin("completions", self._send_completions)

    def lost(self, lost: pb.LostInput) -> None:
        """Takes the report that a region cannot be read."""
        self._lost[lost.job, lost.map, lost.attempt, lost.reduce] = lost
        self._begin("lost inputs", self._send_lost)

    def withdraw(self, job: str, attempt: int) -> None:
        """Nobody wants to hear of this execution any more."""
        self._completions.pop((job, attempt), None)

    def forget(self, job: str) -> None:
        """The job is over."""
        for key in [key for key in self._completions if key[0] == job]:
            del self._completions[key]
        for lost in [lost for lost in self._lost if lost[0] == job]:
            del self._lost[lost]

    async def flush(self) -> None:
        """Returns when the master has all completions."""
        while self._completions:
            await asyncio.wait([self._senders["completions"]])

    def close(self) -> None:
        """Gives up what waits."""
        for sender in self._senders.values():
            sender.cancel()

    def _begin(self, name: str, send: Callable[[], Coroutine[Any, Any, None]]) -> None:
        sender = self._senders.get(name)
        if sender is None or sender.done():  # it may have looked for the last time already
            self._senders[name] = asyncio.create_task(send(), name=name)

    async def _send_completions(self) -> None:
        pause = _RETRY
        while self._completions:
            batch = self._batch()
            try:
                await self._master.Complete(pb.Completions(completions=batch), timeout=_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    self._unknown()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_AT_MOST)
                continue
            pause = _RETRY
            for done in batch:
                if self._completions.get((done.job, done.attempt)) is done:
                    del self._completions[done.job, done.attempt]

    def _batch(self) -> list[pb.Completion]:
        batch: list[pb.Completion] = []
        size = 0
        for done in self._completions.values():
            size += done.ByteSize()
            if batch and (len(batch) == MOST or size > MOST_BYTES):
                break
            batch.append(done)
        return batch

    async def _send_lost(self) -> None:
        while self._lost:
            key, lost = next(iter(self._lost.items()))
            for attempt in range(_TRIES):
                try:
                    await self._master.ReportLostInput(lost, timeout=_TIMEOUT)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(_RETRY * 2**attempt)
            if self._lost.get(key) is lost:
                del self._lost[key]
