"""What was acknowledged is there, everywhere alike, and what was healed makes progress."""

from __future__ import annotations

import pytest

from protos.trace import Note
from sim.check.coordination import (
    Converged,
    Durable,
    Progress,
)
from sim.check.coordination.convergence import SameDigests
from tests.check.coordination.story import SECOND, Story, found, holds


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
