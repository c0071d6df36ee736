"""One client process of the load: an unmodified kazoo client that pipelines, or waits for each answer.

    python -m tests.bench.coordination.load HOSTS KIND SECONDS NAME

Prints one JSON object: operations done, seconds, and for KIND "latency" the latencies in ms.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque

from kazoo.client import KazooClient

OUTSTANDING = 100
"""Requests that a pipelining client has under way (the paper's clients: at least 100; 5.1)."""

SIZE = 1024  # bytes that a request reads or writes (5.1)


def main() -> None:
    """Runs one client."""
    hosts, kind, seconds, name = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    client = KazooClient(hosts, timeout=30)
    client.start(30)
    path = f"/load-{name}"
    if not client.exists(path):
        client.create(path, b"x" * SIZE)
    print("ready", flush=True)
    sys.stdin.readline()
    if kind == "latency":
        done, taken, more = _one_by_one(client, path, seconds)
    else:
        done, taken, more = _pipelined(client, path, kind, seconds)
    print(json.dumps({"done": done, "seconds": taken, "latencies": more}))
    client.stop()


def _pipelined(client: KazooClient, path: str, kind: str, seconds: float) -> tuple[int, float, list[float]]:
    data = b"y" * SIZE
    reads_of_five = {"write": 0, "read": 5, "mix": 4}[kind]
    waiting = deque()
    asked = done = 0
    began = time.monotonic()
    while True:
        while len(waiting) < OUTSTANDING:
            if asked % 5 < reads_of_five:
                waiting.append(client.get_async(path))
            else:
                waiting.append(client.set_async(path, data))
            asked += 1
        waiting.popleft().get()
        done += 1
        now = time.monotonic()
        if now - began >= seconds:
            return done, now - began, []


def _one_by_one(client: KazooClient, path: str, seconds: float) -> tuple[int, float, list[float]]:
    data = b"y" * SIZE
    latencies = []
    began = now = time.monotonic()
    while now - began < seconds:
        client.set(path, data)
        then, now = now, time.monotonic()
        latencies.append((now - then) * 1000)
    return len(latencies), now - began, latencies


if __name__ == "__main__":
    main()
