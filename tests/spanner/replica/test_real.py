"""The same replicas on real processes, whose leaders are killed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from services.cluster import Cluster
from tests.spanner.replica.real import FAST, HOSTS


class Report:
    """What a server said last."""

    def __init__(self, cluster: Path, host: str) -> None:
        path = cluster / "nodes" / host / "data" / "report"
        head, *lines = path.read_bytes().splitlines() if path.exists() else [b"0 -1 0"]
        self.term, self.incarnation, acknowledged = map(int, head.split())
        applied = len(lines) - acknowledged
        self.items = [line.split() for line in lines[:applied]]
        self.acknowledged = lines[applied:]


async def story(folder: Path) -> None:
    async with Cluster.create(folder) as cluster:
        options = {"groups": [[[host, "read-write"] for host in HOSTS]], "settings": FAST}
        await cluster.start_all(
            [(host, "tests.spanner.replica.real:serve", options, False) for host in HOSTS]
        )
        acknowledged: dict[bytes, None] = {}
        lives = dict.fromkeys(HOSTS, 0)
        for _ in range(2):
            leader, report = await leading(folder, lives, len(acknowledged) + 200)
            acknowledged.update(dict.fromkeys(report.acknowledged))
            await cluster.kill(leader)
            lives[leader] += 1
            await cluster.restart(leader)
        await leading(folder, lives, len(acknowledged) + 200)
        await asyncio.sleep(0.3)
        reports = [Report(folder, host) for host in HOSTS]
        longest = max(reports, key=lambda report: len(report.items)).items
        for report in reports:
            assert report.items == longest[: len(report.items)]
        entries = [entry for _, _, entry in longest]
        assert len(entries) == len(dict.fromkeys(entries))
        assert dict.fromkeys(entries).keys() >= acknowledged.keys()
        for before, after in pairwise(longest):
            assert int(before[0]) < int(after[0]) and int(before[1]) < int(after[1])


async def leading(folder: Path, lives: dict[str, int], count: int) -> tuple[str, Report]:
    """Waits for a leader, in its present life, that has applied so many."""
    async with asyncio.timeout(30):
        while True:
            for host in HOSTS:
                report = Report(folder, host)
                if report.term and report.incarnation == lives[host] and len(report.items) >= count:
                    return host, report
            await asyncio.sleep(0.05)


def test_leaders_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path / "cluster"))
