"""What a session reads is a prefix of what was written, and none older than what it knows."""

from __future__ import annotations

from sim.check.coordination import (
    PrefixReads,
    ReadyPattern,
)
from tests.check.coordination.story import Story, found, holds


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
