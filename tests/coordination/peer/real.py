"""What nodes of a real cluster run: a server that proposes by itself, and writes down what it delivers."""

from __future__ import annotations

import asyncio
from typing import Any

from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration
from services.coordination.peer import SERVER_OPTIONS, Replica
from services.host import Host
from tests.coordination.peer.machine import Journal


class Told(Journal):
    """Acknowledges what it proposed when it delivers that, as a server does to its clients."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.file: Any = None

    def ready(self, epoch: int) -> None:
        super().ready(epoch)
        task = asyncio.create_task(self.propose())
        task.add_done_callback(lambda task: None if task.cancelled() else task.exception())

    async def propose(self) -> None:
        number = 0
        assert self.replica is not None
        while True:
            try:
                for _ in range(20):
                    number += 1
                    self.replica.propose(b"%d.%d.%d" % (self.replica.server, self.host.incarnation, number))
            except NotLeading:
                return
            await asyncio.sleep(0.002)


async def serve(host: Host, number: int, members: str) -> None:
    """Serves, and every now and then writes how far it is to its disk."""
    configuration = Configuration.parse(members)
    replica = Replica(host, number, configuration, snap_count=2000)
    journal = Told(host)
    journal.replica = replica
    member = configuration.member(number)
    assert member is not None
    server = host.serve(member.quorum_port, options=SERVER_OPTIONS)
    replica.add_to(server)
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replica.run(journal))
        tasks.create_task(report(host, journal))


async def report(host: Host, journal: Told) -> None:
    while True:
        lines = [b"%d %s\n" % (zxid, transaction) for zxid, transaction in journal.delivered]
        phase = journal.replica.phase if journal.replica is not None else ""
        file = await host.disk.open("report.part", "w")
        await file.append(b"%s %d\n" % (phase.encode(), host.incarnation) + b"".join(lines))
        await file.close()
        await host.disk.rename("report.part", "report")
        await asyncio.sleep(0.1)
