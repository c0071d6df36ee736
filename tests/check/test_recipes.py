"""Checks of the recipes: locks and double barriers."""

from __future__ import annotations

from sim.check.coordination import DoubleBarrier, LockExclusion, LockFairness, NoHerd
from tests.check.coordination.story import SECOND, Story, found, holds

LOCK = "/lock"


def lock(story: Story, client: str, number: int, mode: str = "write") -> Story:
    return story.call(client, "lock", LOCK, {"mode": mode}, node=f"lock-{number:010d}")


def unlock(story: Story, client: str) -> Story:
    return story.call(client, "unlock", LOCK)


class TestLocks:
    def test_one_holder_after_the_other(self) -> None:
        story = unlock(lock(unlock(lock(Story(), "a", 0), "a"), "b", 1), "b")
        holds(LockExclusion(), story)
        holds(LockFairness(), story)

    def test_two_holders_at_once_are_found(self) -> None:
        found(
            LockExclusion(),
            lock(lock(Story(), "a", 0), "b", 1),
            "b got it (line 4) while a held it (lines 1 to 2)",
        )

    def test_readers_share_and_writers_do_not(self) -> None:
        shared = lock(lock(Story(), "a", 0, "read"), "b", 1, "read")
        holds(LockExclusion(), shared)
        found(LockExclusion(), lock(shared, "c", 2), "c got it")

    def test_who_has_lost_its_connection_does_not_hold_it_for_sure(self) -> None:
        holds(LockExclusion(), lock(lock(Story(), "a", 0).session("a", "suspended"), "b", 1))

    def test_who_is_paused_until_its_session_expires_does_not_hold_it_all_the_time(self) -> None:
        for pause, clash in ((3, True), (7, False)):
            story = Story().session("a", "open", id=7, timeout=6.0)
            lock(story.get("a", "/x", 1, "", 0), "a", 0)
            story.now += pause * SECOND
            lock(story, "b", 1)
            story.now += 10 * SECOND
            story.session("a", "expired")
            if clash:
                found(LockExclusion(), story, "b got it")
            else:
                holds(LockExclusion(), story)

    def test_the_order_of_grants_is_that_of_the_numbers(self) -> None:
        story = unlock(lock(unlock(lock(Story(), "a", 5), "a"), "b", 4), "b")
        found(LockFairness(), story, "a with number 5 got it (line 2) before b with 4 (line 6)")

    def test_readers_may_overtake_each_other(self) -> None:
        holds(LockFairness(), lock(lock(Story(), "a", 5, "read"), "b", 4, "read"))

    def test_one_release_wakes_one_waiter(self) -> None:
        story = lock(Story(), "a", 0).event("b", "deleted", "/lock/lock-0000000000")
        holds(NoHerd(), story)
        story.event("c", "deleted", "/lock/lock-0000000000")
        found(NoHerd(), story, "the end of /lock/lock-0000000000 woke 2: b, c")

    def test_a_watch_on_the_lock_itself_is_a_herd(self) -> None:
        story = lock(Story(), "a", 0).event("b", "children", "/lock")
        found(NoHerd(), story, "b was woken by children of /lock")


class TestDoubleBarrier:
    def enter(self, *clients: str) -> Story:
        story = Story()
        for client in clients:
            story.line(client, "invoke", "enter", {"size": 2}, "/b")
        for client in clients:
            story.line(client, "ok", "enter", {}, "/b")
        return story

    def test_all_enter_and_all_leave_together(self) -> None:
        story = (
            self.enter("a", "b").line("a", "invoke", "leave", {}, "/b").line("b", "invoke", "leave", {}, "/b")
        )
        holds(DoubleBarrier(), story.line("a", "ok", "leave", {}, "/b").line("b", "ok", "leave", {}, "/b"))

    def test_nobody_gets_in_before_enough_have_come(self) -> None:
        found(DoubleBarrier(), self.enter("a"), "/b: a got in (line 2) when 1 of 2 had come")

    def test_nobody_gets_out_while_somebody_is_inside(self) -> None:
        story = self.enter("a", "b").call("a", "leave", "/b")
        found(DoubleBarrier(), story, "a got out (line 6) while b was still inside")

    def test_who_has_no_session_any_more_has_left(self) -> None:
        holds(DoubleBarrier(), self.enter("a", "b").session("b", "expired").call("a", "leave", "/b"))
