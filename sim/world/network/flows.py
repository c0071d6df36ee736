"""Bulk transfers as flows: the links' bandwidth is shared max-min fairly among those that cross them.

A message of `BULK` bytes or more is not a queue of packets but a flow with a rate. When a flow starts or
ends, all rates are computed anew by progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2):
raise all rates together until a link is full, freeze the flows that cross it, go on with the rest. Many long
TCP connections come close to that.

Small messages and flows share a link so: small messages are served at the bandwidth that flows leave
over, but never at less than one flow's share (a link with n flows serves them at 1/(n+1) of its bandwidth).
Flows do not notice small messages, whose volume is taken to be small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from sim.world.loop import DISCARDED, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.world.loop import VirtualTime
    from sim.world.network.path import Link

BULK = 64 * 1024
"""Bytes from which on a message is a flow: what fits one TCP window of the classic size is not."""

_ALMOST_NOTHING = 1e-6  # bytes


class Flow:
    """A transfer under way.

    Attributes:
        links: the links of limited bandwidth that it crosses.
        cap: bytes a second that it does not exceed.
        remaining: bytes to go, as of the last change of rates.
        rate: bytes a second.
        done: called at the end, as hardware.
    """

    __slots__ = ("cap", "done", "links", "rate", "remaining")

    def __init__(self, links: Sequence[Link], size: float, cap: float, done: Callable[[], object]) -> None:
        self.links = links
        self.remaining = float(size)
        self.cap = cap
        self.rate = 0.0
        self.done = done


class Flows:
    """All flows of a network.

    Args:
        env: virtual time.
    """

    def __init__(self, env: VirtualTime) -> None:
        self._env = env
        self._flows: dict[Flow, None] = {}
        self._settled = 0
        self._changed: _At | None = None
        self._next: _At | None = None
        self._crossed: dict[Link, None] = {}

    def start(self, links: Sequence[Link], size: float, cap: float, done: Callable[[], object]) -> Flow:
        """Starts a flow of `size` bytes; `done()` is called when the last of them has been sent."""
        flow = Flow(links, size, cap, done)
        self._settle()
        self._flows[flow] = None
        self._change()
        return flow

    def stop(self, flow: Flow) -> float:
        """Ends a flow before its time and returns the bytes that were still to go."""
        self._settle()
        if flow in self._flows:
            del self._flows[flow]
            self._change()
        return flow.remaining

    def __len__(self) -> int:
        return len(self._flows)

    def _settle(self) -> None:
        """Brings `remaining` up to date."""
        now = self._env._now
        passed = (now - self._settled) / SECOND
        if passed > 0:
            for flow in self._flows:
                left = flow.remaining - flow.rate * passed
                flow.remaining = left if left > 0.0 else 0.0
        self._settled = now

    def _change(self) -> None:
        """Has the rates computed once all that happens at this instant has happened."""
        if self._changed is None:
            now = self._env._now
            self._changed = _At((lambda _: self._share(),))
            self._env.push(now, self._changed)

    def _share(self) -> None:
        self._changed = None
        self._settle()
        fair_rates(self._flows)
        used: dict[Link, list[float]] = {}  # rate, flows
        for flow in self._flows:
            rate = flow.rate
            for link in flow.links:
                sums = used.get(link)
                if sums is None:
                    used[link] = [rate, 1]
                else:
                    sums[0] += rate
                    sums[1] += 1
        for link in self._crossed:
            if link not in used:
                link.ns_per_byte = link.idle_ns_per_byte
        for link, (rate, count) in used.items():
            link.ns_per_byte = SECOND / max(link.bandwidth - rate, link.bandwidth / (count + 1))
        self._crossed = dict.fromkeys(used)
        self._schedule()

    def _schedule(self) -> None:
        if self._next is not None:
            self._next.callbacks = DISCARDED
            self._env.discarded()
            self._next = None
        soonest = min((flow.remaining / flow.rate for flow in self._flows if flow.rate > 0), default=None)
        if soonest is not None:
            self._next = _At((lambda _: self._finish(),))
            self._env.push(self._env._now + math.ceil(soonest * SECOND), self._next)

    def _finish(self) -> None:
        self._next = None
        self._settle()
        finished = [
            flow for flow in self._flows if flow.remaining <= max(_ALMOST_NOTHING, flow.rate / SECOND)
        ]
        for flow in finished:
            del self._flows[flow]
        self._change()
        for flow in finished:
            flow.remaining = 0.0
            flow.done()


def fair_rates(flows: Iterable[Flow]) -> None:
    """Sets the max-min fair rate of each flow.

    Uses that a link's fair share only grows while others are frozen, so that a heap whose entries
    are corrected when they come up finds the bottlenecks in order: O(n log n) for n crossings.
    """
    crossed: dict[Any, list[Any]] = {}  # a link (or a flow with a cap, a link of its own): left, users, flows
    for flow in flows:
        flow.rate = -1.0  # not known yet
        mine: list[Any] = []
        entry = (flow, mine)
        for link in flow.links:
            state = crossed.get(link)
            if state is None:
                state = crossed[link] = [link.bandwidth, 0, []]
            state[1] += 1
            state[2].append(entry)
            mine.append(state)
        if flow.cap != math.inf:
            state = crossed[flow] = [flow.cap, 1, [entry]]
            mine.append(state)
        elif not mine:
            flow.rate = 0.0
    heap = [
        (left / users, number, state)
        for number, state in enumerate(crossed.values())
        for left, users, _ in [state]
    ]
    heapify(heap)
    while heap:
        share, number, state = heappop(heap)
        left, users, entries = state
        if not users:
            continue
        current = max(0.0, left) / users
        if current > share:
            heappush(heap, (current, number, state))
            continue
        for flow, mine in entries:
            if flow.rate < 0:
                flow.rate = share
                for other in mine:
                    other[0] -= share
                    other[1] -= 1
    for state in crossed.values():
        state[2] = None  # memory is given back by counting: no cycles


class _At(Struct, eq=False):
    """A moment: an event of SimPy's that somebody waits for with a callback."""

    callbacks: tuple[Callable[[Any], None], ...] | None

    _ok: ClassVar[bool] = True
