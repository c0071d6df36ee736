"""Checks of what a coordination service promises: good histories pass, and each broken promise is found."""

from __future__ import annotations

import pytest

from protos.history import Operation
from protos.trace import Note
from sim.check.coordination import (
    Converged,
    Durable,
    Ephemerals,
    Expiry,
    FifoOrder,
    PrefixReads,
    Progress,
    ReadyPattern,
    SequentialNames,
    SyncedReads,
    WatchOrder,
    WriteOrder,
)
from sim.check.coordination.convergence import SameDigests
from tests.check.ensemble import Ensemble

SECOND = 1_000_000_000


class Story:
    """A history, line by line. Calls name the process, what was asked, and how it ended."""

    def __init__(self) -> None:
        self.events: list[Operation] = []
        self.now = 0

    def line(self, process, kind, f, value=None, key=None, error=""):
        self.now += 1_000_000
        event = Operation(process, kind, f, value, self.now, len(self.events), error=error)
        if key is not None:
            event.key = key
        self.events.append(event)
        return self

    def ask(self, process, f, key=None, **asked):
        return self.line(process, "invoke", f, asked, key)

    def told(self, process, f, key=None, **told):
        return self.line(process, "ok", f, told, key)

    def call(self, process, f, key=None, asked=None, error="", **told):
        self.line(process, "invoke", f, asked or {}, key)
        if error:
            return self.line(process, "fail", f, asked or {}, key, error)
        return self.line(process, "ok", f, told, key)

    def lost(self, process, f, key=None, **asked):
        self.line(process, "invoke", f, asked, key)
        return self.line(process, "info", f, asked, key, "connection loss")

    def session(self, client, event, **more):
        return self.call(f"{client}/s", "session", asked={"event": event, **more}, event=event, **more)

    def event(self, client, type_, path, **more):
        return self.call(f"{client}/e", "event", path, asked={"type": type_, **more}, type=type_, **more)

    def create(self, process, path, zxid, data="", named=None, **flags):
        return self.call(process, "create", path, {"data": data, **flags}, path=named or path, zxid=zxid)

    def set(self, process, path, zxid, data, version, expected=-1):
        return self.call(
            process, "set", path, {"data": data, "version": expected}, version=version, zxid=zxid
        )

    def get(self, process, path, zxid, data, version, watch=False, **more):
        asked = {"watch": True} if watch else {}
        return self.call(process, "get", path, asked, data=data, version=version, zxid=zxid, **more)


def found(check, story, said):
    ok, detail = check(story.events if isinstance(story, Story) else story)
    assert not ok
    assert said in detail, detail


def holds(check, story):
    ok, detail = check(story.events if isinstance(story, Story) else story)
    assert ok, detail


@pytest.mark.parametrize("seed", range(40))
def test_an_ensemble_that_keeps_its_promises_passes_all_checks(seed: int) -> None:
    story = Ensemble(seed).events
    for check in (
        WriteOrder(),
        FifoOrder(),
        SyncedReads(),
        PrefixReads(),
        WatchOrder(),
        SequentialNames(),
        Ephemerals(),
        Durable(),
        Converged(),
        Expiry(),
    ):
        ok, detail = check(story)
        assert ok, f"{check.name}: {detail}"


@pytest.mark.parametrize("seed", [5, 7])
def test_a_long_history_in_which_many_requests_time_out_is_decided(seed: int) -> None:
    story = Ensemble(seed, clients=11, servers=5, steps=4000).events
    assert sum(event.type == "info" for event in story) > 200
    ok, detail = PrefixReads()(story)
    assert ok, detail
    assert "not known" not in detail


def test_where_nothing_was_asked_no_promise_is_broken() -> None:
    for check in (WriteOrder(), PrefixReads(), Durable(), Ephemerals(), WatchOrder(), SyncedReads()):
        holds(check, Story())


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


class TestPrefixReads:
    START = staticmethod(lambda: Story().create("a", "/x", 1, "one").set("a", "/x", 2, "two", 1))

    def test_a_stale_read_of_a_prefix_is_right(self) -> None:
        holds(PrefixReads(), self.START().get("b", "/x", 1, "one", 0).get("b", "/x", 2, "two", 1))

    def test_a_read_shows_exactly_the_state_at_its_zxid(self) -> None:
        found(PrefixReads(), self.START().get("b", "/x", 2, "one", 0), "/x was then at version 1 with 'two'")

    def test_a_write_whose_end_nobody_knows_may_have_happened_or_not(self) -> None:
        story = Story().create("a", "/x", 1, "one").lost("b", "set", "/x", data="two", version=-1)
        holds(PrefixReads(), story.get("a", "/x", 1, "one", 0))
        holds(PrefixReads(), story.get("a", "/x", 3, "two", 1))
        found(PrefixReads(), story.get("a", "/x", 4, "one", 0), "at 0x4 was told")

    def test_it_cannot_have_happened_before_it_was_asked_for(self) -> None:
        story = Story().create("a", "/x", 1, "one").get("a", "/x", 5, "one", 0)
        story.lost("b", "set", "/x", data="two", version=-1)
        found(PrefixReads(), story.get("c", "/x", 4, "two", 1), "get /x by c")

    def test_a_conditional_write_succeeds_only_at_its_version(self) -> None:
        found(PrefixReads(), self.START().set("b", "/x", 3, "three", 2, expected=0), "set /x by b")
        holds(PrefixReads(), self.START().set("b", "/x", 3, "three", 2, expected=1))

    def test_a_version_grows_by_one(self) -> None:
        found(PrefixReads(), self.START().set("b", "/x", 3, "three", 3), "set /x by b")

    def test_a_refusal_must_be_true_somewhere_between_the_replies_around_it(self) -> None:
        holds(PrefixReads(), self.START().call("b", "set", "/x", {"data": "n", "version": 0}, "BadVersion"))
        story = self.START().call("b", "set", "/x", {"data": "n", "version": 1}, "BadVersion")
        found(PrefixReads(), story, "was told differs 1")
        found(PrefixReads(), self.START().call("b", "delete", "/x", {}, "NoNode"), "was told absent")
        holds(PrefixReads(), self.START().call("b", "create", "/x", {"data": "n"}, "NodeExists"))
        found(
            PrefixReads(),
            self.START().call("b", "create", "/y", {"data": "n"}, "NodeExists"),
            "/y was then absent",
        )

    def test_a_refused_read_may_come_from_a_server_that_lags(self) -> None:
        holds(PrefixReads(), self.START().call("b", "get", "/x", {}, "NoNode"))
        story = self.START().get("b", "/x", 2, "two", 1).call("b", "get", "/x", {}, "NoNode")
        found(PrefixReads(), story, "was told absent")

    def test_children_are_those_that_were_created_and_not_deleted(self) -> None:
        story = self.START().create("a", "/x/a", 3).create("a", "/x/b", 4).call("a", "delete", "/x/a", zxid=5)
        holds(PrefixReads(), story.call("b", "children", "/x", children=["b"], zxid=5))
        found(PrefixReads(), story.call("c", "children", "/x", children=["a", "b"], zxid=5), "children a, b")

    def test_a_znode_with_children_is_not_deleted(self) -> None:
        story = self.START().create("a", "/x/a", 3)
        holds(PrefixReads(), story.call("b", "delete", "/x", {}, "NotEmpty"))
        found(PrefixReads(), story.call("b", "delete", "/x", zxid=4), "delete /x by b")

    def test_a_sequential_znode_of_unknown_end_may_be_seen_later(self) -> None:
        story = self.START().lost("b", "create", "/x/n", data="s", sequential=True)
        holds(PrefixReads(), story.call("c", "children", "/x", children=["n0000000000"], zxid=4))
        found(
            PrefixReads(),
            story.call("c", "children", "/x", children=["n0000000000", "n0000000001"], zxid=5),
            "n0000000001",
        )

    def test_a_sequential_znode_of_unknown_end_may_be_deleted_by_whoever_saw_it(self) -> None:
        story = self.START().lost("b", "create", "/x/n", data="s", sequential=True)
        story = story.call("c", "children", "/x", children=["n0000000000"], zxid=4)
        holds(PrefixReads(), story.call("c", "delete", "/x/n0000000000", zxid=5))

    def test_a_multi_happens_at_one_zxid(self) -> None:
        ops = [{"f": "set", "key": "/x", "data": "m"}, {"f": "create", "key": "/y", "data": "n"}]
        story = self.START().call(
            "a", "multi", None, {"ops": ops}, results=[{"version": 2}, {"path": "/y"}], zxid=3
        )
        holds(PrefixReads(), story.get("b", "/x", 3, "m", 2))
        found(PrefixReads(), story.call("b", "exists", "/y", exists=False, zxid=3), "exists /y by b")

    def test_ephemeral_znodes_go_when_their_session_is_closed(self) -> None:
        story = (
            Story()
            .session("a", "open", id=7)
            .create("a", "/e", 1, "d", ephemeral=True)
            .call("a", "close", zxid=2)
        )
        holds(PrefixReads(), story.call("b", "exists", "/e", exists=False, zxid=2))
        found(PrefixReads(), story.get("c", "/e", 2, "d", 0), "/e was then absent")

    def test_only_a_part_of_the_tree_may_be_judged(self) -> None:
        story = self.START().get("b", "/of-others", 2, "d", 5)
        found(PrefixReads(), story, "/of-others was then absent")
        holds(PrefixReads(under="/x"), story)

    def test_without_zxids_there_is_nothing_to_judge(self) -> None:
        found(PrefixReads(), Story().call("a", "get", "/x", data="d", version=0), "no reply tells its zxid")


class TestReadyPattern:
    def story(self, shown: int) -> Story:
        story = Story().create("w", "/c", 1, "old").set("w", "/c", 2, "new", 1).create("w", "/ready", 3)
        story.call("r", "exists", "/ready", exists=True, czxid=3, zxid=3)
        return story.get("r", "/c", 3, "any", 1, mzxid=shown)

    def test_who_sees_ready_sees_what_was_written_before_it(self) -> None:
        holds(ReadyPattern(), self.story(2))
        holds(ReadyPattern(), self.story(9))
        found(ReadyPattern(), self.story(1), "r had seen /ready, and then read /c as of 0x1")

    def test_what_others_wrote_is_not_promised(self) -> None:
        story = Story().create("w", "/c", 1, "old").set("x", "/c", 2, "new", 1).create("w", "/ready", 3)
        story.call("r", "exists", "/ready", exists=True, czxid=3, zxid=3)
        holds(ReadyPattern(), story.get("r", "/c", 3, "old", 0, mzxid=1))


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


class TestDurability:
    def start(self) -> Story:
        story = Story().create("a", "/x", 1, "one").set("a", "/x", 2, "two", 1).create("a", "/y", 3)
        return story.call("a", "delete", "/y", zxid=4)

    def dump(self, story: Story, server: str = "zk1", zxid: int = 4, **nodes: object) -> Story:
        return story.call(
            server, "dump", server, zxid=zxid, nodes={f"/{name}": node for name, node in nodes.items()}
        )

    def test_every_acknowledged_write_is_there(self) -> None:
        holds(Durable(), self.dump(self.start(), x=["two", 1, 1, 2, 0]))

    @pytest.mark.parametrize(
        ("nodes", "said"),
        [
            ({}, "set /x at 0x2 (lines 3 to 4) was acknowledged, but the znode is not there"),
            ({"x": ["one", 0, 1, 1, 0]}, "but the znode is as of 0x1"),
            ({"x": ["three", 1, 1, 2, 0]}, "with 'two', but the znode holds 'three'"),
            ({"x": ["two", 5, 1, 2, 0]}, "as version 1, but the znode has version 5"),
            ({"x": ["two", 1, 1, 2, 0], "y": ["", 0, 3, 3, 0]}, "delete /y at 0x4"),
        ],
    )
    def test_what_is_lost_is_named(self, nodes: dict[str, object], said: str) -> None:
        found(Durable(), self.dump(self.start(), **nodes), said)

    def test_a_later_write_of_unknown_end_is_no_loss(self) -> None:
        story = self.start().lost("b", "delete", "/x")
        holds(Durable(), self.dump(story, zxid=5))

    def test_a_server_that_lags_is_not_judged_but_one_must_not(self) -> None:
        story = self.dump(self.start(), zxid=1, x=["one", 0, 1, 1, 0])
        found(
            Durable(),
            story,
            "no server has told a tree as new as the last acknowledged write, delete /y at 0x4",
        )
        holds(Durable(), self.dump(story, "zk2", x=["two", 1, 1, 2, 0]))

    def test_trees_at_the_same_zxid_are_equal(self) -> None:
        story = self.dump(self.start(), x=["two", 1, 1, 2, 0])
        self.dump(story, "zk2", zxid=3, x=["other", 1, 1, 2, 0])
        holds(Converged(), self.dump(story, "zk3", x=["two", 1, 1, 2, 0]))
        found(
            Converged(),
            self.dump(story, "zk4", x=["three", 1, 1, 2, 0]),
            "zk1 (line 10) and zk4 (line 16) differ",
        )

    def test_digests_at_the_same_zxid_are_equal(self) -> None:
        story = (
            Story()
            .call("o", "digest", "zk1", zxid=9, digest="aa")
            .call("o", "digest", "zk2", zxid=9, digest="aa")
        )
        holds(Converged(), story)
        found(Converged(), story.call("o", "digest", "zk3", zxid=9, digest="bb"), "digests aa and bb")

    def test_digests_in_the_trace_are_equal(self) -> None:
        watcher = SameDigests().begin()
        watcher.see([Note(1, host, "digest", fields={"zxid": 3, "digest": "aa"}) for host in ("zk1", "zk2")])
        assert watcher.verdict() == (True, "1 digests compared with another server's")
        watcher.see([Note(2, "zk3", "digest", fields={"zxid": 3, "digest": "bb"})])
        assert watcher.verdict() == (False, "zk1 and zk3 differ at 0x3: aa and bb")


class TestProgress:
    def story(self, wait: float) -> Story:
        story = Story().line("nemesis", "invoke", "quorum", False).line("nemesis", "ok", "quorum", False)
        story.line("c", "invoke", "create", {}, "/x").line("c", "info", "create", {}, "/x")
        story.line("nemesis", "invoke", "quorum", True).line("nemesis", "ok", "quorum", True)
        story.line("c.2", "invoke", "create", {}, "/x")
        story.now += round(wait * SECOND)
        return story.line("c.2", "ok", "create", {"zxid": 1}, "/x")

    def test_a_write_is_acknowledged_soon_after_a_majority_is_back(self) -> None:
        holds(Progress(3), self.story(2))
        found(Progress(3), self.story(4), "but a write was acknowledged only 4.002 s later")

    def test_no_write_is_acknowledged_without_a_majority(self) -> None:
        story = Story().line("nemesis", "invoke", "quorum", False).line("nemesis", "ok", "quorum", False)
        found(Progress(3), story.create("c", "/x", 1), "although there had been no majority since 0.002 s")

    def test_one_that_was_asked_for_before_may_be(self) -> None:
        story = Story().ask("c", "create", "/x").line("nemesis", "invoke", "quorum", False)
        story.line("nemesis", "ok", "quorum", False).told("c", "create", "/x", zxid=1)
        story.line("nemesis", "invoke", "quorum", True).line("nemesis", "ok", "quorum", True)
        holds(Progress(3), story.create("c", "/y", 2))

    def test_without_marks_there_is_nothing_to_judge(self) -> None:
        found(Progress(3), Story().create("c", "/x", 1), "nobody said when there was a majority")
