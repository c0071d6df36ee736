"""A hunt for violations of the paper's invariants: `python -m tests.spanner.replica.hunt FIRST LAST [SIZE]`.

Servers crash, tear, fail to sync, fill up, hang, slow down and lose each other, and their clocks are off
within their uncertainty. What any replica applies is compared at once with what others have applied at that
place, and with what it has said to be safe to read. From the trace: leases of a group are disjoint in
absolute time. When all has healed, everybody has what anybody ever applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any
from unittest import mock

from protos.trace import Note
from services.recorder import Recorder
from services.spanner.group import Deposed, NotLeader
from services.spanner.replica import replica as replica_module
from services.spanner.storage import StorageFailed
from services.spanner.storage import storage as storage_module
from sim import faults as f
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.spanner.replica import machine
from tests.spanner.replica.machine import RUNNING, Item, Journal, Server, until

MS = 1_000_000
EPSILON = 5 * MS
FAST = {
    "lease": 2000 * MS,
    "renew": 800 * MS,
    "idle": 1500 * MS,
    "advance": 1000 * MS,
    "retry": 100 * MS,
    "retry_max": 800 * MS,
    "stand": 100 * MS,
    "election": 500 * MS,
}


class History:
    """What is known of a group.

    Attributes:
        order: its log, as far as anybody has applied it.
        acknowledged: entries whose writers were told so, with their timestamps.
        refused: entries that were never written.
        safe: what each host has said to be safe to read, in its present life.
        leases: intervals by term.
    """

    def __init__(self) -> None:
        self.order: list[Item] = []
        self.places: dict[bytes, Item] = {}
        self.acknowledged: dict[bytes, int] = {}
        self.refused: dict[bytes, None] = {}
        self.safe: dict[str, int] = {}
        self.reads: list[tuple[int, int]] = []  # timestamp, how many entries are not above it

    def applied(self, host: str, at: int, item: Item) -> None:
        """Compares an entry that a replica applies at a place with what others did."""
        assert item[1] > self.safe.get(host, 0), f"{host} applies {item} where {self.safe[host]} was safe"
        if at < len(self.order):
            assert self.order[at] == item, f"place {at}: {item}, but elsewhere {self.order[at]}"
            return
        assert at == len(self.order), "a gap"
        assert not self.order or (item[0] > self.order[-1][0] and item[1] > self.order[-1][1])
        assert item[2] not in self.places, f"{item} is there twice"
        assert item[2] not in self.refused, f"{item} was refused"
        self.order.append(item)
        self.places[item[2]] = item

    def check(self) -> None:
        """Looks at the whole."""
        for entry, timestamp in self.acknowledged.items():
            assert entry in self.places, f"{entry!r} was acknowledged and is lost"
            assert self.places[entry][1] == timestamp
        for t, count in self.reads:
            assert sum(item[1] <= t for item in self.order) == count, f"a read at {t}"


class Hunt:
    """One seed's story.

    Args:
        seed: decides everything.
        size: servers.
        interleave: whether the seed also decides which ready task runs first.
        length: virtual seconds of trouble.
    """

    def __init__(self, seed: int, size: int = 3, *, interleave: bool = False, length: float = 20.0) -> None:
        self.notes: list[Note] = []
        recorder = Recorder(keep=lambda records: self.notes.extend(r for r in records if isinstance(r, Note)))
        self.simulation = Simulation(seed, limit_s=900, interleave=interleave, recorder=recorder)
        self.recorder = recorder
        self.faults = Faults(self.simulation)
        self.rng = self.simulation.chance.stream("hunt")
        self.hosts = [f"s{number}" for number in range(1, size + 1)]
        self.groups = [
            [(host, "read-write") for host in self.hosts],
            [(host, "witness" if host == self.hosts[-1] else "read-write") for host in self.hosts[-3:]],
        ]
        if size > 3:
            self.groups.append(
                [(host, "read-write") for host in self.hosts[:3]] + [(self.hosts[3], "read-only")]
            )
        self.histories = [History() for _ in self.groups]
        self.length = length
        self.count = 0
        self._lifting: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """Tells it."""
        RUNNING.clear()
        machine.OPENED[:] = [self._opened]
        rng = self.rng
        every = rng.choice([20, 200, 20_000])
        with (
            mock.patch.object(replica_module, "CHECKPOINT_ENTRIES", every),
            mock.patch.object(replica_module, "KEEP", rng.choice([0, 10, 1000])),
            mock.patch.object(replica_module, "LEASE_NOTE", 0),
            mock.patch.object(storage_module, "SEGMENT", rng.choice([1500, 20_000, 16 << 20])),
            mock.patch.object(storage_module, "SEGMENTS", rng.choice([4, 64])),
        ):
            self.simulation.run(self._main())
        broken = [(name, error) for name, error in self.simulation.failures if not _disk(error)]
        assert not broken, broken
        for history in self.histories:
            history.check()
        self.recorder.flush()
        for number, history in enumerate(self.histories, 1):
            check_leases([note for note in self.notes if note.fields.get("group") == number], history.order)

    def _opened(self, server: Server, group: int, journal: Journal) -> None:
        history, host = self.histories[group - 1], server.host.name
        history.safe[host] = 0

        def applied(item: Item) -> None:
            history.applied(host, len(journal.items) - 1, item)

        journal.applied = applied

    async def _main(self) -> None:
        settings = {**FAST, "batch": self.rng.choice([1, 8, 256]), "window": self.rng.choice([4, 4096])}
        for host in self.hosts:
            self.simulation.boot(
                host,
                machine.serve,
                {"groups": self.groups, "epsilon_ns": EPSILON, "settings": settings},
            )
        loop = asyncio.get_running_loop()
        self.end = loop.time() + self.length
        async with asyncio.TaskGroup() as tasks:
            for number, members in enumerate(self.groups, 1):
                for host, _ in members:
                    tasks.create_task(self._use(host, number))
            tasks.create_task(self._trouble())
            tasks.create_task(self._revive())
        for task in self._lifting:
            task.cancel()
        self.faults.heal()
        self._restart()
        for number in range(1, len(self.groups) + 1):
            async with asyncio.timeout(60):
                while not await self._last(number):
                    self._restart()
                    await asyncio.sleep(0.1)
        await until(self._settled, within=60.0)

    def _on(self) -> bool:
        return asyncio.get_running_loop().time() < self.end

    def _restart(self) -> None:
        for host in self.hosts:
            if not self.simulation.machines[host].running:
                RUNNING.pop(host, None)
                self.simulation.machines[host].restart()

    def _settled(self) -> bool:
        self._restart()
        for number, members in enumerate(self.groups, 1):
            for host, kind in members:
                if kind == "witness":
                    continue
                server = RUNNING.get(host)
                if server is None or number not in server.journals:
                    return False
                if server.journals[number].items != self.histories[number - 1].order:
                    return False
        return True

    def _start(self, host: str, coroutine: Any) -> asyncio.Task[Any] | None:
        """Runs something in the process of a host, if there is one."""
        one = self.simulation.machines[host]
        if host not in RUNNING or not one.running:
            coroutine.close()
            return None
        return asyncio.get_running_loop().create_task(coroutine, context=one.host.process.context.copy())

    async def _last(self, group: int) -> bool:
        """Has some replica write something."""
        count = len(self.histories[group - 1].acknowledged)
        for host, kind in self.groups[group - 1]:
            if kind == "read-write":
                task = self._start(host, self._write(host, group))
                if task is not None:
                    await asyncio.wait([task], timeout=10)
                if len(self.histories[group - 1].acknowledged) > count:
                    return True
        return False

    # What clients do

    async def _use(self, host: str, group: int) -> None:
        rng = self.rng
        kind = dict(self.groups[group - 1])[host]
        while self._on():
            await asyncio.sleep(rng.expovariate(rng.choice([2.0, 20.0, 200.0])))
            if kind == "read-write" and rng.random() < 0.8:
                for _ in range(rng.choice([1, 1, 5, 40])):
                    self._start(host, self._write(host, group))
            elif kind != "witness":
                self._start(host, self._read(host, group))

    async def _write(self, host: str, group: int) -> None:
        server, history = RUNNING[host], self.histories[group - 1]
        replica = server.replicas.get(group)
        if replica is None:
            return
        self.count += 1
        entry = b"%d of %s" % (self.count, host.encode())
        least = replica.truetime.now().latest + self.rng.choice([0, 0, 0, 50 * MS])
        term = self.rng.choice([0, 0, replica.term])
        given: list[int] = []

        def make(timestamp: int) -> bytes:
            assert not term or replica.term == term
            if self.rng.random() < 0.02:
                raise KeyError(entry)
            given.append(timestamp)
            return entry

        try:
            timestamp = await replica.write(make, least, term)
        except Deposed:
            assert given
        except (NotLeader, KeyError):
            assert not given
            history.refused[entry] = None
        else:
            assert given == [timestamp] and timestamp >= least
            assert server.journals[group].items[-1][1] >= timestamp
            history.acknowledged[entry] = timestamp

    async def _read(self, host: str, group: int) -> None:
        server, history = RUNNING[host], self.histories[group - 1]
        replica = server.replicas.get(group)
        if replica is None:
            return
        t = replica.truetime.now().latest - self.rng.choice([0, 10 * MS, 1000 * MS, 5000 * MS])
        with contextlib.suppress(TimeoutError, NotLeader):
            async with asyncio.timeout(self.rng.choice([0.1, 5.0])):
                await replica.paxos_safe(t)
            assert replica.paxos_safe_now >= t
            history.safe[host] = max(history.safe[host], t)
            history.reads.append((t, sum(item[1] <= t for item in server.journals[group].items)))

    # What is done to them

    async def _revive(self) -> None:
        """Starts again what ended by itself: a server whose disk failed."""
        while self._on():
            await asyncio.sleep(1.0)
            crashed = {fault.host for fault in self.faults.active.values() if isinstance(fault, f.Crash)}
            for host in self.hosts:
                if not self.simulation.machines[host].running and host not in crashed:
                    RUNNING.pop(host, None)
                    self.simulation.machines[host].restart()

    async def _trouble(self) -> None:
        rng, faults = self.rng, self.faults
        while self._on():
            await asyncio.sleep(rng.expovariate(0.8))
            leaders = [
                host for host in RUNNING if any(r.term for r in RUNNING[host].replicas.groups.values())
            ]
            host = rng.choice(leaders) if leaders and rng.random() < 0.5 else rng.choice(self.hosts)
            other = rng.choice([name for name in self.hosts if name != host])
            kind = rng.randrange(14)
            fault: f.AnyFault
            if kind < 3:
                if rng.random() < 0.5 and self.simulation.machines[host].running:
                    faults.inject(f.TornWrite(host=host))
                fault = f.Crash(host=host)
            elif kind == 3:
                fault = f.Pause(host=host)
            elif kind == 4:
                fault = f.Cut(source=host, target=other, both=rng.random() < 0.5)
            elif kind in (5, 6):
                fault = f.Isolate(host=host)
            elif kind == 7:
                fault = f.SyncFails(host=host)
            elif kind == 8:
                fault = f.DiskFull(host=host)
            elif kind == 9:
                fault = f.SlowDisk(host=host, factor=100.0)
            elif kind == 10:
                fault = f.Loss(source=host, target=other, rate=0.3)
            elif kind == 11:
                fault = f.ClockSkew(host=host, seconds=rng.uniform(-0.002, 0.002))
            elif kind == 12:
                server = RUNNING.get(host)
                if server is not None:
                    with contextlib.suppress(KeyError):
                        self._start(host, _abdicate(server, rng.randint(1, len(self.groups)), other))
                continue
            else:
                fault = f.Delay(source=host, target=other, seconds=0.3, jitter=0.2)
            try:
                number = faults.inject(fault)
            except ValueError:
                continue  # the host is in no state for it
            self._lifting.append(asyncio.create_task(self._lift(number, rng.expovariate(0.4))))

    async def _lift(self, number: int, after: float) -> None:
        await asyncio.sleep(after)
        if number in self.faults.active:
            self.faults.lift(number)


async def _abdicate(server: Server, group: int, successor: str) -> None:
    replica = server.replicas.get(group)
    if replica is not None:
        replica.abdicate(successor)


def check_leases(notes: list[Note], order: list[Item]) -> None:
    """Leases of a group are disjoint in absolute time."""
    leases: dict[tuple[int, int], int] = {}  # term and start: end
    for note in notes:
        key = (note.fields.get("term", 0), note.fields.get("start", 0))
        if note.name == "lease":
            leases[key] = max(leases.get(key, 0), note.fields["end"])
        elif note.name == "lease-end":
            leases[key] = note.fields["end"]
    before: tuple[int, int, int] = (0, 0, 0)
    for (term, start), end in sorted(leases.items(), key=lambda one: (one[0][1], one[0][0])):
        if end <= start:
            continue
        assert start >= before[2], f"lease of {term} from {start} while {before} holds"
        assert term >= before[0]
        before = (term, start, end)


def _disk(error: BaseException) -> bool:
    return isinstance(error, StorageFailed | OSError)


def main(first: int, last: int, size: int = 3) -> None:
    """Hunts over a range of seeds."""
    for seed in range(first, last):
        hunt = Hunt(seed, size, interleave=bool(seed % 2))
        hunt.run()
        words = ", ".join(
            f"{len(history.acknowledged)} of {len(history.order)} acknowledged, {len(history.reads)} reads"
            for history in hunt.histories
        )
        print(f"seed {seed}: {words}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
