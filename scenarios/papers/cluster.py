"""The cluster's hardware as one fluid model: disks, network cards, the switch tree, page caches.

Decisions (who executes what, where, when again) are the master's and the workers', in their own code; here
it is only what their data costs. Every quarter of a second of virtual time all machines share their disk time
among five activities, max-min fair:

1. the map task: reads its split (or has it read by a machine that holds it), writes its intermediate data;
2. the reduce task: writes what it has pulled; when it has all, sorts it (reads it, writes sorted runs);
   merges these as it writes the output;
3. serving regions that have left the page cache;
4. reading splits for maps elsewhere;
5. writing copies of reduces' output: GFS chooses for each chunk machines with room, not the writer's.

A machine has one map and one reduce task at a time ("at most one reduce task at a time per machine", 5.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from scenarios.papers.disks import share
from scenarios.papers.hardware import CHUNK, PAPER, WRITE_AHEAD
from scenarios.papers.shuffle import Shuffle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from scenarios.papers.disks import Array
    from scenarios.papers.shuffle import Counts
    from sim.world.simulation import Simulation

TICK_S = 0.25
PULL_TICKS = 4
"""Reduces ask, and sources serve, once in so many ticks."""

MOST_COPIES = 2
"""Of the output."""

NOTHING, PULLING, SORTING, THINKING, WRITING = range(5)  # what a machine's reduce does

_CLUSTERS: WeakKeyDictionary[Simulation, Cluster] = WeakKeyDictionary()


def cluster_of(simulation: Simulation) -> Cluster:
    """Returns the cluster of a simulation, when it has been built."""
    return _CLUSTERS[simulation]


class Cluster:
    """All machines.

    Args:
        simulation: whose virtual time passes.
        names: of the machines.
        read: bytes a second that each reads.
        write: bytes a second that any writes.
        chance: where copies of the output go.

    Attributes:
        index: of each name.
        moved: bytes of input read, intermediate data shuffled, output written so far; what dies is taken
            back.
        samples: (seconds, the three) once a second.
    """

    def __init__(
        self,
        simulation: Simulation,
        names: list[str],
        read: Array,
        write: float,
        chance: random.Random,
    ) -> None:
        count = len(names)
        self.names = names
        self.index = {name: number for number, name in enumerate(names)}
        self.read, self.write = read, write
        self.moved = np.zeros(3)
        self.samples: list[tuple[float, float, float, float]] = []
        self.shuffle = Shuffle(count)
        self._simulation = simulation
        self._chance = chance
        self._ids = np.arange(count)
        self._credit = np.zeros(count)  # time that a task which ended within a tick has left its successor
        self._used = np.zeros(count)  # bytes through the page cache
        # Maps
        self._map: list[Callable[[], None] | None] = [None] * count
        self._split = np.zeros(count)  # bytes still to read
        self._ratio = np.zeros(count)  # bytes written for a byte read
        self._source = self._ids.copy()  # who reads it
        # Reduces
        self._phase = np.zeros(count, np.int8)
        self._reduce: list[Callable[[], None] | None] = [None] * count
        self._region = np.zeros(count)  # bytes of one region
        self._pulled = np.zeros(count)  # bytes
        self._unwritten = np.zeros(count)  # of these, still in memory
        self._rest = np.zeros(count)  # bytes still to read back, or of output to write
        self._merged = np.zeros(count)  # bytes of sorted runs read for a byte of output
        self._copies = np.ones(count)  # of the output
        self._chunk = np.zeros(count)  # bytes left of this chunk of the output
        self._targets = np.zeros((MOST_COPIES, count), np.int64)  # where its copies go
        # Serving
        self._request_s = np.zeros(count)  # of each one's disk, for a cold region
        self._served = np.zeros(count)  # seconds given to them in this step
        self._crossed = 0.0  # bytes of a tick's shuffle that crossed the root
        self._behind = np.zeros(count)  # bytes of copies that are not yet on the disk
        self._ticks = 0
        self._stopped = False
        _CLUSTERS[simulation] = self

    # What tasks do

    def begin_map(
        self, machine: int, source: int, split: float, ratio: float, done: Callable[[], None]
    ) -> None:
        """A map begins.

        Args:
            machine: where.
            source: who has its split on a disk.
            split: bytes.
            ratio: bytes of intermediate data for a byte of input.
            done: called when all is read and written.
        """
        assert self._map[machine] is None, "one map at a time"
        self._map[machine] = done
        self._split[machine], self._ratio[machine], self._source[machine] = split, ratio, source

    def map_left(self, machine: int) -> float:
        """Returns how many bytes of its split a map has not read."""
        return float(self._split[machine])

    def end_map(self, machine: int) -> None:
        """Ends a map where it is."""
        self._map[machine] = None
        self._split[machine] = 0

    def begin_reduce(self, machine: int, region: float, copies: int, pulled: Callable[[], None]) -> None:
        """A reduce begins to pull.

        Args:
            machine: where.
            region: bytes of one region.
            copies: of the output.
            pulled: called each time when all that it was offered is pulled, and on its disk.
        """
        assert self._phase[machine] == NOTHING, "at most one reduce task at a time per machine (5.3)"
        self._phase[machine] = PULLING
        self._reduce[machine] = pulled
        self._region[machine], self._copies[machine] = region, copies
        self._pulled[machine] = self._unwritten[machine] = self._rest[machine] = 0
        self._request_s = PAPER.request_s + region / self.read
        self.shuffle.clear(machine)

    def offer(self, machine: int, counts: Counts, cold: float) -> None:
        """Regions are there for the reduce on a machine; see `Shuffle.offer`."""
        self.shuffle.offer(machine, counts, cold)

    def pulled(self, machine: int) -> float:
        """Returns how many bytes the reduce on a machine has pulled."""
        return float(self._pulled[machine])

    def sort(self, machine: int, done: Callable[[], None]) -> None:
        """The reduce on a machine sorts what it has pulled.

        More than its memory: it reads it back and writes it as sorted runs, which it merges as it writes
        its output (3.1 step 5: "an external sort is used").
        """
        external = self._pulled[machine] > PAPER.task_memory
        self._phase[machine] = SORTING
        self._rest[machine] = self._pulled[machine] if external else 0
        self._reduce[machine] = done

    def write_output(self, machine: int, size: float, done: Callable[[], None]) -> None:
        """The reduce on a machine writes its output: each chunk of it has its copies elsewhere."""
        external = self._pulled[machine] > PAPER.task_memory
        self._phase[machine] = WRITING
        self._rest[machine] = size
        self._merged[machine] = self._pulled[machine] / size if external else 0
        self._reduce[machine] = done
        self._new_chunk(machine)

    def output_left(self, machine: int) -> float:
        """Returns how many bytes of output the reduce on a machine has not written."""
        return float(self._rest[machine]) if self._phase[machine] == WRITING else 0.0

    def end_reduce(self, machine: int) -> None:
        """Ends the reduce on a machine where it is."""
        self._phase[machine] = NOTHING
        self._reduce[machine] = None
        self.shuffle.clear(machine)

    def take_back(self, read: float = 0.0, shuffled: float = 0.0, written: float = 0.0) -> None:
        """Work is lost: it no longer counts as moved."""
        self.moved -= (read, shuffled, written)

    @property
    def used(self) -> Array:
        """Bytes that have gone through each machine's page cache."""
        return self._used

    # As time goes by

    def start(self) -> None:
        """Lets time pass."""
        self._push()

    def sample(self) -> None:
        """Notes what has been moved so far."""
        read, shuffled, written = self.moved.tolist()
        self.samples.append((self._simulation.now() / 1e9, read, shuffled, written))

    def stop(self) -> None:
        """Time passes no more here."""
        self._stopped = True

    def _push(self) -> None:
        env = self._simulation.loop.env
        env.push(env._now + round(TICK_S * 1e9), _Tick(self))

    def tick(self) -> None:
        """A quarter of a second has passed."""
        if self._stopped:
            return
        if self._ticks % PULL_TICKS == 0:
            self._pull()
            self.sample()
        self._ticks += 1
        ended = self._share_disks()
        self._push()
        for done in ended:
            done()

    def _share_disks(self) -> list[Callable[[], None]]:
        read, write, ids, phase = self.read, self.write, self._ids, self._phase
        mapping = self._split > 0
        own = self._source == ids
        stored = np.arange(MOST_COPIES)[:, None] < self._copies  # a row a copy: whether there is such a one
        room = ((self._behind[self._targets] < WRITE_AHEAD) | ~stored).all(axis=0)
        writing = (phase == WRITING) & room
        # Seconds of this machine's disk for a byte of the split, and of the output.
        per_byte = self._ratio / write + np.where(own, 1 / read, 0)
        writing_s = np.maximum(self._merged / read, 1 / PAPER.nic_Bps)
        sorting_s = 1 / read + 1 / write
        away = np.flatnonzero(mapping & ~own)

        wanted = np.zeros((5, len(ids)))
        wanted[0] = self._split * per_byte
        wanted[1] = np.select(
            [phase == PULLING, phase == SORTING, writing],
            [self._unwritten / write, self._rest * sorting_s, self._rest * writing_s],
        )
        wanted[2] = np.maximum(self.shuffle.asked * self._request_s - self._served, 0)
        np.add.at(wanted[3], self._source[away], self._split[away] / read[self._source[away]])
        wanted[4] = self._behind / write

        budget = TICK_S + self._credit
        given = share(wanted, budget)
        self._credit = np.clip(budget - given.sum(axis=0), 0, TICK_S)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(wanted[3] > 0, given[3] / wanted[3], 0.0)
            got = np.where(mapping & own, np.minimum(given[0] / per_byte, self._split), 0.0)
            if len(away):
                limit = given[0][away] / np.maximum(per_byte[away], 1e-12)
                there = part[self._source[away]] * self._split[away]
                got[away] = np.minimum(np.minimum(there, limit), PAPER.nic_Bps * TICK_S)
        self._served += given[2]
        self._used += given.sum(axis=0) * write
        self._split -= got
        ended = self._ended(self._map, mapping & (self._split < 1))
        self._split[self._split < 1] = 0

        self._unwritten = np.maximum(self._unwritten - np.where(phase == PULLING, given[1] * write, 0), 0)
        sorting = phase == SORTING
        wrote = np.where(writing, np.minimum(np.minimum(given[1] / writing_s, self._rest), self._chunk), 0)
        root = PAPER.root_Bps * TICK_S  # all copies cross it, and so does what is shuffled
        wrote *= min(1.0, max(root - self._crossed, root / 2) / max(float((wrote * self._copies).sum()), 1.0))
        self._rest = np.maximum(self._rest - np.where(sorting, given[1] / sorting_s, wrote), 0)
        self._chunk -= wrote
        self._behind = np.maximum(self._behind - given[4] * write, 0)
        for row, targets in zip(stored, self._targets, strict=True):
            np.add.at(self._behind, targets[row], wrote[row])
        for machine in np.flatnonzero(writing & (self._chunk < 1) & (self._rest >= 1)).tolist():
            self._new_chunk(machine)

        self.moved[0] += got.sum()
        self.moved[2] += wrote.sum()
        over = (sorting | writing) & (self._rest < 1)
        phase[over] = THINKING
        ended += self._ended(self._reduce, over)
        idle = (phase == PULLING) & (self.shuffle.waiting == 0) & (self._unwritten < 1) & (self._pulled > 0)
        ended += [done for machine in np.flatnonzero(idle).tolist() if (done := self._reduce[machine])]
        return ended

    @staticmethod
    def _ended(
        calls: list[Callable[[], None] | None], which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    ) -> list[Callable[[], None]]:
        ended = []
        for machine in np.flatnonzero(which).tolist():
            done = calls[machine]
            calls[machine] = None
            if done is not None:
                ended.append(done)
        return ended

    def _pull(self) -> None:
        """Sources have served what was asked; reduces ask for more."""
        shuffle, step = self.shuffle, TICK_S * PULL_TICKS
        cost = shuffle.asked * self._request_s
        served = np.ones(len(cost))
        np.divide(self._served, cost, out=served, where=cost > 0)
        got = shuffle.serve(np.minimum(served, 1)) * self._region
        self._pulled += got
        self._unwritten += got
        self.moved[1] += got.sum()
        self._crossed = float(got.sum()) / PULL_TICKS
        self._served[:] = 0
        pulling = self._phase == PULLING
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.maximum(PAPER.task_memory - self._unwritten, 0)
            most = np.where(pulling, np.minimum(room, PAPER.nic_Bps * step), 0)
            total = np.minimum(most, shuffle.waiting * self._region).sum()
            if total > PAPER.root_Bps * step:  # nearly all of it crosses the root
                most *= PAPER.root_Bps * step / total
            regions = np.where(pulling, most / self._region, 0)
        shuffle.ask(regions)

    def _new_chunk(self, machine: int) -> None:
        self._chunk[machine] = CHUNK
        count = len(self.names)
        others = self._chance.sample(range(count - 1), min(MOST_COPIES, count - 1))
        for copy, other in enumerate(others):
            self._targets[copy, machine] = other + (other >= machine)


class _Tick:
    """The event of a tick."""

    __slots__ = ("_ok", "callbacks", "cluster")

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.callbacks = (_ticked,)
        self._ok = True


def _ticked(tick: _Tick) -> None:
    tick.cluster.tick()
