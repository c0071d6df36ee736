"""The processes that run user code: one an execution, used again by the next one of the same job.

A child keeps the job's code loaded. Another job gets another process, so no job sees what one before left
behind.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from services.child import ChildDied
from services.mapreduce.tasks.order import Done, Progress
from services.mapreduce.tasks.ready import ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import mapreduce_pb2 as pb
    from services.child import Child
    from services.host import Host

T = TypeVar("T")

TIMEOUT = 600.0
"""Seconds without progress after which an execution is ended, unless the job says otherwise."""

LOOKS = 4
"""How often progress is looked at in that time."""


class Seat:
    """A child, and who listens to it now."""

    def __init__(self, host: Host, job: pb.Job, cost_per_byte: float) -> None:
        self.job = job.id
        self.told: Any = None  # the last message
        self.listener: Callable[[Progress], None] | None = None
        self.child: Child = host.child(
            memory=job.memory_bytes or None,
            heard=self._heard,
            cost=lambda result: _bytes(result) * cost_per_byte,
        )

    def _heard(self, message: Any) -> None:
        self.told = message
        if isinstance(message, Progress) and self.listener is not None:
            self.listener(message)


def _bytes(result: Any) -> int:
    return result.input_bytes if isinstance(result, Done) else 0


class Children:
    """The children of one worker.

    Args:
        host: whose they are.
        cost_per_byte: processor seconds that a simulated host charges for a byte of input.
    """

    def __init__(self, host: Host, cost_per_byte: float) -> None:
        self._host = host
        self._cost = cost_per_byte
        self._idle: list[Seat] = []
        self._closing: dict[asyncio.Task[None], None] = {}

    async def run(
        self, job: pb.Job, fn: Callable[..., T], *args: Any, heard: Callable[[Progress], None]
    ) -> T:
        """Runs `fn(inside, *args)` in a child.

        Args:
            job: whose code it is.
            fn: of `services.mapreduce.tasks`.
            heard: called with the progress that it tells.

        Raises:
            ChildDied: also after too long without progress.
            Exception: what `fn` raised.
        """
        seat = self._take(job)
        seat.listener, seat.told = heard, None
        call = asyncio.ensure_future(seat.child.run(fn, *args))
        try:
            await self._watch(seat, call, job.task_timeout_s or TIMEOUT)
            return call.result()
        except asyncio.CancelledError:
            seat.child.kill()
            await asyncio.gather(call, return_exceptions=True)
            raise
        finally:
            seat.listener = None
            self._idle.append(seat)

    async def _watch(self, seat: Seat, call: asyncio.Future[Any], timeout: float) -> None:
        """Returns when the call has ended; ends it when it makes no progress."""
        loop = asyncio.get_running_loop()
        state, since = (seat.told, seat.child.mark), loop.time()
        while True:
            ended, _ = await asyncio.wait([call], timeout=timeout / LOOKS)
            if ended:
                return
            now = (seat.told, seat.child.mark)
            if now != state:
                state, since = now, loop.time()
            elif loop.time() - since >= timeout:
                seat.child.kill(f"no progress for {timeout:g} s")

    async def warm_up(self) -> None:
        """Has a child started, so that the first task does not wait for what only the first child costs."""
        child = self._host.child()
        with suppress(ChildDied, OSError):
            await child.run(ready)
        await child.close()

    def _take(self, job: pb.Job) -> Seat:
        for seat in reversed(self._idle):
            if seat.job == job.id:
                self._idle.remove(seat)
                return seat
        if self._idle:
            self._close_soon(self._idle.pop(0))
        return Seat(self._host, job, self._cost)

    def forget(self, job: str) -> None:
        """Ends the idle children of a job that is over."""
        for seat in [seat for seat in self._idle if seat.job == job]:
            self._idle.remove(seat)
            self._close_soon(seat)

    def _close_soon(self, seat: Seat) -> None:
        task = asyncio.create_task(seat.child.close())
        self._closing[task] = None
        task.add_done_callback(lambda task: self._closing.pop(task, None))

    async def close(self) -> None:
        """Ends all."""
        while self._idle:
            await self._idle.pop().child.close()
        if self._closing:
            await asyncio.wait(list(self._closing))
