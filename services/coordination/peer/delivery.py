"""What the state machine is told, in one order: deliveries, and what happens to this server between them.

Most of it is told at once. Transactions that are no longer in memory (after a restart, or when very many wait
for their commit) are read from the log, some at a time, and all that comes later waits for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from services.coordination.broadcast import StateMachine
    from services.coordination.storage import Record, Storage

MEMORY = 64 << 20
"""Bytes of transactions that wait for their commit in memory."""

AT_ONCE = 500  # deliveries after which others have their turn

_Step: TypeAlias = Callable[[], Awaitable[None]]


class Delivery:
    """The way to the state machine.

    Args:
        storage: where the history is.
        machine: the state machine.
        delivered: what its snapshot holds.

    Attributes:
        delivered: the last transaction that the state machine has applied.
        count: transactions delivered since it was last set to 0.
    """

    def __init__(self, storage: Storage, machine: StateMachine, delivered: int) -> None:
        self._storage = storage
        self._machine = machine
        self.delivered = delivered
        self.count = 0
        self._pending: deque[Record] = deque()  # the history after `_pending_after`
        self._pending_after = storage.last
        self._pending_size = 0
        self._steps: deque[_Step] = deque()
        self._wake = asyncio.Event()

    # What happens to the history

    def append(self, record: Record) -> None:
        """Takes a transaction that will be delivered, or truncated."""
        self._pending.append(record)
        self._pending_size += len(record[1])
        if self._pending_size > MEMORY:
            self._pending.clear()
            self._pending_size = 0
            self._pending_after = record[0]

    def truncate(self, zxid: int) -> None:
        """Forgets what comes after a zxid."""
        while self._pending and self._pending[-1][0] > zxid:
            self._pending_size -= len(self._pending.pop()[1])
        self._pending_after = min(self._pending_after, zxid)

    def replace(self, zxid: int, whole: Awaitable[None]) -> None:
        """Puts a received snapshot in the place of the state, once it is whole on the disk."""
        self._pending.clear()
        self._pending_size = 0
        self._pending_after = zxid

        async def step() -> None:
            await whole
            await self._machine.restore(self._storage.pieces())
            self.delivered = zxid
            self.count = 0

        self._later(step)

    # What the state machine is told

    def deliver(self, zxid: int) -> None:
        """Delivers the history up to a zxid."""
        if self._steps or self._pending_after > self.delivered:
            self._later(lambda: self._catch_up(zxid))
        else:
            self._deliver(zxid)

    def tell(self, fn: Callable[..., None], *args: object) -> None:
        """Calls a method of the state machine, after all deliveries so far."""
        if not self._steps:
            fn(*args)
            return

        async def step() -> None:
            fn(*args)

        self._later(step)

    async def run(self) -> None:
        """Does what takes time, until cancelled."""
        while True:
            if not self._steps:
                self._wake.clear()
                await self._wake.wait()
            await self._steps[0]()  # it stays there until it is done: others see that it is not
            self._steps.popleft()

    def _later(self, step: _Step) -> None:
        self._steps.append(step)
        self._wake.set()

    def _deliver(self, zxid: int) -> None:
        pending, deliver = self._pending, self._machine.deliver
        while pending and pending[0][0] <= zxid:
            number, transaction, _ = pending.popleft()
            self._pending_size -= len(transaction)
            self._pending_after = self.delivered = number
            self.count += 1
            deliver(number, transaction)

    async def _catch_up(self, zxid: int) -> None:
        """Delivers from the log what is not in memory, then the rest."""
        while self.delivered < min(zxid, self._pending_after):
            async for records in self._storage.read(self.delivered, min(zxid, self._pending_after)):
                for number, transaction, _ in records:
                    self.delivered = number
                    self.count += 1
                    self._machine.deliver(number, transaction)
                    if not self.count % AT_ONCE:
                        await asyncio.sleep(0)
        self._deliver(zxid)
