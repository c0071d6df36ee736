"""Links, and the paths over them from host to host: what a message is delayed by on its way."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from sim.world.loop import SECOND

if TYPE_CHECKING:
    import random

PACKET = 1460  # bytes of data in a TCP segment over Ethernet
RTO = 200_000_000  # ns: Linux's smallest retransmission timeout, on top of the round trip
RTO_MAX = 120 * SECOND
MESSAGE = 1 << 60  # bytes that no path will ever carry
RETRIES = 15  # Linux's tcp_retries2: then the connection is given up, after some 15 minutes


@lru_cache(maxsize=4096)
def _same_float(number: float) -> float:
    return number


@lru_cache(maxsize=4096)
def same(number: int) -> int:
    """Returns the same object for equal numbers: what a thousand links have in common stays in the cache."""
    return number


class Link:
    """One direction of a cable.

    Attributes:
        source, target: the nodes of the topology that it joins.
        latency, jitter: ns.
        loss: share of packets lost.
        bandwidth: bytes a second; infinite when there is no limit.
        ns_per_byte: what a small message is served at, given the flows on the link now.
        idle_ns_per_byte: what it is served at when there are none.
        free_at: when all small messages sent so far have been served.
    """

    __slots__ = (
        "bandwidth",
        "free_at",
        "idle_ns_per_byte",
        "jitter",
        "latency",
        "loss",
        "ns_per_byte",
        "source",
        "target",
    )

    def __init__(
        self, source: str, target: str, latency: int, bandwidth: float, jitter: int, loss: float
    ) -> None:
        self.source = source
        self.target = target
        self.latency = latency
        self.bandwidth = bandwidth
        self.jitter = jitter
        self.loss = loss
        self.ns_per_byte = self.idle_ns_per_byte = _same_float(SECOND / bandwidth)
        self.free_at = 0

    def __repr__(self) -> str:
        return f"<link {self.source} -> {self.target}>"


class Path:
    """The way from one host to another, and what is wrong with it now.

    Small messages (below `flows.BULK`) are served by each link of limited bandwidth at `ns_per_byte`,
    first come first served in the order in which they are *sent*. A message is transmitted by every
    link on its way, and waits for the one with the longest queue: the bottleneck's queue is where a
    packet spends its time. (Reserving each link at the moment when the message would get there
    would let one from far away hold up one from near by that arrives long before it.)

    Attributes:
        source, target: hosts.
        links: in order; empty within a host.
        limited: those of limited bandwidth.
        latency, jitter: ns, with the delays in force.
        loss: share of packets lost, with the losses in force.
        blocked: nothing gets through.
        plain: there is nothing but latency, so the fast way of sending will do.
        traffic: sent so far: messages * `MESSAGE` + bytes, in one number because it changes with each.
    """

    __slots__ = (
        "_rng",
        "_shake",
        "blocked",
        "jitter",
        "latency",
        "limited",
        "links",
        "loss",
        "plain",
        "source",
        "target",
        "traffic",
    )

    def __init__(
        self,
        source: str,
        target: str,
        links: tuple[Link, ...],
        loopback: int,
        rng: random.Random,
        shake: int = 0,
    ) -> None:
        self.source = source
        self.target = target
        self.links = links
        self.limited = tuple(link for link in links if link.bandwidth != math.inf)
        self.traffic = 0
        self._rng = rng
        self._shake = shake
        self.latency = loopback
        self.set_state(False, 0 if links else loopback, 0, 0.0)

    def set_state(self, blocked: bool, delay: int, jitter: int, loss: float) -> None:
        """Takes note of the faults in force: `delay` and `jitter` in ns are added, `loss` compounds."""
        passed = 1.0 - loss
        jitter += self._shake
        for link in self.links:
            delay += link.latency
            jitter += link.jitter
            passed *= 1.0 - link.loss
        self.latency = same(delay)
        self.jitter = jitter
        self.loss = 1.0 - passed if passed < 1.0 else 0.0
        self.blocked = blocked or self.loss >= 1.0
        self.plain = not (self.blocked or self.limited or self.jitter or self.loss)

    @property
    def messages(self) -> int:
        """Messages sent so far."""
        return self.traffic // MESSAGE

    @property
    def bytes(self) -> int:
        """Bytes sent so far."""
        return self.traffic % MESSAGE

    @property
    def rto(self) -> int:
        """The retransmission timeout in ns, before it doubles."""
        return RTO + 2 * self.latency

    @property
    def cap(self) -> float:
        """Bytes a second at most that TCP gets through the losses (Mathis et al. 1997); inf without."""
        if not self.loss:
            return math.inf
        round_trip = max(1, 2 * self.latency) / SECOND
        return float(PACKET / round_trip * math.sqrt(1.5 / self.loss))

    def delay(self, size: int, now: int) -> int:
        """Returns how many ns a small message sent now takes, and has the links serve it."""
        delay = self.latency
        longest = transmission = 0
        ns_per_byte = 0.0
        for link in self.limited:
            if link.ns_per_byte != ns_per_byte:  # most often they are all the same
                ns_per_byte = link.ns_per_byte
                transmission = int(size * ns_per_byte)
            delay += transmission
            free_at = link.free_at
            if free_at > now:
                if free_at - now > longest:
                    longest = free_at - now
                link.free_at = free_at + transmission
            else:
                link.free_at = now + transmission
        delay += longest
        if self.jitter:
            delay += int(self._rng.random() * self.jitter)
        if self.loss:
            delay += self._retransmissions(size)
        return delay

    def _retransmissions(self, size: int) -> int:
        """Returns what TCP adds: a timeout a loss, doubling each time."""
        rng, timeout, added = self._rng, self.rto, 0
        lost = 1.0 - (1.0 - self.loss) ** max(1, math.ceil(size / PACKET))
        for _ in range(RETRIES):
            if rng.random() >= lost:
                break
            added += timeout
            timeout = min(2 * timeout, RTO_MAX)
            lost = self.loss  # of one packet, from now on
        return added

    def __repr__(self) -> str:
        return f"<path {self.source} -> {self.target}{' blocked' if self.blocked else ''}>"
