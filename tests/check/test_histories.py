"""Recorded histories with known verdicts: classics of the literature, made by hand, and two logs of a "
"real etcd."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.check.linearizable import check
from sim.check.read import read

FOLDER = Path(__file__).parent / "histories"

KNOWN = {  # name: model, line that ends the shortest prefix without an order (None: linearizable)
    # Herlihy and Wing, "Linearizability", 1990, their first examples of queues
    "herlihy-wing-h1.jsonl": ("queue", None),
    "herlihy-wing-h2.jsonl": ("queue", 6),
    "herlihy-wing-h3.jsonl": ("queue", None),
    "herlihy-wing-h4.jsonl": ("queue", 8),
    # registers
    "stale-read.jsonl": ("register", 8),
    "read-back-and-forth.jsonl": ("register", 7),
    "timeout-took-effect-late.jsonl": ("register", None),
    "timeout-took-effect-twice.jsonl": ("register", 10),
    "failed-write-seen.jsonl": ("register", 4),
    "lost-update.jsonl": ("cas-register", 6),
    "cas-mismatch-lied.jsonl": ("cas-register", 4),
    # other objects
    "kv-keys-apart.jsonl": ("kv", None),
    "kv-append-twice.jsonl": ("kv", 6),
    "set-lost-element.jsonl": ("set", 8),
    "set-snapshots-disagree.jsonl": ("set", 6),
    "lock-held-twice.jsonl": ("lock", 4),
    "lock-released-by-timeout.jsonl": ("lock", None),
    "counter-skips.jsonl": ("counter", 8),
    "counter-pending-adds.jsonl": ("counter", None),
    # Jepsen's
    "independent.edn": ("register", 12),
    "etcd-000.edn": ("cas-register", 88),  # known not to be linearizable; the line is ours
    "etcd-007.edn": ("cas-register", None),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_recorded_history_gets_its_verdict(name: str) -> None:
    model, line = KNOWN[name]
    verdict = check(read(FOLDER / name).calls, model)
    assert verdict.answer == ("linearizable" if line is None else "not linearizable")
    assert line == (None if verdict.violation is None else verdict.violation.prefix)


def test_every_recorded_history_has_a_known_verdict() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(KNOWN)


def test_the_history_of_a_key_is_named_with_the_key() -> None:
    verdict = check(read(FOLDER / "independent.edn").calls, "register")
    assert verdict.violation is not None
    assert verdict.violation.label == "key 2"
    assert verdict.parts == 2
