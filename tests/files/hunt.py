"""A hunt for violations of what `services/files/master.py` promises: `python -m tests.files.hunt FIRST LAST`.

Three clients write, read, commit, claim and remove on five hosts that crash, tear, rot, fill up, hang and
lose each other and replies. Every answer is judged at once; when all has healed, what is on the disks is
judged too.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from protos import files_pb2 as pb
from services.files import chunkserver, master
from services.files.api import Range
from services.files.blocks import Blocks
from services.files.client import FileClient
from sim import faults as f
from sim.world.faults import Faults
from sim.world.simulation import Simulation

CHUNK = 3000
SERVERS = {"c1": "a", "c2": "a", "c3": "b", "c4": "c"}
HOSTS = ["files", *SERVERS]
CLIENTS = ["u1", "u2", "u3"]
LENGTH = 60.0  # virtual seconds of trouble
QUIET = 150.0  # of peace, in which all is to be mended


def content(writer: str, number: int, size: int) -> bytes:
    """Returns bytes that say whose they are, all over."""
    mark = f"{writer}/{number}/{size};".encode()
    return (mark * (size // len(mark) + 1))[:size]


def told_by(data: bytes, path: str) -> int:
    """Returns the number of the write whose content this is.

    Raises:
        AssertionError: it is a part or a mixture.
    """
    writer, number, size = data.split(b";", 1)[0].decode().split("/")
    assert data == content(writer, int(number), int(size)), (
        f"{path}: bytes of more than one write, or not all"
    )
    return int(number)


class Hunt:
    """One seed's story."""

    def __init__(self, seed: int, *, interleave: bool = False) -> None:
        self.simulation = Simulation(seed, limit_s=2000, interleave=interleave)
        self.faults = Faults(self.simulation)
        self.rng = self.simulation.chance.stream("hunt")
        self.acknowledged: dict[str, int] = {}  # path -> number of the last write that was acknowledged
        self.begun: dict[str, int] = {}  # path -> number of the last write that was begun
        self.removed: dict[str, None] = {}  # removals begun, in which case anything may be gone
        self.commits: dict[str, dict[str, Any]] = {}  # target -> source -> answer
        self.claims: dict[str, list[Any]] = {}
        self.answers = self.failures = 0
        self._lifting: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """Tells it."""
        self.simulation.run(self._main())
        broken = [error for name, error in self.simulation.failures if name not in CLIENTS]
        assert not broken, broken

    async def _main(self) -> None:
        boot = self.simulation.boot
        parameters = {"chunk_bytes": CHUNK, "silence": 6.0, "write_within": 40.0, "replicas": 2}
        boot("files", master.serve, parameters)
        for name, rack in SERVERS.items():
            boot(name, chunkserver.serve, {"rack": rack, "beat": 1.0, "scrub": 20.0})
        clients = [FileClient(boot(name), "files") for name in CLIENTS]
        await asyncio.sleep(2)
        loop = asyncio.get_running_loop()
        self.end = loop.time() + LENGTH
        async with asyncio.TaskGroup() as tasks:
            for name, client in zip(CLIENTS, clients, strict=True):
                tasks.create_task(self._write(name, client))
                tasks.create_task(self._commit(name, client))
                tasks.create_task(self._read(client))
            tasks.create_task(self._trouble())
        self.faults.heal()
        for name in HOSTS:
            if not self.simulation.machines[name].running:
                self.simulation.machines[name].restart()
        await asyncio.sleep(QUIET)
        await self._judge(clients[0])

    def _on(self) -> bool:
        return asyncio.get_running_loop().time() < self.end

    # What clients do

    async def _write(self, name: str, client: FileClient) -> None:
        """Writes its own files again and again, and now and then gives up in the middle."""
        number = 0
        while self._on():
            number += 1
            path = f"own/{name}/{self.rng.randrange(2)}"
            data = content(name, number, self.rng.choice([40, 2_999, 3_000, 3_001, 10_000]))
            self.begun[path] = number
            patience = self.rng.choice([0.01, 100.0, 100.0, 100.0])
            try:
                async with asyncio.timeout(patience):
                    await client.write(path, data, self.rng.choice([2, 2, 3]))
                self.acknowledged[path] = number
                self.answers += 1
            except (OSError, TimeoutError):  # it may be done, or not, or come to be done yet
                self.failures += 1
            await asyncio.sleep(self.rng.expovariate(1.0))

    async def _read(self, client: FileClient) -> None:
        """Reads what others write: what was acknowledged or is newer, and never anything older again."""
        last: dict[str, int] = {}
        while self._on():
            path = f"own/{self.rng.choice(CLIENTS)}/{self.rng.randrange(2)}"
            at_least = max(self.acknowledged.get(path, 0), last.get(path, 0))
            try:
                number = told_by(await client.read(path), path)
                assert at_least <= number <= self.begun[path], f"{path}: read {number} after {at_least}"
                last[path] = number
                self.answers += 1
            except FileNotFoundError:
                assert not at_least, f"{path} is gone, which had {at_least}"
            except OSError:
                self.failures += 1
            await asyncio.sleep(self.rng.expovariate(2.0))

    async def _commit(self, name: str, client: FileClient) -> None:
        """Races the others for final names, and claims folders."""
        number = 0
        while self._on():
            number += 1
            source, target = f"out/.temporary/{number}.{name}", f"out/part-{number}"
            try:
                await client.write(source, content(name, number, self.rng.choice([50, 7_000])))
                answers = self.commits.setdefault(target, {})
                answers[source] = None
                answers[source] = await client.commit(source, target)
                if self.rng.random() < 0.3:
                    again = await client.commit(source, target)
                    assert again == answers[source], (
                        f"{target}: {name} was told {answers[source]}, then {again}"
                    )
                number_there = told_by(await client.read(target), target)
                assert number_there == number
                self.answers += 1
            except OSError:
                self.failures += 1
            claim = f"claims/{number}"
            try:
                self.claims.setdefault(claim, []).append(None)
                place = len(self.claims[claim]) - 1
                await client.create(claim, exclusive=True)
                self.claims[claim][place] = True
            except FileExistsError:
                self.claims[claim][place] = False
            except OSError:
                self.failures += 1
            await asyncio.sleep(self.rng.expovariate(0.5))

    # What happens to them

    async def _trouble(self) -> None:
        rng, faults = self.rng, self.faults
        rotten = rng.choice(list(SERVERS))  # only one disk rots: else all replicas of a chunk may
        while self._on():
            await asyncio.sleep(rng.expovariate(0.4))
            host, server = rng.choice(HOSTS), rng.choice(list(SERVERS))
            others = [name for name in [*HOSTS, *CLIENTS] if name != host]
            kind = rng.randrange(10)
            fault: f.AnyFault | None = None
            if kind < 3:
                if rng.random() < 0.5 and self.simulation.machines[host].running:
                    faults.inject(f.TornWrite(host=host))
                fault = f.Crash(host=host)
            elif kind == 3:
                fault = f.Pause(host=host)
            elif kind == 4:
                fault = f.Cut(source=host, target=rng.choice(others), both=rng.random() < 0.5)
            elif kind == 5:
                fault = f.Isolate(host=host)
            elif kind == 6:
                fault = f.LoseReply(host=host, method=rng.choice(["Put", "Commit", "Create", "Write"]))
            elif kind == 7:
                fault = rng.choice([f.DiskFull, f.SyncFails])(host=host)
            elif kind == 8:
                fault = f.SlowDisk(host=server, factor=100.0)
            else:
                self._rot(rotten)
            if fault is not None:
                try:
                    number = faults.inject(fault)
                except ValueError:
                    continue  # the host is in no state for it
                self._lifting.append(asyncio.create_task(self._lift(number, rng.expovariate(0.2))))

    async def _lift(self, number: int, after: float) -> None:
        await asyncio.sleep(after)
        if number in self.faults.active:
            self.faults.lift(number)

    def _rot(self, host: str) -> None:
        """Flips a bit of a chunk that has a replica elsewhere."""
        disks = {name: self.simulation.machines[name].disk for name in SERVERS}
        there = [path for path in sorted(disks[host]._files) if not path.endswith(".part")]
        spare = [path for path in there if any(path in disks[n]._files for n in SERVERS if n != host)]
        if spare:
            disks[host].corrupt(self.rng.choice(spare))

    # What is left

    async def _judge(self, client: FileClient) -> None:
        listed = [info.path for info in await client.list("")]
        for target, answers in self.commits.items():
            won = [source for source, answer in answers.items() if answer]
            assert len(won) <= 1, f"{target}: {won} have won"
            if answers and all(answer is not None for answer in answers.values()):
                assert len(won) == 1, f"{target}: nobody has won of {answers}"
            if won:
                writer = told_writer(await client.read(target))
                assert won == [f"out/.temporary/{target.rpartition('-')[2]}.{writer}"], (target, won, writer)
        for claim, answers in self.claims.items():
            assert answers.count(True) <= 1, f"{claim} belongs to several"
            assert True in answers or None in answers, f"{claim}: refused to all"
        for path, number in self.acknowledged.items():
            assert number <= told_by(await client.read(path), path) <= self.begun[path]
        listed += [info.path for info in await client.list("out/.temporary")]
        held = await client.locate([Range(path, 0, -1) for path in listed])
        sizes = {
            info.path: info.size for info in [*await client.list(""), *await client.list("out/.temporary")]
        }
        on_disk: dict[str, int] = {}
        for name in SERVERS:
            blocks = Blocks(self.simulation.machines[name].disk)
            await blocks.load()
            for chunk in blocks.chunks:
                await blocks.verify(chunk)
                on_disk[f"{chunk:x}"] = on_disk.get(f"{chunk:x}", 0) + 1
        expected: dict[str, int] = {}
        for path, positions in zip(listed, held, strict=True):
            copies = sum(positions.values()) / sizes[path]
            assert copies in (2, 3), f"{path} has {copies} replicas"
            for chunk in (await client._master.Lookup(pb.LookupRequest(path=path))).chunks:
                assert len(chunk.servers) == copies, path
                expected[f"{chunk.id:x}"] = len(chunk.servers)
        wrong = {
            k: (on_disk.get(k), expected.get(k))
            for k in {**on_disk, **expected}
            if on_disk.get(k) != expected.get(k)
        }
        assert not wrong, f"replicas on disks and in the master's mind: {wrong}"


def told_writer(data: bytes) -> str:
    """Returns whose content this is."""
    return data.split(b"/", 1)[0].decode()


def main(first: int, last: int) -> None:
    """Hunts over a range of seeds."""
    for seed in range(first, last):
        hunt = Hunt(seed, interleave=bool(seed % 2))
        hunt.run()
        print(f"seed {seed}: {hunt.answers} answers, {hunt.failures} failures", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
