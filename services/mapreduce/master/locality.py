"""Which map task goes to which worker (3.4): one whose input is on its own disk, else in its rack, else any.

The choice must not look at all idle tasks. Each host that holds replicas has a queue of the maps that it
holds, and each rack the hosts in it that may have some left; a map that is no longer idle is dropped from a
queue when it is met there, so that a map is looked at about once for each of its replicas in a whole job.

The rack of a host is known once a worker on it has registered.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

REPLICAS = 3
"""Of a split of several pieces, so many hosts count: those that hold most of it."""


class Near(IntEnum):
    """Where the input of a map task lies, seen from its worker."""

    HOST = 0
    RACK = 1
    ANY = 2

    @property
    def word(self) -> str:
        """What people call it: Hadoop's counters are data-local and rack-local maps."""
        return ("data-local", "rack-local", "remote")[self]


class Racks:
    """The rack of each host, as workers tell it."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def learn(self, host: str, rack: str) -> bool:
        """Takes a host's rack ("" when unknown). Returns whether that is news."""
        if self.of.get(host, "") == rack:
            return False
        self.of[host] = rack
        return True


class Locality:
    """The idle maps of a job, by where their inputs are.

    Args:
        hosts: for each map, who holds a replica of its split; empty where all are as near.
        racks: of the hosts.

    Attributes:
        taken: how many maps were taken from where, by `Near`.
    """

    def __init__(self, hosts: Sequence[tuple[str, ...]], racks: Racks) -> None:
        self.hosts = hosts
        self.taken = [0, 0, 0]
        self._racks = racks
        self._all = deque(range(len(hosts)))
        self._at: dict[str, deque[int]] = {}
        self._rack: dict[str, dict[str, None]] = {}  # hosts that may have some left
        for number, names in enumerate(hosts):
            for name in names:
                self._at.setdefault(name, deque()).append(number)
        for name in self._at:
            self.learn(name)

    def learn(self, host: str) -> None:
        """Takes notice of a host's rack."""
        rack = self._racks.of.get(host, "")
        if rack and host in self._at:
            self._rack.setdefault(rack, {})[host] = None

    def back(self, number: int) -> None:
        """Takes a map that is idle again: it comes first, for reduces wait for it."""
        self._all.appendleft(number)
        for host in self.hosts[number]:
            self._at[host].appendleft(number)
            self.learn(host)

    def take(
        self, worker: str, idle: Container[int], fits: Callable[[int], bool], at_most: Near = Near.ANY
    ) -> tuple[int, Near] | None:
        """Picks a map for a worker.

        Args:
            worker: its host.
            idle: the idle maps.
            fits: whether a map may be given to this worker.
            at_most: no map whose input lies farther away.

        Returns:
            The map and how near it is, or None when none fits.
        """
        number = _first(self._at.get(worker), idle, fits)
        if number is not None:
            return self._taken(number, Near.HOST)
        if at_most is Near.HOST:
            return None
        number = self._in_rack(self._racks.of.get(worker, ""), idle, fits)
        if number is not None:
            return self._taken(number, Near.RACK)
        if at_most is Near.RACK:
            return None
        number = _first(self._all, idle, fits)
        if number is None:
            return None
        # Without replica positions everything is as near as anything can be, and nothing is local.
        assert worker not in self.hosts[number], "a map ran remotely though its input was here (3.4)"
        return self._taken(number, Near.ANY)

    def _taken(self, number: int, near: Near) -> tuple[int, Near]:
        self.taken[near] += 1
        return number, near

    def _in_rack(self, rack: str, idle: Container[int], fits: Callable[[int], bool]) -> int | None:
        hosts = self._rack.get(rack) if rack else None
        while hosts:
            for host in hosts:
                number = _first(self._at[host], idle, fits)
                if number is not None:
                    return number
                if not self._at[host]:
                    del hosts[host]
                    break  # the dict has changed
            else:
                return None
        return None


def _first(queue: deque[int] | None, idle: Container[int], fits: Callable[[int], bool]) -> int | None:
    """Takes the first map that is idle and fits out of a queue; drops on the way those that are not idle."""
    unfit = []
    found = None
    while queue:
        number = queue.popleft()
        if number not in idle:
            continue
        if fits(number):
            found = number
            break
        unfit.append(number)
    if queue is not None:
        queue.extendleft(reversed(unfit))
    return found


def most(held: dict[str, int]) -> tuple[str, ...]:
    """Returns the hosts that hold most of a split, of those at least half as much as the first (3.4)."""
    ranked = sorted(held, key=lambda host: (-held[host], host))
    return tuple(host for host in islice(ranked, REPLICAS) if 2 * held[host] >= held[ranked[0]])
