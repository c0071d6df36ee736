"""Each anomaly, in lists and in registers: what it is called, which level it breaks, and who is named."""

from __future__ import annotations

import sys

import pytest

from sim.check.transactions import LEVELS
from sim.check.transactions.levels import MEANINGS, broken_level
from sim.check.transactions.told import tell
from tests.check.transactions.stories import after, in_turn, judged, names, one_process, together

RC, SI, SER, STRICT = LEVELS

STORIES = {
    # Two write the same keys in opposite orders.
    "G0, lists": (
        together("append x 1, append y 1", "append x 2, append y 2", "r x [1 2], r y [2 1]"),
        ["G0"],
        RC,
    ),
    "G0, lists, between two appends of one": (
        together("append x 1, append x 2", "append x 3", "r x [1 3 2]"),
        ["G0"],
        RC,
    ),
    "G1a, lists": (together(("append x 1", "fail"), "r x [1]"), ["G1a"], RC),
    "G1a, registers": (together(("w x 1", "fail"), "r x 1"), ["G1a"], RC),
    "G1b, lists": (together("append x 1, append x 2", "r x [1]", "r x [1 2]"), ["G1b"], RC),
    "G1b, lists, the rest was never seen": (together("append x 1, append x 2", "r x [1]"), ["G1b"], RC),
    "G1b, registers": (together("w x 1, w x 2", "r x 1"), ["G1b"], RC),
    "G1c, lists": (together("append x 1, r y [2]", "append y 2, r x [1]"), ["G1c"], RC),
    "G1c, registers": (together("w x 1, r y 2", "w y 2, r x 1"), ["G1c"], RC),
    "G1c, registers, by what replaced what": (
        together("w x 1, w y 1", "r x 1, w x 2, w y 2", "r y 2, w y 3, r z 4", "w z 4, r y 3"),
        ["G1c"],
        RC,
    ),
    "dirty update": (
        together(("append x 1", "fail"), "append x 2", "r x [1 2]"),
        ["G1a", "dirty-update"],
        RC,
    ),
    "own append missing": (together("append x 1, r x []", "r x [1]"), ["internal"], RC),
    "own append too early": (together("r x [1], append x 1"), ["internal"], RC),
    "own write missing": (together("w x 1", "w x 2, r x 1"), ["internal"], RC),
    "own write too early": (together("r x 1, w x 1"), ["internal"], RC),
    "unwritten, lists": (together("r x [9]", "append x 1"), ["unwritten"], RC),
    "unwritten, registers": (together("r x 9", "w x 1"), ["unwritten"], RC),
    "duplicates": (together("append x 1", "r x [1 1]"), ["duplicates"], RC),
    "incompatible order": (
        together("append x 1", "append x 2", "r x [1 2]", "r x [2 1]"),
        ["incompatible-order"],
        RC,
    ),
    "own appends in another order": (
        together("append x 1, append x 2", "r x [2 1]"),
        ["G1b", "incompatible-order"],
        RC,
    ),
    "own append left out": (together("append x 1, append x 2", "r x [2]"), ["incompatible-order"], RC),
    "lost update, lists": (together("r x [], append x 1", "r x [], append x 2", "r x [1 2]"), None, SI),
    "lost update, lists, never seen": (together("r x [], append x 1", "r x [], append x 2"), None, SI),
    "lost update, registers": (together("w x 1", "r x 1, w x 2", "r x 1, w x 3"), None, SI),
    "lost update, registers, of nothing": (together("r x -, w x 2", "r x -, w x 3"), None, SI),
    "G-single, lists": (
        together("append x 1, append y 1", "r x [], r y [1]"),
        ["G-single"],
        SI,
    ),
    "G-single, registers": (together("w x 1, w y 1", "r x -, r y 1"), ["G-single"], SI),
    "G-single, a read that cannot be repeated": (together("append x 1", "r x [], r x [1]"), ["G-single"], SI),
    "long fork, lists": (
        together("append x 1", "append y 1", "r x [1], r y []", "r x [], r y [1]"),
        ["long-fork"],
        SI,
    ),
    "long fork, registers": (
        together("w x 1", "w y 1", "r x 1, r y -", "r x -, r y 1"),
        ["long-fork"],
        SI,
    ),
    "G-nonadjacent": (
        together(
            "append x 1",
            "append y 1",
            "append z 1",
            "r x [1], r y []",
            "r y [1], r z []",
            "r z [1], r x []",
        ),
        ["G-nonadjacent"],
        SI,
    ),
    "G2-item, lists": (together("r x [], append y 1", "r y [], append x 1"), ["G2-item"], SER),
    "G2-item, registers": (together("r x -, w y 1", "r y -, w x 1"), ["G2-item"], SER),
    "G2-item, three": (
        together("r x [], append y 1", "r y [], append z 1", "r z [], append x 1"),
        ["G2-item"],
        SER,
    ),
    "G0-realtime, lists": (in_turn("append x 1", "append x 2", "r x [2 1]"), ["G0-realtime"], STRICT),
    "G1c-realtime, lists": (in_turn("r x [1]", "append x 1"), ["G1c-realtime"], STRICT),
    "G1c-realtime, registers": (in_turn("r x 1", "w x 1"), ["G1c-realtime"], STRICT),
    "G-single-realtime, lists": (in_turn("append x 1", "r x []"), ["G-single-realtime"], STRICT),
    "G-single-realtime, registers": (in_turn("w x 1", "r x -"), ["G-single-realtime"], STRICT),
    "G-single-realtime, registers, by time alone": (
        in_turn("w x 1", "w x 2", "r x 1"),
        ["G-single-realtime"],
        STRICT,
    ),
    "G-single-realtime, registers, by who saw what": (
        after(together("w x 1", "w x 2"), in_turn("r x 1", "r x 2", "r x 1")),
        ["G-single-realtime"],
        STRICT,
    ),
    "G-single-process": (one_process("append x 1", "r x []"), ["G-single-process"], STRICT),
    "G1c-process": (one_process("r x 1", "w x 1"), ["G1c-process"], STRICT),
    "G0-process": (
        [*one_process("append x 1", "append x 2"), *together("r x [2 1]")],
        ["G0-process"],
        STRICT,
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_an_anomaly_is_named_and_breaks_its_level_and_those_above(name):
    events, expected, level = STORIES[name]
    for index, event in enumerate(events):
        event.time = index
    verdict = judged(events)
    found = [anomaly.name for anomaly in verdict.anomalies]
    if expected is None:
        assert "lost-update" in found
        assert not set(found) - {"lost-update", "G-single"}
    else:
        assert sorted(found) == sorted(expected)
    assert verdict.weakest == level
    place = LEVELS.index(level)
    assert [verdict.answer(one) for one in LEVELS] == ["holds"] * place + ["broken"] * (4 - place)


def test_every_anomaly_that_has_a_name_has_a_story():
    told = {name for events, _, _ in STORIES.values() for name in names(events)}
    bare = {name.removesuffix("-realtime").removesuffix("-process") for name in told}
    assert bare | {"timestamp-replay", "timestamp-order"} == set(MEANINGS)
    assert broken_level("G2-item-realtime") == STRICT


GOOD = {
    "one after the other": in_turn("append x 1", "r x [1], append x 2", "r x [1 2], append y 1", "r y [1]"),
    "registers": in_turn("w x 1", "r x 1, w x 2", "r x 2, w y 1", "r y 1, r x 2"),
    "own writes are seen": together(
        "append x 1, r x [1], append x 2, r x [1 2]", "w y 1, r y 1, w y 2, r y 2"
    ),
    "overlapping, in another order": together("r x [1]", "append x 1", "r x []"),
    "aborted and never seen": together(("append x 1", "fail"), "append x 2", "r x [2]"),
    "unknown and never seen": in_turn(("append x 1", "info"), "r x []", "r x []"),
    "unknown, seen much later": in_turn(("append x 1", "info"), "r x []", "r x [1]"),
    "unknown, seen, registers": in_turn(("w x 1", "info"), "r x -", "r x 1"),
    "unknown and in the midst of a list": in_turn(("append x 1", "info"), "append x 2", "r x [2 1]"),
    "appends that nobody saw": together("append x 1", "append x 2", "append x 3"),
    "blind writes": together("w x 1", "w x 2", "w x 3"),
    "nothing is read of a key that nobody writes": together("r x -, r y []"),
    "an aborted value is written again by another": together(("w x 1", "fail"), "w x 1", "r x 1"),
    "empty": together("r x []"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_have_been_is_no_anomaly(name):
    verdict = judged(GOOD[name])
    assert [anomaly.words for anomaly in verdict.anomalies] == []
    assert all(verdict.answer(level) == "holds" for level in LEVELS)


def test_of_a_transaction_of_unknown_end_all_writes_count_once_one_is_seen():
    events = in_turn(("append x 1, append y 1", "info"), "r x [1], r y []")
    assert names(events) == ["G-single"]


def test_reads_of_a_transaction_of_unknown_end_tell_nothing():
    assert names(in_turn("append x 1", ("r x [7], append y 1", "info"), "r y [1]")) == []


def test_a_snapshot_may_be_of_long_ago_but_not_of_no_time():
    old = in_turn("append x 1", "r x []")
    for event in old[2:]:
        event.f = "snapshot"
    assert names(old) == []
    torn = in_turn("append x 1, append y 1", "r x [], r y [1]")
    for event in torn[2:]:
        event.f = "snapshot"
    assert names(torn) == ["G-single"]


def test_who_comes_after_a_snapshot_sees_at_least_what_it_saw():
    events = after(together("append x 1"), in_turn("r x [1]", "r x []"))
    for event in events[2:4]:
        event.f = "snapshot"
    # T1 may still be under way only if T2 did not see it: T2 saw it, so T3 comes after both.
    assert names(events) == ["G-single-realtime"]


def test_with_buffered_writes_reads_see_what_was_there_without_them():
    events = together("append x 1, r x []", "r x [1]")
    assert names(events) == ["internal"]
    assert names(events, own_writes=False) == []


def test_timestamps_order_blind_writes():
    events = together(("w x 1", "ok", 5), ("w x 2, w y 2", "ok", 7), ("r x 1, r y 2", "ok", 9))
    assert names(events) == []
    verdict = judged(events, by_timestamp=True)
    assert [anomaly.name for anomaly in verdict.anomalies] == ["G-single"]
    assert (verdict.unordered, judged(events).unordered) == (0, 1)


def test_an_order_of_blind_writes_is_found_or_that_there_is_none():
    verdict = judged(together("w x 1", "w x 2", "r x 1, w y 1", "r y 1, r x 2"))
    assert (verdict.anomalies, verdict.proven) == ([], STRICT)
    torn = judged(together("w x 1, w y 1", "w x 2, w y 2", "r x 1, r y 2"))
    (anomaly,) = torn.anomalies
    assert (anomaly.name, torn.proven) == ("G-single", RC)
    assert "suppose that T2 wrote" in " ".join(anomaly.words)
    assert "and in the other order:" in anomaly.words


def test_where_a_search_for_an_order_ends_at_its_limit_that_is_said(monkeypatch):
    appends = together("r x [], append y 1", "r y [], append x 1", "append z 1", "append z 2")
    writes = together("w x 1", "w x 2", "r x 1")
    assert (judged(appends).answer(SI), judged(writes).proven) == ("holds", STRICT)
    monkeypatch.setattr(sys.modules["sim.check.transactions.check"], "LOOKS", 0)
    lists, registers = judged(appends), judged(writes)
    assert [lists.answer(level) for level in LEVELS] == ["holds", "unknown", "broken", "broken"]
    assert "UNKNOWN: " in tell(lists, SI)
    assert [registers.answer(level) for level in LEVELS] == ["holds"] * 4
    assert registers.proven == RC
    assert "known in part only" in tell(registers, STRICT)


def test_the_shortest_cycle_is_told():
    ring = [f"r k{n} [], append k{n + 1} 1" for n in range(7)]
    events = together(*ring, "r k7 [], append k0 1", "r a [], append b 1", "r b [], append a 1")
    (anomaly,) = judged(events).anomalies
    assert anomaly.count == 2
    assert [one.name for one in anomaly.transactions] == ["T9", "T10"]


def test_a_cycle_names_the_operations_that_make_its_edges():
    (anomaly,) = judged(together("r x [], append y 1", "r y [], append x 1")).anomalies
    assert [(hop.source.name, hop.target.name, hop.kind, hop.key) for hop in anomaly.cycle] == [
        ("T1", "T2", "rw", "x"),
        ("T2", "T1", "rw", "y"),
    ]
    assert [(hop.why.source, hop.why.target) for hop in anomaly.cycle] == [(0, 1), (0, 1)]
    assert anomaly.words[0] == "T1 read 'x' = [], without 1, which T2 appended and nobody ever saw"


def test_many_readers_and_many_unseen_appends_are_joined_by_few_edges():
    events = together(*[f"r x [], append y{n} 1" for n in range(300)], *[f"append x {n}" for n in range(300)])
    verdict = judged(events)
    assert verdict.anomalies == []
    cycle = together(
        *[f"r x [], append y{n} 1" for n in range(300)],
        *[f"append x {n}" for n in range(299)],
        "r y7 [], append x 299",
    )
    (anomaly,) = judged(cycle).anomalies
    assert anomaly.name == "G2-item"
    assert [one.name for one in anomaly.transactions] == ["T8", "T600"]


def test_many_lost_updates_of_one_version_are_one():
    events = together(*[f"r x [], append x {n}" for n in range(100)])
    verdict = judged(events)
    assert verdict.weakest == SI
    assert {anomaly.name: anomaly.count for anomaly in verdict.anomalies}["lost-update"] == 1


def test_who_read_its_own_append_too_early_lost_no_update():
    events = together("r x [1], append x 1", "r x [1], append x 2", "r x [1 2]")
    assert names(events) == ["internal"]
