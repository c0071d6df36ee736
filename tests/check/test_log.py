"""The checks of the replicated log, on histories with a known verdict."""

from __future__ import annotations

import pytest

from protos.history import Operation
from sim.check.log import InOrder, NothingLost, OnceOnly


def history(*events):
    return [
        Operation(process, kind, f, value, time=index, index=index)
        for index, (process, kind, f, value) in enumerate(events)
    ]


def append(process, record, position):
    return (process, "invoke", "append", record), (process, "ok", "append", [record, position])


def read(process, *records):
    return (process, "invoke", "read", None), (process, "ok", "read", list(records))


GOOD = history(*append(1, "x", 0), *append(2, "y", 1), *read(1, "x", "y"))


@pytest.mark.parametrize("check", [NothingLost(), InOrder(), OnceOnly()])
def test_a_good_history_passes(check):
    ok, detail = check(GOOD)
    assert ok, detail


def test_an_acknowledged_record_that_is_gone_is_lost():
    ok, detail = NothingLost()(history(*append(1, "x", 0), *read(2)))
    assert not ok
    assert "x was acknowledged at position 0, but 2 found nothing there" in detail


def test_an_acknowledged_record_that_is_elsewhere_is_lost():
    ok, detail = NothingLost()(history(*append(1, "x", 0), *read(2, "y", "x")))
    assert not ok
    assert "found y there" in detail


def test_a_read_that_began_before_the_acknowledgement_need_not_show_the_record():
    asked, answered = read(2)
    assert NothingLost()(history(asked, *append(1, "x", 0), answered))[0]


def test_a_record_that_nobody_knows_about_may_be_missing_or_there():
    unknown = (1, "invoke", "append", "x"), (1, "info", "append", "x")
    for seen in ([], ["x"]):
        for check in (NothingLost(), InOrder(), OnceOnly()):
            assert check(history(*unknown, *read(2, *seen)))[0]


def test_later_requests_come_later():
    assert not InOrder()(history(*append(1, "x", 5), *append(2, "y", 4)))[0]
    assert not InOrder()(history(*append(1, "x", 5), *append(2, "y", 5)))[0]


def test_concurrent_requests_come_in_any_order():
    (ask1, ok1), (ask2, ok2) = append(1, "x", 1), append(2, "y", 0)
    assert InOrder()(history(ask1, ask2, ok1, ok2))[0]


def test_reads_that_disagree_are_noticed_whichever_is_longer():
    assert not InOrder()(history(*read(1, "x", "y"), *read(2, "z")))[0]
    assert not InOrder()(history(*read(1, "z"), *read(2, "x", "y")))[0]


def test_a_record_twice_is_noticed():
    ok, detail = OnceOnly()(history(*append(1, "x", 0), *read(2, "x", "x")))
    assert not ok
    assert "x is in the log twice" in detail


def test_a_record_that_nobody_appended_is_noticed():
    assert not OnceOnly()(history(*read(2, "ghost")))[0]
