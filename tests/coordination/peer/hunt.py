"""A hunt for violations of Zab's properties: `python -m tests.coordination.peer.hunt FIRST LAST [SIZE]`.

Servers that lead propose; all of them crash, tear, fail to sync, fill up, hang, slow down and lose each
other. What any server delivers is compared at once with what others have delivered at that place: agreement,
total order, no gaps. When all has healed, everybody must have everything that anybody has ever delivered.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from services.coordination.broadcast import NotLeading
from services.coordination.storage import StorageFailed
from sim import faults as f
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.coordination.peer import machine
from tests.coordination.peer.machine import RUNNING, Journal, ensemble, until


class Witness(Journal):
    """Compares what it is told to deliver with what all others were told."""

    order: list[tuple[int, bytes]]

    def deliver(self, zxid: int, transaction: bytes) -> None:
        before = len(self.delivered)
        super().deliver(zxid, transaction)
        if len(self.delivered) > before:
            self.compare(before)

    def compare(self, at: int) -> None:
        order, here = self.order, self.delivered[at]
        if at < len(order):
            assert order[at] == here, f"place {at}: {here}, but elsewhere {order[at]}"
            return
        assert at == len(order)
        last = order[-1][0] if order else 0
        assert here[0] > last, f"{here[0]:x} after {last:x}"
        expected = last + 1 if last >> 32 == here[0] >> 32 else (here[0] >> 32 << 32) + 1
        assert here[0] == expected, f"a gap: {here[0]:x} after {last:x}"
        order.append(here)

    async def restore(self, pieces: Any) -> None:
        await super().restore(pieces)
        assert self.delivered == self.order[: len(self.delivered)]


class Hunt:
    """One seed's story.

    Args:
        seed: decides everything.
        size: servers.
        observers: of them.
        interleave: whether the seed also decides which ready task runs first.
        length: virtual seconds of trouble.
    """

    def __init__(
        self, seed: int, size: int = 3, observers: int = 0, *, interleave: bool = False, length: float = 30.0
    ) -> None:
        self.simulation = Simulation(seed, limit_s=600, interleave=interleave)
        self.faults = Faults(self.simulation)
        self.rng = self.simulation.chance.stream("hunt")
        self.hosts = [f"zk{number}" for number in range(1, size + 1)]
        self.members = str(ensemble(size, observers))
        self.order: list[tuple[int, bytes]] = []
        self.proposed = 0
        self.length = length
        self._lifting: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """Tells it."""
        RUNNING.clear()
        Witness.order = self.order
        machine.JOURNAL = Witness
        self.simulation.run(self._main())
        broken = [(name, error) for name, error in self.simulation.failures if not _disk(error)]
        assert not broken, broken

    async def _main(self) -> None:
        options = {"snap_count": self.rng.choice([40, 400, 100_000]), "keep_snapshots": 2}
        for host in self.hosts:
            self.simulation.boot(host, machine.serve, {"members": self.members, **options})
        loop = asyncio.get_running_loop()
        self.end = loop.time() + self.length
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._propose())
            tasks.create_task(self._trouble())
            tasks.create_task(self._revive())
        for task in self._lifting:
            task.cancel()
        self.faults.heal()
        self._restart()
        await until(self._settled, within=120.0)
        count = len(self.order)
        await until(lambda: self._propose_once() and len(self.order) > count, within=30.0)
        await until(self._settled, within=30.0)

    def _on(self) -> bool:
        return asyncio.get_running_loop().time() < self.end

    def _settled(self) -> bool:
        return (
            len(RUNNING) == len(self.hosts)
            and all(self.simulation.machines[host].running for host in self.hosts)
            and all(replica.phase != "looking" for _, replica in RUNNING.values())
            and all(len(journal.delivered) == len(self.order) for journal, _ in RUNNING.values())
        )

    def _restart(self) -> None:
        for host in self.hosts:
            if not self.simulation.machines[host].running:
                RUNNING.pop(host, None)
                self.simulation.machines[host].restart()

    def _propose_once(self) -> bool:
        """Has everybody who believes to lead propose something."""
        done = False
        for host in self.hosts:
            one = self.simulation.machines[host]
            if host not in RUNNING or not one.running or one.paused:
                continue
            replica = RUNNING[host][1]
            if replica.phase == "leading":
                context = one.host.process.context.copy()
                done = context.run(self._propose_at, replica) or done
        return done

    def _propose_at(self, replica: Any) -> bool:
        try:
            for _ in range(self.rng.choice([1, 1, 3, 20])):
                replica.propose(b"%d at %d" % (self.proposed, replica.server))
                self.proposed += 1
        except NotLeading:
            return False
        return True

    async def _propose(self) -> None:
        while self._on():
            self._propose_once()
            await asyncio.sleep(self.rng.expovariate(50.0))

    async def _revive(self) -> None:
        """Starts again what ended by itself: a server whose disk failed."""
        while self._on():
            await asyncio.sleep(1.0)
            crashed = {fault.host for fault in self.faults.active.values() if isinstance(fault, f.Crash)}
            for host in self.hosts:
                if not self.simulation.machines[host].running and host not in crashed:
                    self.simulation.machines[host].restart()

    async def _trouble(self) -> None:
        rng, faults = self.rng, self.faults
        while self._on():
            await asyncio.sleep(rng.expovariate(0.8))
            leaders = [host for host in RUNNING if RUNNING[host][1].phase == "leading"]
            host = rng.choice(leaders) if leaders and rng.random() < 0.4 else rng.choice(self.hosts)
            other = rng.choice([name for name in self.hosts if name != host])
            kind = rng.randrange(11)
            fault: f.AnyFault
            if kind < 3:
                if rng.random() < 0.5 and self.simulation.machines[host].running:
                    faults.inject(f.TornWrite(host=host))
                fault = f.Crash(host=host)
            elif kind == 3:
                fault = f.Pause(host=host)
            elif kind == 4:
                fault = f.Cut(source=host, target=other, both=rng.random() < 0.5)
            elif kind == 5:
                fault = f.Isolate(host=host)
            elif kind == 6:
                fault = f.SyncFails(host=host)
            elif kind == 7:
                fault = f.DiskFull(host=host)
            elif kind == 8:
                fault = f.SlowDisk(host=host, factor=100.0)
            elif kind == 9:
                fault = f.Isolate(host=leaders[0] if leaders else host)
            else:
                fault = f.Delay(source=host, target=other, seconds=0.3, jitter=0.2)
            try:
                number = faults.inject(fault)
            except ValueError:
                continue  # the host is in no state for it
            self._lifting.append(asyncio.create_task(self._lift(number, rng.expovariate(0.3))))

    async def _lift(self, number: int, after: float) -> None:
        await asyncio.sleep(after)
        if number in self.faults.active:
            self.faults.lift(number)


def _disk(error: BaseException) -> bool:
    return isinstance(error, StorageFailed | OSError)


def main(first: int, last: int, size: int = 3, observers: int = 0) -> None:
    """Hunts over a range of seeds."""
    for seed in range(first, last):
        hunt = Hunt(seed, size, observers, interleave=bool(seed % 2))
        hunt.run()
        print(f"seed {seed}: {len(hunt.order)} of {hunt.proposed} delivered", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
