"""Asking time masters what time it is.

A master's clock was read at some moment between the question and its answer (Cristian, 1989). So when the
answer is there, absolute time is at least what the master says, less its uncertainty, and at most that, plus
its uncertainty, plus the round trip. Round trips are measured on the host's monotonic clock, which nobody
sets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
from msgspec import Struct

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.truetime.settings import slack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.host import Host


class Heard(Struct):
    """The answer of a master.

    Attributes:
        name, kind: of the master.
        at: ns of this host's monotonic clock.
        low, high: ns since the Unix epoch; absolute time then lay between them, if the master is right.
    """

    name: str
    kind: str
    at: int
    low: int
    high: int

    def later(self, at: int, growth: int) -> tuple[int, int]:
        """Returns what it says of a later moment, when the host's own crystal has gone on (see `growth`)."""
        elapsed = at - self.at
        open_ = slack(elapsed, growth)
        return self.low + elapsed - open_, self.high + elapsed + open_


class Masters:
    """Some time masters, as one host sees them.

    Args:
        host: that asks.
        names: of the masters' hosts.
        growth: see `settings.growth`: of this host's crystal.
        timeout_s: seconds to wait for an answer.
    """

    def __init__(self, host: Host, names: Iterable[str], growth: int, timeout_s: float) -> None:
        self._host = host
        self._growth = growth
        self._timeout = timeout_s
        self._connected: dict[str, None] = {}
        self._stubs: dict[str, rpc.TimeMasterAsyncStub] = {
            name: rpc.TimeMasterStub(host.connect(name, options=_RECONNECT)) for name in names
        }

    @property
    def names(self) -> list[str]:
        """Returns the masters' names."""
        return list(self._stubs)

    async def poll(self) -> list[Heard]:
        """Asks all of them at once; returns what those say that answer in time and count themselves fit."""
        answers = await asyncio.gather(*(self._ask(name) for name in self._stubs))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, name: str) -> Heard | None:
        clock, stub = self._host.clock, self._stubs[name]
        try:
            if name not in self._connected:  # to connect is no part of a round trip
                await stub.Now(pb.Poll(), timeout=self._timeout)
            asked = clock.monotonic_ns()
            said = await stub.Now(pb.Poll(), timeout=self._timeout)
        except grpc.aio.AioRpcError:
            self._connected.pop(name, None)
            return None
        self._connected[name] = None
        answered = clock.monotonic_ns()
        if said.evicted:
            return None
        trip = answered - asked
        high = said.time + said.uncertainty + trip + slack(trip, self._growth)
        return Heard(name, said.kind, answered, said.time - said.uncertainty, high)


_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),  # a master that is back is asked at the next poll
)
