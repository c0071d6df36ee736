"""A made-up but plausible trace of any size: clients call servers, some crash, links are cut."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from protos.history import Operation
from protos.trace import ClockSample, FaultEvent, HostEvent, Log, Lost, Message, Note, Span, TraceEvent

MS = 1_000_000


class Story:
    """Events of one run, in the order of time."""

    def __init__(self, events: list[TraceEvent], history: list[Operation]) -> None:
        self.events = events
        self.history = history


def tell(
    servers: int = 3,
    calls: int = 40,
    *,
    seed: int = 0,
    gap: int = 25 * MS,
    faults: bool = True,
    prefix: str = "server",
) -> Story:
    """Returns a run in which one client in four hosts calls servers, a call every `gap` ns."""
    rng = random.Random(seed)
    clients = [f"client{n + 1}" for n in range(max(1, servers // 4))]
    hosts = [f"{prefix}{n + 1}" for n in range(servers)]
    events: list[TraceEvent] = [HostEvent(0, host, "boot") for host in [*clients, *hosts]]
    history: list[Operation] = []
    end = calls * gap
    dead = (hosts[0], end // 4, end // 2)
    cut = (hosts[-1], int(end * 0.6), int(end * 0.75))
    if faults:
        events += [
            FaultEvent(dead[1], 1, "crash", "begin", [dead[0]], {"host": dead[0]}),
            HostEvent(dead[1], dead[0], "crash"),
            FaultEvent(dead[2], 1, "crash", "end", [dead[0]]),
            HostEvent(dead[2], dead[0], "restart", 1),
            FaultEvent(cut[1], 2, "isolate", "begin", [cut[0]], {"host": cut[0]}),
            FaultEvent(cut[2], 2, "isolate", "end", [cut[0]]),
            FaultEvent(int(end * 0.85), 3, "clock-jump", "once", [hosts[-1]], {"seconds": 0.1}),
            FaultEvent(
                int(end * 0.3), 4, "pause", "begin", [hosts[1 % servers]], {"host": hosts[1 % servers]}
            ),
            HostEvent(int(end * 0.3), hosts[1 % servers], "pause"),
            FaultEvent(int(end * 0.4), 4, "pause", "end", [hosts[1 % servers]]),
            HostEvent(int(end * 0.4), hosts[1 % servers], "resume"),
        ]
    for number in range(calls):
        start = number * gap + rng.randrange(gap)
        client, server = rng.choice(clients), rng.choice(hosts)
        there, work, back = (round(rng.lognormvariate(0, 0.4) * MS) + 1 for _ in range(3))
        index = 2 * number
        history.append(Operation(client, "invoke", "write", number, start, index, key="x"))
        broken = (server == dead[0] and dead[1] <= start < dead[2]) or (
            server == cut[0] and cut[1] <= start < cut[2]
        )
        method = "/lab.Store/" + ("Put" if number % 3 else "Get")
        if faults and broken:
            events.append(
                Lost(start + there, server, client, start, number, method, "request", "link cut", 64)
            )
            history.append(Operation(client, "info", "write", number, start + 5 * MS, index + 1, key="x"))
            continue
        arrive, done = start + there, start + there + work
        size = rng.randrange(50, 5000)
        events.append(Message(arrive, server, client, start, number, method, "request", size))
        events.append(
            Span(
                done,
                server,
                ("put", "get", "compact")[number % 3],
                arrive,
                f"t{number % 4}",
                ok=number % 17 != 0,
            )
        )
        code = "OK" if number % 17 else "INTERNAL"
        events.append(Message(done + back, client, server, done, number, method, "response", 16, code))
        history.append(Operation(client, "ok", "write", number, done + back, index + 1, key="x"))
        if number % 20 == 7:
            events.append(Note(done, server, "elected", fields={"epoch": number}))
        if number % 50 == 9:
            events.append(Log(done, server, "WARNING", "lab", "slow disk"))
    for at in range(0, end, max(1, end // 50)):
        for place, host in enumerate(hosts):
            jump = 100 * MS if faults and host == hosts[-1] and at >= int(end * 0.85) else 0
            offset = place * MS + at // 5000 * (place - 1) + jump
            events.append(ClockSample(at, host, offset, 2 * MS + at // 1000, middle=offset))
    events.sort(key=lambda event: event.time)
    history.sort(key=lambda operation: operation.time)
    return Story(events, history)


def save(story: Story, folder: Path, **summary: Any) -> Path:
    """Writes a run folder."""
    folder.mkdir(exist_ok=True)
    lines = msgspec.json.Encoder().encode_lines
    (folder / "trace.jsonl").write_bytes(lines(story.events))
    (folder / "history.jsonl").write_bytes(lines(story.history))
    (folder / "summary.json").write_bytes(
        msgspec.json.encode({"scenario": "lab/story", "seed": 7, **summary})
    )
    return folder
