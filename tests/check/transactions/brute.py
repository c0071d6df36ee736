"""Compares the checker with one that tries all executions, on random small histories.

    python -m tests.check.transactions.brute [N] [KIND ...]

The definitions are not those of the checker (it looks for cycles) but what the levels mean: an order of the
transactions exists, those of unknown end in it or not, in which each read returns

- serializable: what was there just then; strictly so if nobody comes before who had ended before it
  began;
- snapshot isolation: what was there at some moment before, one for the whole transaction, and nobody in
  between wrote what it writes;
- read committed: what some transaction before had left there, whichever.

For lists both must agree. For registers the checker may see less, for its search for an order of the
versions has a limit: it must never see an anomaly where there is none; how often it misses one is counted.
"""

from __future__ import annotations

import random
import sys
import time
from itertools import combinations
from typing import TYPE_CHECKING, Any

from protos.history import Operation
from sim.check.operations import calls
from sim.check.transactions import LEVELS, check
from sim.check.transactions.history import Transaction, transactions

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("list", "register")


def holds(level: str, found: list[Transaction]) -> bool:
    """Says whether there is an execution at a level that explains a history."""
    sure = [one for one in found if one.ended == "ok"]
    maybe = [one for one in found if one.ended == "info"]
    for count in range(len(maybe) + 1):
        for some in combinations(maybe, count):
            if _ordered(level, [*sure, *some], [{}]):
                return True
    return False


def _ordered(level: str, left: list[Transaction], states: list[dict[Any, Any]]) -> bool:
    """Says whether the transactions that are left can follow those that have made these states."""
    if not left:
        return True
    for one in left:
        if level == "strict-serializable" and any(0 < other.returned < one.called for other in left):
            continue
        if not _fits(level, one, states):
            continue
        after = dict(states[-1])
        for f, key, value in one.operations:
            if f == "append":
                after[key] = [*after.get(key, []), value]
            elif f == "w":
                after[key] = value
        if _ordered(level, [other for other in left if other is not one], [*states, after]):
            return True
    return False


def _fits(level: str, one: Transaction, states: list[dict[Any, Any]]) -> bool:
    if level == "snapshot-isolation":
        wrote = [key for f, key, _ in one.operations if f != "r"]
        last = states[-1]
        return any(
            _reads(one, [state], state)
            for place, state in enumerate(states)
            if all(later.get(key) == last.get(key) for later in states[place:] for key in wrote)
        )
    if level == "read-committed":
        return _reads(one, states, states[-1])
    return _reads(one, states[-1:], states[-1])


def _reads(one: Transaction, states: list[dict[Any, Any]], now: dict[Any, Any]) -> bool:
    """Says whether each read returns what one of some states has, or, after a write of its own, that."""
    if one.ended != "ok":
        return True
    own: dict[Any, Any] = {}
    for f, key, value in one.operations:
        if f == "w":
            own[key] = value
        elif f == "append":
            own[key] = [*own.get(key, now.get(key, [])), value]
        elif key in own:
            if value != own[key]:
                return False
        elif not any((state.get(key) or None) == (value or None) for state in states):
            return False
    return True


def random_history(kind: str, chance: random.Random) -> list[Operation]:
    """Returns what clients of some store, better or worse, could have seen."""
    return _Store(kind, chance).run()


class _Store:
    """A store that isolates transactions somehow, and its clients.

    Each client takes the next of its steps when it is drawn: it begins, reads or writes, and ends.
    """

    def __init__(self, kind: str, chance: random.Random) -> None:
        self.chance = chance
        self.append = kind == "list"
        self.mode = chance.choice(["serial", "snapshot", "snapshot", "latest", "latest", "dirty"])
        self.careless = chance.random() < 0.5  # snapshots do not look for conflicts
        self.lies = chance.choice([0.0, 0.0, 0.0, 0.15])
        self.infos = chance.choice([0.0, 0.0, 0.2, 0.4])
        self.aborts = chance.choice([0.0, 0.0, 0.2])
        self.keys = ["x", "y", "z"][: chance.randrange(1, 4)]
        self.now: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = [{}]
        self.next = 1
        self.events: list[Operation] = []

    def run(self) -> list[Operation]:
        chance = self.chance
        left = chance.randrange(2, 7)
        clients = [f"c{number}" for number in range(chance.randrange(2, 6))]
        waiting: dict[str, list[Any]] = {}
        lives = dict.fromkeys(clients, 1)
        while left or waiting:
            client = chance.choice(clients)
            if client not in waiting:
                if not left:
                    client = chance.choice(list(waiting))
                else:
                    left -= 1
                    waiting[client] = self.begin(f"{client}.{lives[client]}")
                    continue
            one = waiting[client]
            if self.mode == "serial" or not one[1]:
                while one[1]:
                    self.step(one)
                del waiting[client]
                lives[client] += self.end(one)
            else:
                self.step(one)
        return self.events

    def begin(self, process: str) -> list[Any]:
        planned = []
        for _ in range(self.chance.randrange(1, 5)):
            key = self.chance.choice(self.keys)
            if self.chance.random() < 0.5:
                planned.append(["r", key, None])
            else:
                planned.append(["append" if self.append else "w", key, self.next])
                self.next += 1
        self.write(process, "invoke", planned)
        # process, what is to be done, what was done, the snapshot, its number, own writes
        return [process, planned[:], [], dict(self.now), len(self.history) - 1, {}]

    def step(self, one: list[Any]) -> None:
        _, planned, done, snapshot, _, own = one
        f, key, value = planned.pop(0)
        if self.mode == "serial" and not done:
            snapshot.clear()
            snapshot.update(self.now)
            one[4] = len(self.history) - 1
        view = snapshot if self.mode in ("serial", "snapshot") else self.now
        if f == "r":
            seen = view.get(key)
            if key in own:
                seen = [*(seen or []), *own[key]] if self.append else own[key][-1]
            done.append([f, key, self.lie(seen)])
        else:
            done.append([f, key, value])
            if self.mode == "dirty":
                self.now[key] = [*self.now.get(key, []), value] if self.append else value
            else:
                own.setdefault(key, []).append(value)

    def lie(self, seen: Any) -> Any:
        if self.chance.random() >= self.lies:
            return seen
        if not self.append:
            return self.chance.choice([None, *range(1, self.next + 1)])
        seen = list(seen or [])
        what = self.chance.randrange(4)
        if what == 0:
            return seen[: self.chance.randrange(len(seen) + 1)]
        if what == 1:
            return [*seen, self.chance.randrange(1, self.next + 1)]
        if what == 2:
            self.chance.shuffle(seen)
            return seen
        return seen[1:]

    def end(self, one: list[Any]) -> bool:
        process, _, done, _, number, own = one
        happens = self.chance.random() >= self.aborts
        if self.mode == "snapshot" and not self.careless:
            happens &= all(
                state.get(key) == self.now.get(key) for state in self.history[number:] for key in own
            )
        known = self.chance.random() >= self.infos
        if happens or (not known and self.chance.random() < 0.5):
            happens = True
            for key, values in own.items():
                self.now[key] = [*self.now.get(key, []), *values] if self.append else values[-1]
            self.history.append(dict(self.now))
        asked = [[f, key, None if f == "r" else value] for f, key, value in done]
        if not known:
            self.write(process, "info", asked)
            return True
        self.write(process, "ok" if happens else "fail", done if happens else asked)
        return False

    def write(self, process: str, kind: Any, value: Any) -> None:
        copied = [list(part) for part in value]
        self.events.append(Operation(process, kind, "txn", copied, len(self.events) * 10, len(self.events)))


def compare(kind: str, events: list[Operation]) -> dict[str, tuple[bool, bool]]:
    """Judges a history in both ways. Returns by level what was found, and what is so.

    Raises:
        AssertionError: an anomaly was found where there is none; or, in lists, the reverse.
    """
    history = calls(events)
    found = transactions(history)
    verdict = check(history)
    answers = {}
    for level in LEVELS:
        so = holds(level, found)
        answer = verdict.answer(level)
        told = f"{level}: {answer}, but it {'holds' if so else 'does not hold'}"
        shown = "\n".join(
            f"{one.name} {one.process} {one.ended} {one.operations} {one.called}-{one.returned}"
            for one in found
        )
        agree = (answer == "holds") == so if kind == "list" else answer == "holds" or not so
        assert agree, f"{told}\n{shown}\n{[(one.name, one.words) for one in verdict.anomalies]}"
        answers[level] = (answer == "holds", so)
    return answers


def histories(kind: str, count: int, seed: int = 0) -> Iterator[list[Operation]]:
    """Yields random histories."""
    for number in range(count):
        yield random_history(kind, random.Random(f"{kind}/{seed}/{number}"))


def main() -> None:
    """Compares, and says how many histories of which verdict there were."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for kind in sys.argv[2:] or KINDS:
        start = time.perf_counter()
        tally = {level: [0, 0, 0] for level in LEVELS}  # hold, broken and found, broken and missed
        for events in histories(kind, count):
            for level, (told, so) in compare(kind, events).items():
                tally[level][0 if so else 2 if told else 1] += 1
        print(f"{kind}: {count:,} histories ({time.perf_counter() - start:.1f} s)")
        for level, (good, seen, missed) in tally.items():
            share = f" ({missed / (seen + missed):.2%})" if missed else ""
            print(f"  {level}: {good:,} hold, {seen:,} broken, {missed:,} more missed{share}; no false alarm")


if __name__ == "__main__":
    main()
