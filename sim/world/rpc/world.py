"""What all channels and servers of one simulation share."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from msgspec import Struct

from sim.world.rpc.waking import settled

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from sim.world.simulation import Simulation


FIRST_EPHEMERAL = 32_768  # Linux's first port for those who do not name one


class LostReplies(Struct):
    """Replies that are to be lost: the next `count` to calls of `method` ("" for any)."""

    method: str
    count: int


class RpcWorld:
    """The shared part.

    Attributes:
        numbers: of RPCs, in the trace.
        settled: a future that is done, for waking tasks.
        pauses: futures that nobody waits on just now, for the next who does.
        losing: by host, the replies that a fault takes.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.numbers: Iterator[int] = itertools.count(1)
        self.settled: asyncio.Future[None] = settled(simulation.loop)
        self._ports = itertools.cycle(range(FIRST_EPHEMERAL, 61_000))
        self.pauses: deque[asyncio.Future[None]] = deque()  # no list: those shrink and grow again
        self.losing: dict[str, list[LostReplies]] = {}

    def port(self) -> int:
        """Returns the port from which a client connects: a number for logs, nobody listens there."""
        return next(self._ports)

    def loses(self, host: str, method: str) -> bool:
        """Says whether the reply that `host` is about to send is to be lost, and counts it."""
        for rule in self.losing.get(host, ()):
            if rule.method in ("", method, method.rpartition("/")[2]):
                rule.count -= 1
                if rule.count <= 0:
                    self.losing[host].remove(rule)
                    if not self.losing[host]:
                        del self.losing[host]
                return True
        return False


_worlds: WeakKeyDictionary[Simulation, RpcWorld] = WeakKeyDictionary()


def world_of(simulation: Simulation) -> RpcWorld:
    """Returns the shared part of a simulation."""
    found = _worlds.get(simulation)
    if found is None:
        found = _worlds[simulation] = RpcWorld(simulation)
    return found


def lose_replies(host: str, simulation: Simulation, method: str = "", count: int = 1) -> None:
    """Has the next replies of a host lost after execution; the connection breaks, so the caller cannot know.

    Args:
        host: the name of the server's host.
        simulation: its world.
        method: "/package.Service/Method", or the method's last part; "" for any.
        count: how many replies.

    Raises:
        ValueError: the count is less than one.
    """
    if count < 1:
        raise ValueError(f"lose_replies: count is {count}, must be at least 1")
    world_of(simulation).losing.setdefault(host, []).append(LostReplies(method, count))


def lose_no_replies(simulation: Simulation) -> None:
    """Calls off what was ordered by `lose_replies` and has not happened."""
    world_of(simulation).losing.clear()
