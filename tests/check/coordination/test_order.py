"""Writes are in one order, each client's as it asked; a read after a sync is not stale."""

from __future__ import annotations

from sim.check.coordination import (
    FifoOrder,
    SyncedReads,
    WriteOrder,
)
from tests.check.coordination.story import Story, found, holds


class TestWriteOrder:
    def test_a_write_that_was_asked_for_after_another_was_over_has_a_higher_zxid(self) -> None:
        found(
            WriteOrder(),
            Story().create("a", "/x", 5).create("b", "/y", 4),
            "has zxid 0x4, but was asked for after",
        )

    def test_it_also_comes_after_what_a_read_has_shown(self) -> None:
        story = Story().get("a", "/x", 9, "d", 0).create("b", "/y", 9)
        found(WriteOrder(), story, "has zxid 0x9, but was asked for after a reply with 0x9")

    def test_writes_at_once_may_have_any_order(self) -> None:
        story = Story().ask("a", "create", "/x").ask("b", "create", "/y")
        holds(WriteOrder(), story.told("a", "create", "/x", zxid=2).told("b", "create", "/y", zxid=1))

    def test_no_two_writes_share_a_zxid(self) -> None:
        story = Story().ask("a", "create", "/x").ask("b", "create", "/y")
        story.told("a", "create", "/x", zxid=2).told("b", "create", "/y", zxid=2)
        found(WriteOrder(), story, "two writes have zxid 0x2")


class TestFifoOrder:
    def test_answers_come_in_the_order_of_the_requests(self) -> None:
        story = Story().ask("a/1", "get", "/x").ask("a/2", "get", "/x")
        holds(FifoOrder(), Story().ask("a/1", "get", "/x").told("a/1", "get", "/x", zxid=1))
        story.told("a/2", "get", "/x", zxid=1).told("a/1", "get", "/x", zxid=1)
        found(FifoOrder(), story, "but was answered later")

    def test_zxids_of_a_session_never_go_back_wherever_it_connects(self) -> None:
        story = Story().get("a", "/x", 7, "d", 0).session("a", "suspended").session("a", "connected")
        found(FifoOrder(), story.get("a.2", "/x", 6, "d", 0), "a saw zxid 0x7")

    def test_another_session_may_see_less(self) -> None:
        story = Story().session("a", "open", id=1).get("a", "/x", 7, "d", 0).session("a", "expired")
        holds(FifoOrder(), story.session("a", "open", id=2).get("a", "/x", 6, "d", 0))

    def test_writes_take_effect_in_the_order_in_which_they_were_asked_for(self) -> None:
        story = Story().ask("a/1", "create", "/x").ask("a/2", "create", "/y")
        story.told("a/1", "create", "/x", zxid=3).told("a/2", "create", "/y", zxid=3)
        found(FifoOrder(), story, "took effect before it")


class TestSync:
    def test_a_read_after_a_sync_shows_what_was_over_before_the_sync(self) -> None:
        story = Story().create("a", "/x", 5).call("b", "sync", "/", zxid=4).get("b", "/x", 4, "d", 0)
        found(SyncedReads(), story, "b read /x at 0x4")
        assert SyncedReads(allow_stale=1)(story.events) == (True, "1 reads after a sync, 1 stale")

    def test_without_a_sync_a_read_may_be_stale(self) -> None:
        story = Story().create("a", "/x", 5).call("b", "exists", "/x", exists=False, zxid=4)
        holds(SyncedReads(), story.call("b", "sync", "/", zxid=5).get("b", "/x", 5, "", 0))
