"""Seeing from outside: what a cluster left, and what its nodes answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words
from services.host import Host

PROBE = f"{Path(__file__).with_name('programs.py')}:probe"


EACH = 2
"""Processes of a node: its own, and the template of its children."""


def left_over(folder: Path) -> list[str]:
    """Returns the command lines of living processes that belong to a cluster's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(folder) in command and "services.node" in command and state not in "ZX":
            found.append(command)
    return found


def soon(holds: Callable[[], bool], within: float = 5.0) -> bool:
    """Waits until something holds; says whether it came to."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def soon_async(holds: Callable[[], Awaitable[bool]], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def ask(host: Host, target: str, do: str, within: float = 10.0, **arguments: Any) -> Any:
    """Has a probe do something, and returns the result."""
    async with host.connect(target) as channel:
        request = Words(text=json.dumps({"do": do, **arguments}))
        reply = await echo_pb2_grpc.EchoStub(channel).Say(request, timeout=within, wait_for_ready=True)
        return json.loads(reply.text)
