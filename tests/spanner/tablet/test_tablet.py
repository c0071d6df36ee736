"""A tablet by hand: what the log makes of it, and what must not stand there."""

from __future__ import annotations

import time

import pytest

from services.spanner.entries import (
    Abort,
    Collect,
    Commit,
    Discard,
    Effects,
    Entry,
    Finished,
    Import,
    Outcome,
    Prepare,
    Version,
)
from services.spanner.errors import SpannerError
from services.spanner.keys import EVERYTHING, KeyRange, only, prefix
from services.spanner.tablet import FOREVER, RETENTION, Contradiction, Tablet
from tests.spanner.tablet.test_model import loaded

A, B = KeyRange(b"a", b"b"), KeyRange(b"b", b"c")


class Log:
    """Applies entries at the timestamps that they get."""

    def __init__(self, *owned: KeyRange) -> None:
        self.tablet = Tablet()
        self.now = 100
        self.index = 0
        self.commit(Effects(acquired=owned or (EVERYTHING,)))

    def apply(self, entry: Entry, at: int = 0) -> int:
        self.now = at or self.now + 10
        self.index += 1
        self.tablet.apply(self.index, self.now, entry)
        return self.now

    def commit(self, effects: Effects, at: int = 0, name: str = "") -> int:
        at = at or self.now + 10
        return self.apply(Commit(name or f"c{at}", at, effects), at)

    def put(self, key: bytes, row: bytes | None) -> int:
        return self.commit(Effects(((key, row),)))

    def prepare(self, name: str, effects: Effects, ahead: int = 0) -> int:
        self.apply(Prepare(name, 1, self.now + 10 + ahead, effects, (), 9))
        return self.now + ahead

    def rows(self, within: KeyRange, t: int = FOREVER) -> dict[bytes, bytes | None]:
        return {version.key: version.row for version in self.tablet.scan(within, t)}

    def refusal(self, within: KeyRange, t: int) -> str:
        try:
            self.tablet.check((within,), t)
        except SpannerError as error:
            return error.reason or error.code
        return ""


def test_each_read_sees_the_rows_as_they_were() -> None:
    log = Log()
    first = log.put(b"a", b"1")
    second = log.put(b"a", b"2")
    third = log.put(b"a", None)
    assert [log.rows(EVERYTHING, t) for t in (first - 1, first, second - 1, second, third)] == [
        {},
        {b"a": b"1"},
        {b"a": b"1"},
        {b"a": b"2"},
        {},
    ]
    assert log.tablet.latest(b"a") is None
    assert log.tablet.at(b"a", second) == Version(b"a", second, b"2")
    assert log.tablet.rows == 0


def test_a_commit_that_comes_again_finds_the_first_ones_outcome() -> None:
    log = Log()
    at = log.commit(Effects(((b"a", b"1"),)), name="t")
    found = log.tablet.outcome("t")
    assert found is not None
    assert found.commit == at
    with pytest.raises(Contradiction, match="had the outcome"):
        log.commit(Effects(((b"a", b"2"),)), name="t")


def test_outcomes_are_kept_for_their_retention_and_those_that_participants_may_ask_for_longer() -> None:
    log = Log()
    alone = log.commit(Effects(), name="alone")
    log.apply(Commit("two", log.now + 10, Effects(), participants=(4,)))
    log.apply(Abort("gone"))
    log.apply(Collect(1), at=alone + RETENTION)
    assert log.tablet.outcome("alone") is not None
    log.apply(Collect(2), at=alone + RETENTION + 100)
    assert log.tablet.outcome("alone") is None
    assert log.tablet.outcome("gone") is None
    assert [one.transaction for one in log.tablet.unfinished()] == ["two"]
    assert log.tablet.forgotten == alone + 100
    log.apply(Finished(("two", "unknown")))
    assert log.tablet.outcome("two") is not None
    log.apply(Collect(3))
    assert log.tablet.outcome("two") is None


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([Outcome("t", 900)], "was not prepared"),
        ([Abort("t"), Commit("t", 900, Effects())], "had the outcome None"),
        ([Commit("t", 900, Effects()), Abort("t")], "had the outcome 900"),
        ([Commit("t", 1, Effects())], "before its entry"),
        ([Prepare("t", 1, 1, Effects(), (), 9)], "before its entry"),
        ([Prepare("t", 1, 900, Effects(), (), 9), Outcome("t", 899)], "prepared at 900"),
        ([Prepare("t", 1, 900, Effects(), (), 9), Abort("t")], "not to be decided here"),
        ([Prepare("t", 1, 900, Effects(), (), 9), Commit("t", 901, Effects())], "is prepared"),
        ([Prepare("t", 1, 900, Effects(), (), 9)] * 2, "prepared twice"),
        ([Outcome("t", None), Prepare("t", 1, 900, Effects(), (), 9)], "after its outcome"),
        ([Commit("t", 900, Effects(((b"z", b""),)))], "not of this group"),
        ([Prepare("t", 1, 900, Effects(((b"z", b""),)), (), 9)], "not of this group"),
        ([Commit("t", 900, Effects(released=(prefix(b"z"),)))], "not its own"),
        ([Commit("t", 900, Effects(acquired=(A,)))], "has some of it"),
        (
            [Prepare("t", 1, 900, Effects(((b"a", b""),)), (), 9), Commit("u", 901, Effects(((b"a", b""),)))],
            "has locked",
        ),
        ([Commit("t", 900, Effects(schema=b"1")), Commit("u", 800, Effects(schema=b"2"))], "later one"),
        ([Collect(10**6)], "are collected at"),
    ],
)
def test_contradictions_are_detected(entries: list[Entry], words: str) -> None:
    log = Log(A)
    for entry in entries[:-1]:
        log.apply(entry)
    with pytest.raises(Contradiction, match=words):
        log.apply(entries[-1])


def test_timestamps_in_the_log_increase() -> None:
    log = Log()
    with pytest.raises(Contradiction):
        log.apply(Abort("t"), at=log.now)


def test_nothing_is_applied_at_or_below_a_timestamp_at_which_a_read_was_served() -> None:
    """Invariant 11: for the group by the log's timestamps, by ranges for what was prepared before."""
    log = Log()
    prepared = log.prepare("t", Effects(((b"a", b"1"),)))
    read = log.put(b"b", b"2") + 5
    log.tablet.served((B,), read)
    with pytest.raises(Contradiction, match="after a read"):
        log.apply(Abort("x"), at=read)
    log = Log()
    prepared = log.prepare("t", Effects(((b"a", b"1"),)))
    log.tablet.served((B,), prepared + 3)
    log.apply(Outcome("t", prepared))  # another range was read: it may
    log.prepare("u", Effects(((b"b", b"1"),)))
    log.tablet.served((B,), log.now)  # which t_TM_safe forbids
    with pytest.raises(Contradiction, match="was read at"):
        log.apply(Outcome("u", log.now))


def test_t_tm_safe_is_of_what_a_prepared_transaction_changes() -> None:
    """4.2.4: other ranges do not wait for it, nor do reads of what it has only read or checked."""
    log = Log()
    log.apply(Prepare("t", 1, log.now + 10, Effects(((b"a1", b"1"),)), (B,), 9, (prefix(b"q"),)))
    at = log.now
    assert log.tablet.tm_safe((A,)) == at - 1
    assert log.tablet.tm_safe() == at - 1
    assert log.tablet.tm_safe((B, prefix(b"q"), only(b"a"))) == FOREVER
    assert log.tablet.blocking((A,), at - 1) == []
    assert log.tablet.blocking((A,), at) == ["t"]
    moved = log.prepare("m", Effects(released=(prefix(b"z"),)))
    assert log.tablet.tm_safe((only(b"zz"),)) == moved - 1
    changed = log.prepare("s", Effects(schema=b"new"), ahead=500)
    assert log.tablet.tm_safe((B,)) == changed - 1
    called: list[str] = []
    log.tablet.when_resolved("t", lambda: called.append("t"))
    log.tablet.when_resolved("unknown", lambda: called.append("unknown"))
    assert called == ["unknown"]
    log.apply(Outcome("t", None))
    assert called == ["unknown", "t"]
    assert log.tablet.tm_safe((A,)) == changed - 1


def test_last_write_is_by_ranges_and_knows_of_deletions() -> None:
    log = Log()
    first, _, third = log.put(b"a", b"1"), log.put(b"b", b"1"), log.put(b"a1", b"1")
    assert log.tablet.last_write((only(b"a"),)) == first
    assert log.tablet.last_write((A,)) == third
    gone = log.put(b"a", None)
    assert log.tablet.last_write((only(b"a"),)) == gone
    log.apply(Collect(gone + 1), at=gone + 100)  # its mark is gone, and no read below is allowed
    assert log.tablet.last_write((only(b"a"),)) == gone + 1
    assert log.tablet.last_write((only(b"never"),)) == gone + 1


def test_reads_below_the_horizon_are_refused_and_those_above_see_what_they_saw() -> None:
    log = Log()
    first, second = log.put(b"a", b"1"), log.put(b"a", b"2")
    log.put(b"b", b"1")
    deleted = log.put(b"b", None)
    size = log.tablet.total_bytes
    log.apply(Collect(second - 1))
    assert log.tablet.total_bytes == size
    assert log.refusal(A, second - 2) == "OUT_OF_RANGE"
    assert log.rows(A, second - 1) == {b"a": b"1"}
    log.apply(Collect(deleted))
    assert log.refusal(A, first) == "OUT_OF_RANGE"
    assert log.rows(EVERYTHING, deleted) == {b"a": b"2"}
    assert log.tablet.total_bytes == 2
    log.apply(Collect(first))  # it never goes back
    assert log.tablet.horizon == deleted


def test_versions_are_collected_of_a_key_that_is_written_again_after_a_collection() -> None:
    log = Log()
    log.put(b"a", b"1")
    log.apply(Collect(log.now - 1))
    log.put(b"a", b"2")
    last = log.put(b"a", b"3")
    log.apply(Collect(last), at=last + 10)
    assert [len(history) for history in log.tablet.histories(EVERYTHING)] == [1]


def test_a_range_that_moves_is_owned_by_one_group_at_each_timestamp() -> None:
    """Invariant 17; it brings its old versions, and the group it came from still has them for a while."""
    source, target = Log(A, B), Log(B)
    written = source.put(b"a", b"old")
    kept = [history[0] for history in source.tablet.histories(A)]
    target.commit(Effects(released=(B,)))
    target.apply(Import("m", A, (), horizon=written - 5))
    target.apply(Import("m", A, tuple(kept), horizon=written - 5))
    assert target.rows(EVERYTHING) == {}
    assert target.refusal(A, written) == "moved"
    s = 1000
    source.commit(Effects(((b"b", b"x"),), released=(A,)), at=s)
    target.commit(Effects(((b"a", b"new"),), acquired=(A,)), at=s)
    for t in (written, s - 1, s, s + 50):
        assert source.tablet.owns(A, t) != target.tablet.owns(A, t)
    assert source.refusal(A, s) == "moved"
    assert source.refusal(A, s - 1) == ""
    assert source.rows(A, s - 1) == target.rows(A, s - 1) == {b"a": b"old"}
    assert target.rows(A, s) == {b"a": b"new"}
    assert target.refusal(A, written - 5) == ""
    assert target.refusal(A, written - 6) == "OUT_OF_RANGE"
    with pytest.raises(Contradiction):
        source.put(b"a", b"lost")
    assert source.tablet.owned == (B,)
    source.apply(Collect(s), at=s + 100)
    assert source.rows(A) == {}
    assert source.refusal(A, s - 1) == "OUT_OF_RANGE"


def test_a_range_that_comes_back_has_what_was_written_elsewhere_in_between() -> None:
    log = Log(A)
    first = log.put(b"a", b"1")
    log.put(b"a1", b"deleted elsewhere")
    log.commit(Effects(released=(A,)))
    log.apply(Import("back", A, (Version(b"a", first, b"1"), Version(b"a", log.now + 5, b"2"))))
    back = log.commit(Effects(acquired=(A,)))
    assert log.rows(A) == {b"a": b"2"}
    assert log.refusal(A, back) == ""
    assert log.refusal(A, back - 1) == "moved"  # nobody said down to where the copy is whole


def test_a_range_that_comes_back_without_a_copy_is_not_read_as_of_before() -> None:
    log = Log(A)
    log.put(b"a", b"1")
    log.commit(Effects(released=(A,)))
    back = log.commit(Effects(acquired=(A,)))
    assert log.rows(A) == {}
    assert log.refusal(A, back - 1) == "moved"
    assert Log(A).refusal(A, 1) == ""  # a new range was empty before


@pytest.mark.parametrize(
    "spoiling",
    [
        Discard("m"),
        Import("other", KeyRange(b"a5", b"c"), ()),
        Import("m", A, (Version(b"b", 1, b""),)),
        Import("m", A, (Version(b"a", 1, b"another"),)),
        Import("m", B, ()),
    ],
)
def test_a_move_that_ended_stays_ended(spoiling: Import | Discard) -> None:
    """A copy with a hole would lose rows: late pieces do not bring it back, nor does a snapshot."""
    log = Log(prefix(b"x"))
    log.apply(Import("m", A, (Version(b"a", 1, b"first"),)))
    log.apply(spoiling)
    log.tablet = loaded(log.tablet.save())
    log.apply(Import("m", A, (Version(b"a2", 1, b"late"),)))
    assert "m" not in log.tablet.staging.moves
    log.apply(Import("n", A, (Version(b"a", 1, b"first"), Version(b"a2", 1, b"late"))))
    log.commit(Effects(acquired=(A,)))
    assert log.rows(A) == {b"a": b"first", b"a2": b"late"}


def test_what_cannot_be_applied_is_told_before_it_is_logged() -> None:
    log = Log(A)
    assert "owned" in log.tablet.impossible(Effects(acquired=(A,)), 500)
    assert "not all" in log.tablet.impossible(Effects(released=(B,)), 500)
    log.apply(Import("m", B, (Version(b"b", 400, b""),)))
    assert "brought versions" in log.tablet.impossible(Effects(acquired=(B,)), 400)
    assert "the move" in log.tablet.impossible(Effects(acquired=(only(b"b"),)), 500)
    assert log.tablet.impossible(Effects(acquired=(B,)), 401) == ""
    log.commit(Effects(schema=b"1"), at=600)
    assert "a schema" in log.tablet.impossible(Effects(schema=b"2"), 600)
    log.commit(Effects(released=(A,)), at=700)
    assert "released" in log.tablet.impossible(Effects(acquired=(A,)), 650)


def test_a_schema_change_ahead_leaves_the_present_alone() -> None:
    """4.2.3: below its timestamp the old one holds, from there on the new one (invariant 15)."""
    log = Log()
    assert log.tablet.schema_at(1) == b""
    log.commit(Effects(schema=b"first"))
    at = log.now + 1000
    log.apply(Commit("s", at, Effects(schema=b"second")))
    assert log.tablet.schema_at(at - 1) == b"first"
    assert log.tablet.schema_at(at) == b"second"
    assert log.tablet.schema_at(1) == b"first"
    log.apply(Collect(at), at=at + 1)
    assert [encoded for _, encoded in log.tablet.schemas] == [b"second"]


def test_a_snapshot_is_as_of_its_call() -> None:
    log = Log()
    for number in range(2000):
        log.put(b"%04d" % (number * 7 % 1000), b"row")
    before = log.tablet.digest()
    pieces = log.tablet.save()
    started = [next(pieces)]
    log.prepare("t", Effects(((b"zz", b""),)))
    for number in range(300):
        log.put(b"%04d" % (number * 3), b"other" if number % 2 else None)
    log.commit(Effects(released=(prefix(b"05"),)))
    log.apply(Collect(log.now - 100))
    assert log.tablet.digest() != before
    assert loaded([*started, *pieces]).digest() == before


def test_damaged_snapshots_are_refused() -> None:
    log = Log()
    for number in range(100):
        log.put(b"%04d" % number, b"row" * 300)
    log.prepare("t", Effects(((b"zz", b""),)))
    log.apply(Import("m", prefix(b"q"), ()))
    whole = list(log.tablet.save())
    assert len(whole) > 4
    damaged = [whole[:-1], whole[1:], [*whole, whole[-1]], [whole[0], *whole[2:]], []]
    damaged += [[*whole[:1], whole[2], whole[1], *whole[3:]]]
    for place, piece in enumerate(whole):
        for at in range(0, len(piece), max(1, len(piece) // 20)):
            torn = piece[:at] + bytes((piece[at] ^ 4,)) + piece[at + 1 :]
            damaged += [[*whole[:place], torn, *whole[place + 1 :]], [*whole[:place], piece[:at]]]
    for pieces in damaged:
        with pytest.raises(ValueError, match="tablet"):
            loaded(pieces)
    log.tablet.check((A,), log.now)
    assert loaded(whole).digest() == log.tablet.digest()


def test_a_key_that_halves_the_bytes() -> None:
    log = Log(A, B)
    assert log.tablet.middle() is None
    for number in range(1000):
        log.put(b"a%04d" % number, b"x" * 90)
    for number in range(1000):
        log.put(b"b%04d" % number, b"x" * 190)
    middle = log.tablet.middle()
    assert middle is not None
    before = log.tablet.size(KeyRange(b"a", middle))
    assert abs(before / log.tablet.total_bytes - 0.5) < 0.01
    assert log.tablet.middle(A) == b"a0500"
    log.commit(Effects(released=(A,)))
    assert log.tablet.middle() == b"b0500"  # of what it owns
    one = Log(A)
    one.put(b"a", b"x" * 100)
    assert one.tablet.middle() is None


def test_applying_and_scanning_hold_their_pace_as_the_tablet_grows() -> None:
    """The cost of an entry and of a row that is read is about the same among 1,000 and among 20,000 rows."""
    small, large = Log(), Log()
    for number in range(20_000):
        large.put(b"%08d" % (number * 7919 % 20_000), b"x" * 50)
    for number in range(1_000):
        small.put(b"%08d" % (number * 7919 % 1_000), b"x" * 50)

    def writes(log: Log, keys: int) -> float:
        began = time.process_time()
        for number in range(2_000):
            log.put(b"%08d" % (number * 31 % keys), b"y")
        return time.process_time() - began

    def reads(log: Log, keys: int) -> float:
        began = time.process_time()
        for number in range(200):
            start = b"%08d" % (number * 37 % (keys - 100))
            rows = log.tablet.scan(KeyRange(start, b"9"))
            assert sum(1 for _ in zip(range(50), rows, strict=False)) == 50
        return time.process_time() - began

    for work in (writes, reads):
        assert min(work(large, 20_000) for _ in range(5)) < 5 * min(work(small, 1_000) for _ in range(5))
