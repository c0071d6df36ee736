"""Checks of a store's own timestamps: replay in their order, and agreement with real time."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from msgspec import UNSET

from protos.history import Operation
from sim.check.transactions import ExternalConsistency, Isolation, TimestampReplay
from sim.scenario.definition import Check
from sim.scenario.history import History
from tests.check.transactions.stories import in_turn, together

REPLAYED = {
    "in order": in_turn(("w x 1", "ok", 5), ("r x 1, w x 2", "ok", 7), ("r x 2", "ok", 8)),
    "who only reads sees what is of its own timestamp": in_turn(("w x 1", "ok", 5), ("r x 1", "ok", 5)),
    "an older snapshot": in_turn(("w x 1", "ok", 5), ("w x 2", "ok", 7), ("r x 1", "ok", 6)),
    "the order of timestamps, not of ends": together(
        ("w x 2", "ok", 7), ("w x 1", "ok", 5), ("r x 2", "ok", 8)
    ),
    "lists": in_turn(("append x 1", "ok", 5), ("append x 2, append x 3", "ok", 6), ("r x [1 2 3]", "ok", 6)),
    "reads do not see the own buffered writes": in_turn(
        ("append x 1, r x []", "ok", 5), ("r x [1]", "ok", 6)
    ),
    "equal timestamps, in one order": together(("r x -, w y 1", "ok", 5), ("r y 1, w x 1", "ok", 5)),
    "equal timestamps that do not touch": together(
        ("w x 1", "ok", 5), ("w y 1", "ok", 5), ("r x 1, r y 1", "ok", 5)
    ),
    "one of equal timestamps sees the other": together(("w x 1", "ok", 5), ("r x 1, w y 1", "ok", 5)),
    "aborted": in_turn(("w x 1", "fail"), ("r x -", "ok", 5)),
    "unknown, never seen": in_turn(("w x 1", "info"), ("r x -", "ok", 5)),
    "unknown, seen from some time on": in_turn(("w x 1", "info"), ("r x -", "ok", 5), ("r x 1", "ok", 6)),
    "unknown, between two": in_turn(
        ("append x 1", "ok", 3),
        ("append x 2", "info"),
        ("append x 3", "ok", 9),
        ("r x [1 2 3]", "ok", 9),
        ("r x [1]", "ok", 4),
    ),
    "unknown, of two keys": in_turn(
        ("w x 1, w y 1", "info"), ("r x 1", "ok", 9), ("r y -", "ok", 5), ("r y 1", "ok", 7)
    ),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_a_replay_in_the_order_of_timestamps_explains_what_was_read(name):
    ok, words = TimestampReplay()(REPLAYED[name])
    assert ok, words
    assert "in the order of their timestamps explain" in words


WRONG = {
    "a version too old": (
        in_turn(("w x 1", "ok", 5), ("w x 2", "ok", 7), ("r x 1", "ok", 8)),
        "T3 at timestamp 8 read 'x' = 1, but by then it was 2, last written by T2 at timestamp 7",
    ),
    "a version too new": (
        in_turn(("w x 1", "ok", 5), ("w x 2", "ok", 9), ("r x 2", "ok", 8)),
        "T3 at timestamp 8 read 'x' = 2, but by then it was 1",
    ),
    "the own write": (
        in_turn(
            ("w x 1, r x 1", "ok", 5),
        ),
        "T1 at timestamp 5 read 'x' = 1, but by then it was nothing",
    ),
    "half of an audit": (
        in_turn(("w x 1, w y 1", "ok", 5), ("r x 1, r y -", "ok", 6)),
        "T2 at timestamp 6 read 'y' = nothing, but by then it was 1, last written by T1 at timestamp 5",
    ),
    "a list without its end": (
        in_turn(("append x 1", "ok", 5), ("append x 2", "ok", 6), ("r x [1]", "ok", 6)),
        "T3 at timestamp 6 read 'x' = [1], but by then it was [1, 2]",
    ),
    "a list in another order": (
        in_turn(("append x 1", "ok", 5), ("append x 2", "ok", 6), ("r x [2 1]", "ok", 6)),
        "read 'x' = [2, 1], but by then it was [1, 2]",
    ),
    "two writers of one key at one timestamp": (
        together(("w x 1", "ok", 5), ("w x 2", "ok", 5)),
        "T1 and T2 both wrote 'x' at timestamp 5",
    ),
    "equal timestamps, each before the other": (
        together(("r x -, w y 1", "ok", 5), ("r y -, w x 1", "ok", 5)),
        "T1, T2 have the timestamp 5, and no order of them explains what they read",
    ),
    "aborted, but seen": (
        in_turn(("w x 1", "fail"), ("r x 1", "ok", 5)),
        "read 'x' = 1, but by then it was nothing",
    ),
    "unknown, seen and then not": (
        in_turn(("w x 1", "info"), ("r x 1", "ok", 5), ("r x -", "ok", 6)),
        "T2 saw what T1 wrote, of which nobody knows when it was: but there is no timestamp for it",
    ),
    "unknown, at different times in two keys": (
        in_turn(("w x 1, w y 1", "info"), ("r x 1", "ok", 5), ("r y -", "ok", 6)),
        "there is no timestamp for it that explains all reads",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_read_that_timestamps_do_not_explain_is_told(name):
    events, expected = WRONG[name]
    ok, words = TimestampReplay()(events)
    assert not ok
    assert expected in words


def test_own_writes_are_seen_where_a_store_says_so():
    events = in_turn(("append x 1", "ok", 5), ("append x 2, r x [1 2]", "ok", 6), ("w y 1, r y 1", "ok", 7))
    assert TimestampReplay(own_writes=True)(events)[0]
    assert not TimestampReplay(own_writes=True)(in_turn(("w y 1, r y -", "ok", 7)))[0]
    assert not TimestampReplay(own_writes=True)(in_turn(("append x 1, r x []", "ok", 7)))[0]


def test_values_need_not_be_unique_and_may_be_anything():
    events = [
        Operation("a", "invoke", "txn", [["w", "x", {"owner": None}]], 0, 0),
        Operation("a", "ok", "txn", [["w", "x", {"owner": None}]], 1, 1, timestamp=5),
        Operation("b", "invoke", "txn", [["r", "x", None], ["w", "x", {"owner": None}]], 2, 2),
        Operation(
            "b", "ok", "txn", [["r", "x", {"owner": None}], ["w", "x", {"owner": None}]], 3, 3, timestamp=6
        ),
    ]
    assert TimestampReplay()(events) == (
        True,
        "2 transactions in the order of their timestamps explain 1 reads",
    )


def test_timestamps_of_writers_follow_real_time():
    assert ExternalConsistency()(in_turn(("w x 1", "ok", 5), ("w y 1", "ok", 6)))[0]
    assert ExternalConsistency()(together(("w x 1", "ok", 6), ("w y 1", "ok", 5)))[0]
    ok, words = ExternalConsistency()(in_turn(("w x 1", "ok", 6), ("w z 1", "ok", 9), ("w y 1", "ok", 5)))
    assert not ok
    assert words == "T2 had ended (line 4) before T3 began (line 5), but T3 has timestamp 5, T2 9"
    assert not ExternalConsistency()(in_turn(("w x 1", "ok", 6), ("w y 1", "ok", 6)))[0]


def test_who_only_reads_may_have_the_timestamp_of_what_it_must_see_but_no_earlier_one():
    assert ExternalConsistency()(in_turn(("w x 1", "ok", 6), ("r y -", "ok", 6)))[0]
    assert not ExternalConsistency()(in_turn(("w x 1", "ok", 6), ("r y -", "ok", 5)))[0]


def test_nothing_follows_from_one_that_only_read_or_from_a_snapshot():
    assert ExternalConsistency()(in_turn(("r x -", "ok", 9), ("w y 1", "ok", 5), ("r x -", "ok", 7)))[0]
    old = in_turn(("w x 1", "ok", 6), ("r x -", "ok", 2))
    for event in old[2:]:
        event.f = "snapshot"
    assert ExternalConsistency()(old)[0]
    assert TimestampReplay()(old)[0]


@pytest.mark.parametrize("check", [TimestampReplay(), ExternalConsistency()])
def test_a_history_without_timestamps_proves_nothing(check):
    assert check(in_turn("w x 1")) == (False, "no transaction of the history has a timestamp")


def test_the_checks_of_a_scenario_say_what_they_rest_on():
    assert Isolation("serializable").name == "serializable"
    assert Isolation()(in_turn("append x 1", "r x [1]")) == (
        True,
        "2 committed transactions on 1 list: no anomaly",
    )
    ok, words = Isolation()(in_turn("append x 1", "r x []"))
    assert not ok
    assert words.startswith("2 committed transactions on 1 list: G-single-realtime x 1 (read skew: ")
    assert "T1 had ended (line 2) before T2 began (line 3)" in words
    assert Isolation("serializable")(in_turn("append x 1", "r x []"))[0]
    with pytest.raises(ValueError, match="there is no isolation level 'serial'"):
        Isolation("serial")
    assert Isolation()([]) == (False, "the history has no transactions")


@pytest.mark.parametrize("seed", range(200))
def test_a_store_of_versions_explains_its_own_reads_and_a_changed_one_does_not(seed):
    chance = random.Random(seed)
    versions: dict[str, list[tuple[int, int]]] = {}
    told = []
    stamps = sorted(chance.sample(range(10, 1000), 30))
    for number, stamp in enumerate(stamps):
        key, other = chance.sample("xyz", 2)
        writes = number % 2 == 1
        at = stamp - 1 if writes else chance.choice(stamps[: number + 1])
        seen = max((version for version in versions.get(key, []) if version[0] <= at), default=(0, 0))[1]
        if writes:
            versions.setdefault(other, []).append((stamp, number))
            told.append((f"r {key} {seen or '-'}, w {other} {number}", "ok", stamp))
        else:
            told.append((f"r {key} {seen or '-'}", "ok", at))
    assert TimestampReplay()(together(*told))[0]
    place = chance.randrange(30)
    text, ended, stamp = told[place]
    changed = ("r x 77" if place % 2 == 0 else f"r x 77, {text.split(', ')[1]}", ended, stamp)
    assert not TimestampReplay()(together(*told[:place], changed, *told[place + 1 :]))[0]


def test_a_scenario_records_timestamps_and_takes_these_checks():
    checks = (Isolation(), TimestampReplay(), ExternalConsistency())
    assert all(isinstance(check, Check) for check in checks)
    written: list[Operation] = []

    class Kept:
        def write(self, event: Operation) -> None:
            written.append(event)

    async def story() -> None:
        history = History(Kept(), iter(range(100)).__next__)  # type: ignore[arg-type]
        async with history.operation("c1", "txn", [["w", "x", 1]]) as operation:
            operation.ok(timestamp=7)
        async with history.operation("c1", "txn", [["r", "x", None]]) as operation:
            operation.ok([["r", "x", 1]], timestamp=8)

    asyncio.run(story())
    assert [event.timestamp for event in written] == [UNSET, 7, UNSET, 8]
    assert msgspec.json.decode(msgspec.json.encode(written[1]), type=Operation) == written[1]
    assert b"timestamp" not in msgspec.json.encode(written[0])
    assert all(check(written)[0] for check in checks)
