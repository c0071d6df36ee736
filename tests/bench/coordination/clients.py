"""Client processes that begin at once, and what they did together."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.coordination.servers import Servers

CLIENTS = 8


class Load(NamedTuple):
    """What the clients did together. Latencies in ms."""

    rate: float
    latencies: list[float]


def load(servers: Servers, kind: str, seconds: float, clients: int = CLIENTS) -> Load:
    """Has processes with kazoo work at once, each on a server of its own choice."""
    command = [sys.executable, "-m", "tests.bench.coordination.load", servers.hosts, kind, str(seconds)]
    return together([[*command, f"{kind}-{number}"] for number in range(clients)])


def together(commands: Sequence[Sequence[str]]) -> Load:
    """Runs clients: each says "ready", is told to begin, and prints what it has done.

    Raises:
        RuntimeError: one of them did not get ready.
    """
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for command in commands
        ]
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a client of the load cannot connect")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = [json.loads(process.communicate()[0]) for process in processes]
    rate = sum(each["done"] / each["seconds"] for each in found)
    return Load(rate, sorted(latency for each in found for latency in each.get("latencies", ())))
