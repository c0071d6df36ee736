"""A watch fires once, before any reply that shows the change."""

from __future__ import annotations

from sim.check.coordination import (
    WatchOrder,
)
from tests.check.coordination.story import Story, found, holds


class TestWatchOrder:
    def test_the_event_comes_before_what_it_tells_of_can_be_seen(self) -> None:
        story = Story().create("a", "/x", 1).get("b", "/x", 1, "", 0, watch=True).set("a", "/x", 2, "new", 1)
        late = Story()
        late.events, late.now = list(story.events), story.now
        holds(WatchOrder(), story.event("b", "changed", "/x").get("b", "/x", 2, "new", 1))
        late.get("b", "/x", 2, "new", 1).event("b", "changed", "/x")
        found(WatchOrder(), late, "without an event of the change of /x at 0x2")

    def test_the_own_write_comes_after_its_event_as_well(self) -> None:
        story = Story().create("a", "/x", 1).get("a", "/x", 1, "", 0, watch=True)
        found(WatchOrder(), story.set("a", "/x", 2, "new", 1), "set /x was answered at 0x2")

    def test_one_arming_gives_one_event(self) -> None:
        story = Story().create("a", "/x", 1).get("b", "/x", 1, "", 0, watch=True).set("a", "/x", 2, "n", 1)
        story.event("b", "changed", "/x").set("a", "/x", 3, "m", 2)
        holds(WatchOrder(), story.get("b", "/x", 3, "m", 2))
        found(WatchOrder(), story.event("b", "changed", "/x"), "nothing was watching for that")

    def test_there_is_no_event_without_a_change(self) -> None:
        story = Story().create("a", "/x", 1).get("b", "/x", 1, "", 0, watch=True)
        found(WatchOrder(), story.event("b", "changed", "/x"), "came without such a change")

    def test_a_write_of_unknown_end_may_be_the_change(self) -> None:
        story = Story().create("a", "/x", 1).get("b", "/x", 1, "", 0, watch=True)
        holds(WatchOrder(), story.lost("a", "set", "/x", data="n").event("b", "changed", "/x"))

    def test_children_are_watched_apart_from_data(self) -> None:
        story = Story().create("a", "/x", 1).call("b", "children", "/x", {"watch": True}, children=[], zxid=1)
        story.set("a", "/x", 2, "n", 1).get("b", "/x", 2, "n", 1).create("a", "/x/y", 3)
        holds(WatchOrder(), story.event("b", "children", "/x"))
        found(WatchOrder(), story.event("b", "changed", "/x"), "nothing was watching")

    def test_a_deletion_fires_all_watches_of_a_znode_with_one_event(self) -> None:
        story = Story().create("a", "/x", 1).get("b", "/x", 1, "", 0, watch=True)
        story.call("b", "children", "/x", {"watch": True}, children=[], zxid=1).call(
            "a", "delete", "/x", zxid=2
        )
        holds(WatchOrder(), story.event("b", "deleted", "/x").call("b", "exists", "/x", exists=False, zxid=2))

    def test_created_and_deleted_while_cut_off_is_the_case_that_is_missed(self) -> None:
        story = Story().call("b", "exists", "/x", {"watch": True}, exists=False, zxid=0 + 1)
        cut = Story()
        cut.events, cut.now = list(story.events), story.now
        for one in (story, cut):
            if one is cut:
                one.session("b", "suspended")
            one.create("a", "/x", 2).call("a", "delete", "/x", zxid=3)
            one.call("b.2", "exists", "/x", exists=False, zxid=3)
        holds(WatchOrder(), cut)
        found(WatchOrder(), story, "without an event of the change of /x at 0x2")

    def test_events_come_in_the_order_of_zxids_where_they_tell_them(self) -> None:
        story = Story().create("a", "/x", 1).create("a", "/y", 2)
        story.get("b", "/x", 2, "", 0, watch=True).get("b", "/y", 2, "", 0, watch=True)
        story.set("a", "/x", 3, "n", 1).set("a", "/y", 4, "m", 1).event("b", "changed", "/y", zxid=4)
        found(WatchOrder(), story.event("b", "changed", "/x", zxid=3), "came after one at 0x4")

    def test_a_persistent_watch_may_tell_again_and_again(self) -> None:
        story = Story().create("a", "/x", 1).call("b", "watch", "/x", {"mode": "recursive"}, zxid=1)
        story.create("a", "/x/y", 2).event("b", "created", "/x/y").set("a", "/x/y", 3, "n", 1)
        holds(WatchOrder(), story.event("b", "changed", "/x/y"))
