"""Histories that the literature tells, with the verdict that it gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim.check
from sim.check.read import read
from sim.check.transactions import LEVELS, check
from sim.check.transactions.told import tell
from tests.check.transactions.stories import after, in_turn, judged, together

RC, SI, SER, STRICT = LEVELS

TOLD = {
    # Adya 1999, section 3.1: x and y should stay equal; each transaction's write is on top in one of them.
    "Adya, H-wcycle": (
        together("append x 2, append y 8", "append x 5, append y 5", "r x [2 5], r y [5 8]"),
        {"G0"},
        RC,
    ),
    # T2 reads x of T1, which is aborted afterwards; a value that T1 overwrites; each reads the other's.
    "Adya, H-1a": (together(("w x 1", "fail"), "r x 1"), {"G1a"}, RC),
    "Adya, H-1b": (together("w x 1, w x 2", "r x 1"), {"G1b"}, RC),
    "Adya, H-1c": (together("w x 1, r y 2", "w y 2, r x 1"), {"G1c"}, RC),
    # Berenson et al. 1995: H1, inconsistent analysis: x + y = 100 is read as 60 in the midst of a transfer
    # of 40.
    "Berenson, H1": (
        after(together("w x 50, w y 51"), together("r x 50, w x 10, r y 51, w y 90", "r x 10, r y 51")),
        {"G-single"},
        SI,
    ),
    # A5A, read skew; A5B, write skew: x + y > 0 is what each transaction checked, and neither kept.
    "Berenson, A5A": (
        after(together("w x 50, w y 51"), together("r x 50, r y 52", "r x 50, r y 51, w x 49, w y 52")),
        {"G-single"},
        SI,
    ),
    "Berenson, A5B": (
        after(together("w x 50, w y 51"), together("r x 50, r y 51, w x 1", "r x 50, r y 51, w y 2")),
        {"G2-item"},
        SER,
    ),
    # P4, lost update: both read 100, one adds 20 and the other 30.
    "Berenson, P4": (
        after(together("w x 100"), together("r x 100, w x 120", "r x 100, w x 130")),
        {"lost-update"},
        SI,
    ),
    # Fekete, O'Neil and O'Neil 2004: snapshot isolation, where only the reader makes it no serial
    # execution: a deposit to the savings account, a withdrawal with a charge that has not seen it, a reader
    # who saw the first alone.
    "Fekete, read-only anomaly": (
        together("r x -, r y -, w x 11", "r y -, w y 20", "r x -, r y 20"),
        {"G2-item"},
        SER,
    ),
    # Cerone and Gotsman 2018, figure 2: the long fork, which parallel snapshot isolation allows.
    "Cerone and Gotsman, long fork": (
        together("w x 1", "w y 1", "r x 1, r y -", "r x -, r y 1"),
        {"long-fork"},
        SI,
    ),
    # Jepsen's report on Amazon RDS for PostgreSQL 17.4 (2025): readers at a secondary saw two commits in
    # the order of the log, readers at the primary in another. Lists, as there.
    "Amazon RDS for PostgreSQL 17.4": (
        together(
            "append 89 9, append 90 11",
            "append 91 6, append 92 3",
            "r 89 [9], r 91 []",
            "r 89 [], r 91 [6]",
        ),
        {"long-fork"},
        SI,
    ),
    # Jepsen's report on PostgreSQL 12.3 (2020): under "serializable" each of two did not see what the other
    # appended.
    "PostgreSQL 12.3": (
        together(
            "r 190 [1], append 187 4", "r 187 [], append 190 2", "append 190 1, r 190 [1]", "r 190 [1 2]"
        ),
        {"G2-item"},
        SER,
    ),
    # Jepsen's report on MongoDB 4.2.6 (2020): a transaction read what it was only about to append.
    "MongoDB 4.2.6": (
        together("r 1 [1 2 3], append 1 3", "append 1 1, append 1 2"),
        {"internal"},
        RC,
    ),
    # The case studies of Elle (2020). TiDB: conflicting transactions were tried again on top of writes that
    # they had not read: both read the same list, and both appended.
    "TiDB 2.1.7": (
        together("append 34 2", "r 34 [2], append 34 5", "r 34 [2], append 34 4", "r 34 [2 5 4]"),
        {"lost-update"},
        SI,
    ),
    # YugaByte DB: master failures let two read before each other's append.
    "YugaByte DB": (
        together("r 3 [], append 4 1", "r 4 [], append 3 837"),
        {"G2-item"},
        SER,
    ),
    # FaunaDB: a transaction did not see its own append.
    "FaunaDB": (together("append 0 6, r 0 []", "r 0 [6]"), {"internal"}, RC),
    # Dgraph: a read long after a write returned the register as it was before.
    "Dgraph": (in_turn("w 540 2", "r 540 -"), {"G-single-realtime"}, STRICT),
    # "Causal reverse", which CockroachDB documents: y is written after x was acknowledged; a scan sees y
    # without x.
    "CockroachDB": (
        [
            *together("r x [], r y [1]")[:1],
            *in_turn("append w 0", "append x 1", "append y 1")[2:],
            *together("r x [], r y [1]")[1:],
        ],
        {"G-single-realtime"},
        STRICT,
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_history_of_the_literature_gets_its_verdict(name):
    events, expected, level = TOLD[name]
    for index, event in enumerate(events):
        event.time = event.index = index
    verdict = judged(events)
    assert {anomaly.name for anomaly in verdict.anomalies} == expected
    assert verdict.weakest == level


def test_the_readme_shows_what_is_said():
    path = Path(__file__).parent / "histories" / "long-fork.jsonl"
    said = tell(check(read(path).calls), "snapshot-isolation")
    readme = (Path(sim.check.__file__).parent / "README.md").read_text()
    assert f"$ dsim check long-fork.jsonl --model snapshot-isolation\n{said}\n" in readme
