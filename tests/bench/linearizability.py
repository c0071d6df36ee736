"""The linearizability checker: processor seconds for histories as long as a long test leaves.

.venv/bin/python -m tests.bench.linearizability [--quick]
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from protos.history import Operation
from sim.check.linearizable import Verdict, check
from sim.check.operations import Call, calls
from tests.bench.figure import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000


def register(
    count: int,
    *,
    clients: int,
    values: int | None,
    infos: float,
    cas: bool = False,
    seed: int = 0,
    lie: float = 0.0,
) -> list[Call]:
    """Returns the history of clients of a register, each without a pause.

    Args:
        count: operations.
        values: different values that are written; None: each writes its own.
        infos: the share of operations of which nobody knows how they ended.
        cas: a third compares and sets.
        lie: the share of reads, in the last tenth, that return something else.
    """
    chance = random.Random(f"register/{seed}")
    return calls(_history(count, clients, values, infos, cas, lie, chance))


def _history(
    count: int, clients: int, values: int | None, infos: float, cas: bool, lie: float, chance: random.Random
) -> list[Operation]:
    events: list[tuple[int, str, Any, str, Any]] = []  # time, process, type, f, value
    points: list[tuple[int, int]] = []  # when each operation takes effect
    asked: list[list[Any]] = []
    now = [chance.randrange(30 * MS) for _ in range(clients)]
    lives = [1] * clients
    for number in range(count):
        client = min(range(clients), key=now.__getitem__)
        begin = now[client]
        end = begin + chance.randrange(5 * MS, 55 * MS)
        f = chance.choice(["read", "write", "cas"] if cas else ["read", "write"])
        pick = (lambda: chance.randrange(values)) if values is not None else (lambda number=number: number)
        value = None if f == "read" else pick() if f == "write" else [pick(), pick()]
        unknown = chance.random() < infos
        process = f"c{client}.{lives[client]}"
        asked.append([begin, end, process, f, value, unknown, None])
        if not unknown or chance.random() < 0.5:
            points.append(
                (chance.randrange(begin + 1, end) + (chance.randrange(3000 * MS) if unknown else 0), number)
            )
        lives[client] += unknown
        now[client] = end + 1
    state: Any = None
    for _, number in sorted(points):
        one = asked[number]
        f, value = one[3], one[4]
        if f == "read":
            one[6] = ("ok", state)
        elif f == "write":
            state = value
            one[6] = ("ok", value)
        elif state == value[0]:
            state = value[1]
            one[6] = ("ok", value)
        else:
            one[6] = ("mismatch", value)
    for number, (begin, end, process, f, value, unknown, outcome) in enumerate(asked):
        events.append((begin, process, "invoke", f, value))
        if unknown:
            events.append((end, process, "info", f, value))
            continue
        kind, result = outcome
        if f == "read" and lie and number > 0.9 * count and chance.random() < lie:
            result = chance.randrange(values) if values is not None else chance.randrange(number)
        events.append((end, process, kind, f, result))
    events.sort(key=lambda event: event[0])
    return [
        Operation(
            process,
            "fail" if kind == "mismatch" else kind,
            f,
            value,
            at,
            index,
            error="mismatch" * (kind == "mismatch"),
        )
        for index, (at, process, kind, f, value) in enumerate(events)
    ]


def keyed(count: int, keys: int, seed: int = 0) -> list[Call]:
    """Returns a history of operations on many keys, by 5 clients a key."""
    events: list[Operation] = []
    for key in range(keys):
        chance = random.Random(f"keys/{seed}/{key}")
        for event in _history(count // keys, 5, None, 0.05, False, 0.0, chance):
            event.key, event.process = key, f"{event.process} of {key}"
            event.f = {"read": "get", "write": "put"}[event.f]
            events.append(event)
    events.sort(key=lambda event: event.time)
    return calls(events)


def timed(history: list[Call], model: str, timeout_s: float | None = None) -> tuple[float, Verdict]:
    """Checks a history; returns the processor seconds, too: the check uses one core and waits for nothing."""
    start = time.process_time()
    verdict = check(history, model, timeout_s=timeout_s)
    return time.process_time() - start, verdict


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    for name, model, history in (
        ("each write its own value", "register", register(10_200, clients=5, values=None, infos=0.1)),
        ("5 values", "register", register(10_200, clients=5, values=5, infos=0.1)),
        ("5 values, cas", "cas-register", register(10_200, clients=5, values=5, infos=0.1, cas=True)),
        (
            "each write its own value, false reads",
            "register",
            register(10_200, clients=5, values=None, infos=0.1, lie=0.05),
        ),
        (
            "5 values, a false read",
            "register",
            [*register(10_200, clients=5, values=5, infos=0.1), *_false_read()],
        ),
    ):
        seconds, verdict = timed(history, model, 30)
        what = f"check a register, 5 clients at 170 operations/s for 60 s, 10 % info: {name}"
        yield Figure(
            what, seconds, "s", "at most", 2.0, f"{verdict.operations:,} operations: {verdict.answer}"
        )
    history = keyed(10_000 if quick else 100_000, 100 if quick else 1000)
    seconds, verdict = timed(history, "kv")
    target = 3.0 if quick else 30.0
    said = f"{verdict.operations:,} operations on {verdict.parts:,} keys: {verdict.answer}"
    yield Figure("check a map", seconds, "s", "at most", target, said)
    for clients in (100, 300):
        for lie in (0.0, 0.2):
            history = register(3 * clients, clients=clients, values=None, infos=0.02, lie=lie, seed=clients)
            seconds, verdict = timed(history, "register", 5)
            said = f"{verdict.operations} operations: {verdict.answer}"
            lies = ", some reads false" if lie else ""
            yield Figure(
                f"check a register with {clients} clients at once{lies}, 5 s allowed",
                seconds,
                "s",
                "at most",
                6,
                said,
            )


def _false_read() -> list[Call]:
    """Returns a read, long after all others, of what nobody has written."""
    line = 10**9
    return [Call("late", "read", None, None, line, line * 1000, 77, "ok", "", line + 1, line * 1000)]


if __name__ == "__main__":
    show(figures)
