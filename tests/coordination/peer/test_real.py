"""The same driver on real processes, whose leaders are killed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from services.cluster import Cluster
from tests.coordination.peer.machine import ensemble

HOSTS = ["zk1", "zk2", "zk3"]


def report(cluster: Path, host: str) -> tuple[str, list[bytes]]:
    """Returns what a server said last: its phase with its incarnation, and its deliveries."""
    path = cluster / "nodes" / host / "data" / "report"
    if not path.exists():
        return "", []
    phase, *lines = path.read_bytes().splitlines()
    return phase.decode(), lines


async def story(folder: Path) -> None:
    async with Cluster.create(folder) as cluster:
        members = str(ensemble(3))
        await cluster.start_all(
            [
                (
                    host,
                    "tests.coordination.peer.real:serve",
                    {"number": int(host[2:]), "members": members},
                    False,
                )
                for host in HOSTS
            ]
        )
        seen: list[bytes] = []
        lives = dict.fromkeys(HOSTS, 0)
        for _ in range(3):
            leader = await leading(folder, lives, len(seen) + 500)
            seen = report(folder, leader)[1]
            await cluster.kill(leader)
            before = len(seen)
            lives[leader] += 1
            other = await leading(folder, lives, before)
            now = report(folder, other)[1]
            assert now[:before] == seen[:before]
            await cluster.restart(leader)
        async with asyncio.timeout(30):
            while not all(len(report(folder, host)[1]) > len(seen) + 500 for host in HOSTS):
                await asyncio.sleep(0.1)
        reports = sorted((report(folder, host)[1] for host in HOSTS), key=len)
        for shorter, longer in pairwise(reports):
            assert longer[: len(shorter)] == shorter
        zxids = [int(line.split()[0]) for line in reports[-1]]
        assert zxids == sorted(set(zxids)) and {zxid >> 32 for zxid in zxids} >= {1, 2, 3, 4}


async def leading(folder: Path, lives: dict[str, int], count: int) -> str:
    """Waits for a leader, in its present life, that has delivered more than so many."""
    async with asyncio.timeout(30):
        while True:
            for host in HOSTS:
                phase, lines = report(folder, host)
                if phase == f"leading {lives[host]}" and len(lines) > count:
                    return host
            await asyncio.sleep(0.05)


def test_leaders_are_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    asyncio.run(story(tmp_path / "cluster"))
