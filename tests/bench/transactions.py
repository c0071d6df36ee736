"""The transactional checker: seconds and memory for the histories that a long test leaves.

Seconds are the processor's: the check uses one core, and waits for nothing.

.venv/bin/python -m tests.bench.transactions [--quick]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import networkx as nx
import numpy as np

from protos.history import Operation
from sim.check.transactions.components import components
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000
PER_KEY = 128  # writes of a key before another one takes its place


def history(
    count: int,
    *,
    append: bool,
    clients: int = 20,
    operations: int = 4,
    keys: int = 10,
    infos: float = 0.01,
    stale: float = 0.0,
    seed: int = 0,
) -> list[Operation]:
    """Returns the history of clients of a strictly serializable store, each without a pause.

    Args:
        count: transactions.
        append: to lists; else registers are written.
        keys: that are in use at the same time; each is replaced after `PER_KEY` writes.
        infos: the share of transactions of which nobody knows how they ended.
        stale: the share of transactions that read what was there some transactions ago.
    """
    chance = random.Random(f"transactions/{seed}/{append}")
    events: list[Operation] = []
    asked: list[tuple[int, int, int, int, bool]] = []  # when it takes effect, begin, end, client, unknown
    now = [chance.randrange(30 * MS) for _ in range(clients)]
    for _ in range(count):
        client = min(range(clients), key=now.__getitem__)
        begin = now[client]
        end = begin + chance.randrange(5 * MS, 55 * MS)
        asked.append((chance.randrange(begin + 1, end), begin, end, client, chance.random() < infos))
        now[client] = end + 1
    state: dict[int, Any] = {}
    writes: dict[int, int] = {}
    past: list[dict[int, Any]] = []
    active, next_key, value = list(range(keys)), keys, 0
    rows: list[tuple[int, str, str, Any]] = []
    lives = [1] * clients
    for number, (_, begin, end, client, unknown) in enumerate(sorted(asked)):
        view = past[chance.randrange(len(past))] if past and chance.random() < stale else state
        done = []
        for _ in range(operations):
            place = chance.randrange(keys)
            key = active[place]
            if chance.random() < 0.5:
                seen = view.get(key)
                done.append(["r", key, list(seen) if append and seen else seen])
                continue
            value += 1
            done.append(["append" if append else "w", key, value])
            if append:
                state.setdefault(key, []).append(value)
            else:
                state[key] = value
            writes[key] = writes.get(key, 0) + 1
            if writes[key] >= PER_KEY:
                active[place], next_key = next_key, next_key + 1
        if stale and number % 5 == 0:
            past = [
                *past[-4:],
                {key: list(state[key]) if append else state[key] for key in active if key in state},
            ]
        process = f"c{client}"
        rows.append((begin, process, "invoke", [[f, key, None if f == "r" else v] for f, key, v in done]))
        rows.append((end, process, "info" if unknown else "ok", rows[-1][3] if unknown else done))
    rows.sort(key=lambda row: row[0])
    for at, process, kind, done in rows:
        client = int(process[1:])
        events.append(Operation(f"{process}.{lives[client]}", kind, "txn", done, at, len(events)))
        lives[client] += kind == "info"
    return events


def command(events: list[Operation], model: str) -> tuple[float, float, str]:
    """Runs `dsim check`. Returns seconds, MB at the most, and the first line that it says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        encoder = msgspec.json.Encoder()
        with path.open("wb") as file:
            for event in events:
                file.write(encoder.encode(event) + b"\n")
        code = (
            "import resource, sys; from sim.cli import main; sys.argv[0] = 'dsim'\n"
            "try: main()\n"
            "finally:\n"
            "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
            "    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "check", str(path), "--model", model, "--no-plots"],
            capture_output=True,
            text=True,
        )
    seconds, megabytes = map(float, done.stderr.split()[-2:])
    return seconds, megabytes, done.stdout.split("\n")[0]


def beside_networkx(count: int) -> tuple[float, float]:
    """Returns the seconds for the components of a graph of so many nodes: ours, and those of networkx."""
    chance = random.Random("components")
    pairs = [
        (one, min(count - 1, one + chance.randrange(1, 50))) for one in range(count - 1) for _ in range(5)
    ]
    start = time.perf_counter()
    sources, targets = np.array(pairs, dtype=np.int64).T
    found = components(count, sources, targets)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    parts = nx.strongly_connected_components(nx.DiGraph(pairs))
    assert found == [part for part in parts if len(part) > 1]
    return ours, time.perf_counter() - start


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    count = 10_000 if quick else 100_000
    model = "strict-serializable"
    for name, append in (("list-append", True), ("read-write registers", False)):
        seconds, megabytes, said = command(history(count, append=append), model)
        what = f"dsim check, {count:,} transactions of 4 operations, 20 clients, {name}"
        yield Figure(what, seconds, "s", "at most", 60 * count / 100_000, said)
        yield Figure(f"{what}: memory", megabytes / 1024, "GiB", "at most", 4, "at its peak")
        half, _, _ = command(history(count // 4, append=append), model)
        yield Figure(
            f"{what}: time by that for a quarter of them",
            seconds / half,
            "x",
            "at most",
            5,
            f"{half:.2f} s; 4 were linear",
        )
        seconds, _, said = command(history(count, append=append, stale=0.01), model)
        yield Figure(f"{what}, 1 % stale reads", seconds, "s", "at most", 60 * count / 100_000, said)
    ours, theirs = beside_networkx(2 * count)
    what = f"components of a graph of {2 * count:,} nodes and {10 * count:,} edges, by networkx and by us"
    yield Figure(what, theirs / ours, "x", "", 0, f"{theirs:.2f} s and {ours:.2f} s")


if __name__ == "__main__":
    show(figures)
