"""The checker against another that is too simple to be wrong: random small histories, all orders tried.

    python -m tests.check.brute [N] [MODEL ...]

Makes N (20,000) random histories for each model, half of them broken on purpose, and compares verdict and
shortest failing prefix.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from protos.history import Operation
from sim.check.linearizable import check
from sim.check.models import ILLEGAL, MODELS, Model
from sim.check.operations import Call, calls


def explained(history: list[Call], model: Model, until: int) -> bool:
    """Says whether the history up to a line has an order, by trying them all."""
    began = [call for call in history if call.called <= until]
    done = {number for number, call in enumerate(began) if not call.pending and call.returned <= until}

    def orders(state: Any, placed: frozenset[int]) -> bool:
        if done <= placed:
            return True
        for number, call in enumerate(began):
            if number in placed:
                continue
            before = [n for n in done if n not in placed and n != number and began[n].returned < call.called]
            if before:
                continue
            after = model.step(state, model.action(call))
            if after is not ILLEGAL and orders(after, placed | {number}):
                return True
        return False

    return orders(model.initial, frozenset())


def shortest(history: list[Call], kind: type[Model]) -> int | None:
    """Returns the line that ends the shortest prefix without an order; None if all have one."""
    model = kind()
    happened = [call for call in history if call.ended != "fail" or model.happened(call)]
    for line in sorted(call.returned for call in happened if not call.pending):
        if not explained(happened, model, line):
            return line
    return None


Ask = Callable[[random.Random], tuple[str, Any]]


def _register(chance: random.Random) -> tuple[str, Any]:
    return chance.choice([("read", None), ("write", chance.randrange(3))])


def _cas(chance: random.Random) -> tuple[str, Any]:
    return chance.choice([*[_register(chance)] * 2, ("cas", [chance.randrange(3), chance.randrange(3)])])


def _kv(chance: random.Random) -> tuple[str, Any]:
    return chance.choice(
        [
            ("get", None),
            ("get", None),
            ("put", chance.choice("ab")),
            ("append", chance.choice("ab")),
            ("delete", None),
        ]
    )


def _set(chance: random.Random) -> tuple[str, Any]:
    return chance.choice(
        [("read", None), ("add", chance.randrange(3)), ("add", 1), ("remove", chance.randrange(3))]
    )


def _queue(chance: random.Random) -> tuple[str, Any]:
    return chance.choice([("enqueue", chance.randrange(4)), ("dequeue", None)])


def _lock(chance: random.Random) -> tuple[str, Any]:
    return chance.choice(["acquire", "release"]), chance.choice([None, "a", "b"])


def _counter(chance: random.Random) -> tuple[str, Any]:
    return chance.choice([("read", None), ("add", chance.choice([1, 1, 2, -1]))])


ASK: dict[str, Ask] = {
    "register": _register,
    "cas-register": _cas,
    "kv": _kv,
    "set": _set,
    "queue": _queue,
    "lock": _lock,
    "counter": _counter,
}


def _carried_out(name: str, state: Any, f: str, value: Any) -> tuple[Any, str, Any, str]:
    """Carries an operation out on a correct object: the state after, how it ended, its result, its error."""
    if f in ("read", "get"):
        return state, "ok", sorted(state) if name == "set" else state, ""
    if f in ("write", "put"):
        return value, "ok", value, ""
    if f == "delete":
        return None, "ok", None, ""
    if f == "append":
        return (state or "") + value, "ok", value, ""
    if f == "cas":
        return (value[1], "ok", value, "") if state == value[0] else (state, "fail", value, "mismatch")
    if f == "remove":
        return state - {value}, "ok", value, ""
    if f == "add":
        return (state | {value} if name == "set" else state + value), "ok", value, ""
    if f == "enqueue":
        return [*state, value], "ok", value, ""
    if f == "dequeue":
        return (state[1:], "ok", state[0], "") if state else (state, "ok", None, "")
    if f == "acquire":
        return ([value], "ok", value, "") if not state else (state, "fail", value, "held")
    return ([], "ok", value, "") if state == [value] else (state, "fail", value, "not held")


START: dict[str, Any] = {"set": frozenset(), "queue": [], "lock": [], "counter": 0}


def random_history(name: str, chance: random.Random) -> list[Operation]:
    """Returns a history that a correct object could have made, or one with some results of another."""
    count, keys = (
        chance.randrange(2, 9) if chance.random() < 0.95 else chance.randrange(9, 12),
        chance.choice([None, None, ["x", "y"]]) if name != "kv" else ["x", "y"],
    )
    free = [f"c{number}" for number in range(chance.randrange(1, 6))]
    names = itertools.count(len(free))
    states: dict[Any, Any] = {}
    under_way: list[list[Any]] = []  # [process, f, value, key, outcome or None]
    events: list[Operation] = []

    def write(process: str, kind: Any, f: str, value: Any, key: Any, error: str = "") -> None:
        event = Operation(process, kind, f, value, len(events) * 10, len(events), error=error)
        if key is not None:
            event.key = key
        events.append(event)

    broken = chance.random() < 0.5
    infos = chance.choice([0.0, 0.15, 0.5])
    asked = 0
    grows = (
        chance.random() < 0.5
    )  # sets and counters that only grow, maps without append, are searched in another way
    while asked < count or under_way:
        if asked < count and free and (not under_way or chance.random() < 0.5):
            f, value = ASK[name](chance)
            if grows:
                f = {"remove": "add", "append": "put"}.get(f, f)
                value = abs(value) if name == "counter" and value is not None else value
            process = free.pop(chance.randrange(len(free)))
            key = chance.choice(keys) if keys else None
            write(process, "invoke", f, value, key)
            under_way.append([process, f, value, key, None])
            asked += 1
            continue
        one = chance.choice(under_way)
        process, f, value, key, outcome = one
        if outcome is None and chance.random() < 0.9:
            state, *one[4] = _carried_out(name, states.get(key, START.get(name)), f, value)
            states[key] = state
            if chance.random() < 0.5:
                continue
            outcome = one[4]
        under_way.remove(one)
        if outcome is None or chance.random() < infos:
            if chance.random() < 0.7:
                write(process, "info", f, value, key, "timeout")
            free.append(f"c{next(names)}")
            continue
        ended, result, error = outcome
        if broken and chance.random() < 0.3:
            ended, result, error = _broken(name, f, value, chance)
        write(process, ended, f, result, key, error)
        free.append(process)
    return events


def _broken(name: str, f: str, value: Any, chance: random.Random) -> tuple[str, Any, str]:
    """Returns how an operation might have ended on some other object."""
    if f == "read" and name == "set":
        return "ok", [element for element in range(3) if chance.random() < 0.5], ""
    if f == "get":
        return "ok", chance.choice([None, "a", "b", "ab", "ba", "bb"]), ""
    if f in ("read", "dequeue"):
        return "ok", chance.choice([0 if name == "counter" else None, 0, 1, 2, 3]), ""
    if f == "cas":
        return chance.choice([("ok", value, ""), ("fail", value, "mismatch"), ("fail", value, "")])
    return chance.choice([("ok", value, ""), ("fail", value, "")])


def compare(events: list[Operation], kind: type[Model]) -> bool:
    """Compares the two checkers on a history. Says whether it is linearizable.

    Raises:
        AssertionError: they differ.
    """
    history = calls(events)
    model = kind()
    parts: dict[Any, list[Call]] = {}
    for call in history:
        parts.setdefault(call.key, []).append(call)
    lines = [line for part in parts.values() if (line := shortest(part, kind)) is not None]
    expected = min(lines, default=None)
    verdict = check(history, kind, timeout_s=None)
    found = verdict.violation.prefix if verdict.violation is not None else None
    told = "\n".join(f"{event.index + 1:3} {event}" for event in events)
    assert found == expected, f"{model.name}: expected {expected}, found {found}\n{told}"
    assert (verdict.answer == "linearizable") == (expected is None)
    if verdict.violation is None:
        return True
    _explains(verdict.violation.order, model)
    return False


def _explains(order: list[Call], model: Model) -> None:
    """Asserts that the model allows an order, and that nothing in it comes after what began later."""
    state = model.initial
    for number, call in enumerate(order):
        state = model.step(state, model.action(call))
        assert state is not ILLEGAL, f"{call} cannot come there"
        assert not any(later.returned and later.returned < call.called for later in order[number:])


def histories(name: str, count: int, seed: int = 0) -> Iterator[list[Operation]]:
    """Yields random histories."""
    for number in range(count):
        yield random_history(name, random.Random(f"{name}/{seed}/{number}"))


def main() -> None:
    """Compares, and says how many histories of which verdict there were."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for name in sys.argv[2:] or MODELS:
        start = time.perf_counter()
        good = sum(compare(events, MODELS[name]) for events in histories(name, count))
        seconds = time.perf_counter() - start
        print(
            f"{name}: {count:,} agree, {good:,} linearizable, {count - good:,} not ({seconds:.1f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
