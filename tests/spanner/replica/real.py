"""What nodes of a real cluster run: a spanserver that writes by itself, and writes down what it applies.

`python -m tests.spanner.replica.real` measures how fast a group of three processes writes.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from services.cluster import Cluster
from services.host import Host
from services.spanner.group import Deposed, NotLeader
from tests.spanner.replica import machine
from tests.spanner.replica.machine import RUNNING, until

HOSTS = ["s1", "s2", "s3"]
MS = 1_000_000
FAST = {"lease": 2000 * MS, "renew": 800 * MS}


async def serve(host: Host, groups: list[list[Any]], settings: dict[str, Any]) -> None:
    """Serves, writes while it may lead, and every now and then says to its disk how far it is."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(machine.serve(host, groups, settings=settings))
        await until(lambda: host.name in RUNNING and RUNNING[host.name].replicas.get(1))
        acknowledged: list[bytes] = []
        tasks.create_task(report(host, acknowledged))
        for client in range(8):
            tasks.create_task(write(host, client, acknowledged))


async def write(host: Host, client: int, acknowledged: list[bytes]) -> None:
    replica, number = RUNNING[host.name].replica(), 0
    while True:
        number += 1
        entry = b"%s.%d.%d.%d" % (host.name.encode(), host.incarnation, client, number)
        try:
            await replica.write(lambda _, entry=entry: entry)
            acknowledged.append(entry)
            await asyncio.sleep(0.005)
        except (NotLeader, Deposed):
            await asyncio.sleep(0.2)


async def report(host: Host, acknowledged: list[bytes]) -> None:
    server = RUNNING[host.name]
    while True:
        told = b"%d %d %d\n" % (server.replica().term, host.incarnation, len(acknowledged))
        lines = [b"%d %d %s\n" % item for item in server.journals[1].items]
        text = told + b"".join(lines) + b"".join(entry + b"\n" for entry in acknowledged)
        file = await host.disk.open("report.part", "w")  # meanwhile, there are more
        await file.append(text)
        await file.close()
        await host.disk.rename("report.part", "report")
        await asyncio.sleep(0.1)


async def measured(host: Host, groups: list[list[Any]], clients: int, count: int, size: int) -> None:
    """Serves; the first member writes as fast as it can, and says how fast that was."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(machine.serve(host, groups))
        await until(lambda: host.name in RUNNING and RUNNING[host.name].replicas.get(len(groups)))
        if host.name != groups[0][0][0]:
            await asyncio.sleep(1e6)
        all_groups = [RUNNING[host.name].replica(group) for group in range(1, len(groups) + 1)]
        clock, body = host.clock.monotonic, b"x" * size
        for replica in all_groups:
            await replica.write(lambda _: body)
        alone = []
        for _ in range(100):
            start = clock()
            await all_groups[0].write(lambda _: body)
            alone.append(clock() - start)

        async def client(at: int) -> None:
            for _ in range(count // clients):
                await all_groups[at % len(all_groups)].write(lambda _: body)

        start = clock()
        async with asyncio.TaskGroup() as work:
            for at in range(clients):
                work.create_task(client(at))
        took = clock() - start
        said = f"{count / took:.0f} writes/s of {size} B in {len(groups)} groups by {clients} clients"
        said += f"; one alone {sorted(alone)[50] * 1e3:.2f} ms"
        file = await host.disk.open("measured.part", "w")
        await file.append(said.encode())
        await file.close()
        await host.disk.rename("measured.part", "measured")


async def measure(groups: int, clients: int, count: int, size: int) -> str:
    """Returns what was measured on three processes."""
    members = [[[host, "read-write"] for host in HOSTS]] * groups
    options = {"groups": members, "clients": clients, "count": count, "size": size}
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster.create(Path(folder) / "cluster") as cluster:
            await cluster.start_all(
                [(host, "tests.spanner.replica.real:measured", options, False) for host in HOSTS]
            )
            path = Path(folder) / "cluster" / "nodes" / "s1" / "data" / "measured"
            async with asyncio.timeout(120):
                while not path.exists():
                    await asyncio.sleep(0.1)
            return path.read_text()


if __name__ == "__main__":
    for groups, clients, count, size in (
        (1, 1, 500, 100),
        (1, 64, 20_000, 100),
        (1, 512, 40_000, 100),
        (10, 512, 40_000, 100),
    ):
        sys.stdout.write(asyncio.run(measure(groups, clients, count, size)) + "\n")
