"""Sequential names are used once; ephemerals live as long as their session, which expires in silence only."""

from __future__ import annotations

from sim.check.coordination import (
    Ephemerals,
    Expiry,
    SequentialNames,
)
from tests.check.coordination.story import SECOND, Story, found, holds


class TestSequentialNames:
    def test_numbers_grow(self) -> None:
        story = Story().create("a", "/q/n", 1, named="/q/n0000000000", sequential=True)
        holds(SequentialNames(), story.create("a", "/q/m", 2, named="/q/m0000000004", sequential=True))
        story.create("a", "/q/n", 3, named="/q/n0000000003", sequential=True)
        found(SequentialNames(), story, "/q/n0000000003 was created after /q/m0000000004")

    def test_none_is_used_twice_even_after_a_deletion(self) -> None:
        story = Story().create("a", "/q/n", 1, named="/q/n0000000000", sequential=True)
        story.call("a", "delete", "/q/n0000000000", zxid=2)
        story.create("a", "/q/n", 3, named="/q/n0000000000", sequential=True)
        found(SequentialNames(), story, "0 was given twice")

    def test_without_zxids_real_time_says_the_order(self) -> None:
        story = Story().create("a", "/q/n", None, named="/q/n0000000005", sequential=True)
        story.create("b", "/q/n", None, named="/q/n0000000002", sequential=True)
        found(SequentialNames(), story, "was asked for when /q/n0000000005")

    def test_a_name_is_what_was_asked_for_and_ten_digits(self) -> None:
        story = Story().create("a", "/q/n", 1, named="/q/n01", sequential=True)
        found(SequentialNames(), story, "is not /q/n followed by 10 digits")


class TestEphemerals:
    def start(self) -> Story:
        story = Story().session("a", "open", id=7, timeout=6.0)
        return story.create("a", "/e", 1, ephemeral=True).create("a", "/f", 2, ephemeral=True)

    def test_they_do_not_outlive_a_closed_session(self) -> None:
        story = self.start().call("a", "close", zxid=3)
        holds(Ephemerals(), story.call("b", "exists", "/e", exists=False, zxid=3))
        found(Ephemerals(), story.get("c", "/f", 4, "", 0, owner=7), "/f was there at 0x4")

    def test_they_do_not_go_while_their_session_lives(self) -> None:
        story = self.start().call("b", "exists", "/e", exists=False, zxid=4).get("a", "/z", 5, "", 0)
        found(Ephemerals(), story, "/e was gone at 0x4")
        deleted = (
            self.start().call("c", "delete", "/e", zxid=3).call("b", "exists", "/e", exists=False, zxid=4)
        )
        holds(Ephemerals(), deleted.get("a", "/z", 5, "", 0))

    def test_they_go_at_once(self) -> None:
        story = self.start().session("a", "expired").call("b", "exists", "/e", exists=False, zxid=4)
        found(Ephemerals(), story.get("b", "/f", 5, "", 0, owner=7), "they must go at once")

    def test_children_lists_show_them_too(self) -> None:
        story = self.start().call("a", "close", zxid=3).call("b", "children", "/", children=["f"], zxid=3)
        found(Ephemerals(), story, "/f was there at 0x3")

    def test_they_have_no_children(self) -> None:
        found(Ephemerals(), self.start().create("b", "/e/x", 3), "/e/x (lines 7 to 8) was created below")


class TestExpiry:
    def test_no_session_expires_before_its_timeout(self) -> None:
        for silence, early in ((5, True), (7, False)):
            story = Story().session("a", "open", id=7, timeout=6.0).get("a", "/x", 1, "", 0)
            story.now += silence * SECOND
            story.session("a", "expired")
            if early:
                found(Expiry(), story, "its time-out was 6 s")
                holds(Expiry(slack=0.2), story)
            else:
                holds(Expiry(), story)
