"""What the paper says, section by section."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from services.spanner.group import Member, NotLeader
from services.spanner.paxos import Paxos, Recovered, Settings, State
from services.spanner.paxos import messages as m
from services.spanner.paxos import outputs as out
from services.spanner.paxos.ballots import ballot_of
from services.spanner.truetime.interval import Interval
from tests.spanner.paxos.cluster import MS, SECOND, Cluster

THREE = ("read-write", "read-write", "read-write")
LEASE = 10 * SECOND


def first(below: int) -> int:
    return 0


def cluster(*kinds: str, preferred: str = "s1") -> Cluster:
    """Returns a group of which s1 leads, and nothing is under way."""
    group = Cluster(kinds or THREE, first, preferred)
    group.lead(group.servers["s1"])
    calm(group)
    assert [server.name for server in group.leaders()] == ["s1"]
    return group


def calm(group: Cluster) -> None:
    """Lets arrive and be durable what is under way, each after half a millisecond."""
    for _ in range(1000):
        steps = group.steps()
        if not steps:
            return
        step, *args = steps[0]
        step(*args)
        group.now += MS // 2


def passes(group: Cluster, span: int) -> None:
    """Lets time pass, with all that becomes due in it."""
    until = group.now + span
    while group.now < until:
        group.advance(until - group.now)
        calm(group)


def write(group: Cluster, name: str = "s1") -> int:
    """Writes something; returns its index."""
    paxos = paxos_of(group, name)
    now = group.tt(group.servers[name])
    timestamp = paxos.assign(now.latest + 1, now)
    assert timestamp
    index = paxos.propose(timestamp, b"x")
    group.carry(group.servers[name])
    return index


def paxos_of(group: Cluster, name: str) -> Paxos:
    paxos = group.servers[name].paxos
    assert paxos is not None
    return paxos


def alone(recovered: Recovered | None = None) -> Paxos:
    members = [Member(f"s{number}", "z") for number in (1, 2, 3)]
    return Paxos("s1", members, recovered or Recovered(), Settings(), random.Random(1))


def at(t: int, epsilon: int = 4 * MS) -> Interval:
    return Interval(t - epsilon, t + epsilon)


def of(kind: Any, outputs: list[Any]) -> list[Any]:
    return [output for output in outputs if isinstance(output, kind)]


# 2.1: Paxos


def test_2_1_writes_are_pipelined_and_applied_in_order_everywhere() -> None:
    group = cluster()
    written = [write(group) for _ in range(20)]  # none of them waits for another
    calm(group)
    for server in group.servers.values():
        assert [entry[0] for entry in server.machine] == written


def test_2_1_several_entries_of_one_step_travel_in_one_message_and_one_write() -> None:
    group = cluster()
    paxos, now = paxos_of(group, "s1"), group.tt(group.servers["s1"])
    for _ in range(5):
        paxos.propose(paxos.assign(0, now), b"x")
    outputs = paxos.take()
    assert [len(write.entries) for write in of(out.Write, outputs)] == [5]
    (sent,) = of(out.Send, outputs)
    assert sent.to == ("s2", "s3")
    assert len(sent.message.entries) == 5


def test_2_1_what_is_under_way_to_a_busy_replica_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    group = cluster()
    sends, sent = group._Send, []

    def send(server: Any, output: out.Send, reign: Any) -> None:
        if isinstance(output.message, m.Accept) and "s3" in output.to:
            sent.extend(output.message.entries)
        sends(server, output, reign)

    monkeypatch.setattr(group, "_Send", send)
    busy = group.servers["s3"]
    group.paused = {"s3"}
    for _ in range(5):
        write(group)
    passes(group, SECOND)  # it is asked again and again, for it says nothing
    group.paused = set()
    for _ in range(5):  # and gets to one after the other now
        group.arrive(next(place for place, (_, to, _) in enumerate(group.network) if to == "s3"))
        group.durable(busy)
        group.arrive(next(place for place, (sender, *_) in enumerate(group.network) if sender == "s3"))
    calm(group)
    assert len(sent) == 5
    assert busy.machine == group.servers["s1"].machine
    group.cut = {("s1", "s3")}
    write(group)
    group.cut = set()
    passes(group, SECOND)
    assert busy.machine == group.servers["s1"].machine  # what was lost is


def test_2_1_a_minority_that_is_down_stops_nothing() -> None:
    group = cluster()
    group.crash(group.servers["s3"])
    index = write(group)
    calm(group)
    assert paxos_of(group, "s1").applied.index == index


def test_2_1_without_a_quorum_nothing_is_chosen() -> None:
    group = cluster()
    group.crash(group.servers["s3"])
    group.crash(group.servers["s2"])
    index = write(group)
    calm(group)
    assert paxos_of(group, "s1").applied.index < index


def test_2_1_a_new_leader_finds_what_the_old_one_had_chosen() -> None:
    group = cluster()
    write(group)
    calm(group)
    group.crash(group.servers["s1"])
    passes(group, 12 * SECOND)
    group.lead(group.servers["s2"])
    passes(group, 2 * SECOND)
    (leader,) = group.leaders()
    assert leader.name != "s1"
    assert leader.machine == group.servers["s2"].machine != []


def test_2_1_a_replica_too_far_behind_gets_a_checkpoint() -> None:
    group = cluster()
    group.crash(group.servers["s3"])
    for _ in range(5):
        write(group)
    calm(group)
    leader = group.servers["s1"]
    leader.disk.checkpoint = (paxos_of(group, "s1").applied, tuple(leader.machine))
    paxos_of(group, "s1").compacted(paxos_of(group, "s1").applied.index)
    group.choose = lambda below: below - 1  # fetches succeed
    group.start(group.servers["s3"])
    write(group)
    passes(group, 3 * SECOND)
    assert group.servers["s3"].machine == leader.machine
    assert group.counts["Install"] == 1


def test_2_2_a_witness_votes_and_holds_no_data() -> None:
    group = cluster("read-write", "read-write", "witness")
    group.crash(group.servers["s2"])
    index = write(group)
    calm(group)
    assert paxos_of(group, "s1").applied.index == index
    assert group.servers["s3"].machine == []
    group.lead(group.servers["s3"])
    passes(group, 30 * SECOND)
    assert [server.name for server in group.leaders()] != ["s3"]


def test_2_2_a_read_only_replica_has_the_log_and_no_vote() -> None:
    group = cluster("read-write", "read-write", "read-only")
    group.crash(group.servers["s2"])
    index = write(group)
    calm(group)
    assert paxos_of(group, "s1").applied.index < index  # one of two votes
    group.start(group.servers["s2"])
    passes(group, 3 * SECOND)
    assert paxos_of(group, "s1").applied.index == index
    assert paxos_of(group, "s3").applied.index == index


# 4.1.1: leader leases


def test_4_1_1_a_write_extends_the_lease_without_a_message_of_its_own() -> None:
    group = cluster()
    _, end = paxos_of(group, "s1").lease
    group.now += SECOND
    write(group)
    calm(group)
    assert paxos_of(group, "s1").lease[1] >= end + SECOND - 5 * MS


def test_4_1_1_votes_are_asked_for_when_the_lease_is_near_its_end_and_in_use() -> None:
    group = cluster()
    for _ in range(40):
        passes(group, SECOND)
        group.lead(group.servers["s1"])
        assert paxos_of(group, "s1").term(group.tt(group.servers["s1"]))
    assert len(group.witness.reigns) == 1


def test_4_1_1_an_idle_group_comes_to_rest_and_goes_on_in_the_same_reign() -> None:
    group = cluster()
    term = paxos_of(group, "s1").term(group.tt(group.servers["s1"]))
    passes(group, 60 * SECOND)
    assert all(paxos_of(group, name).next_deadline() is None for name in group.servers)
    assert group.leaders() == []
    group.lead(group.servers["s1"])
    calm(group)
    assert paxos_of(group, "s1").term(group.tt(group.servers["s1"])) == term


def test_4_1_1_abdication_waits_until_s_max_has_passed() -> None:
    group = cluster()
    write(group)
    calm(group)
    leader = group.servers["s1"]
    paxos = paxos_of(group, "s1")
    s_max = paxos.assign(group.now + 2 * SECOND, group.tt(leader))
    group.abdicate(leader, "s2")
    passes(group, 2 * SECOND)
    assert group.tt(leader).earliest <= s_max
    assert [server.name for server in group.leaders()] == ["s1"]
    passes(group, SECOND)
    assert [server.name for server in group.leaders()] == ["s2"]


def test_4_1_1_who_gives_leadership_away_assigns_nothing_more() -> None:
    group = cluster()
    group.abdicate(group.servers["s1"], "s2")
    with pytest.raises(NotLeader):
        paxos_of(group, "s1").assign(0, group.tt(group.servers["s1"]))


def test_4_1_1_a_hand_over_takes_milliseconds_not_a_lease() -> None:
    group = cluster()
    write(group)
    calm(group)
    began = group.now
    group.abdicate(group.servers["s1"], "s3")
    while not any(server.name == "s3" for server in group.leaders()):
        passes(group, MS)
    assert group.now - began < 40 * MS


# 4.1.2: timestamps


def test_4_1_2_timestamps_increase_across_leaders() -> None:
    group = cluster()
    for leader, successor in (("s1", "s2"), ("s2", "s3"), ("s3", "s1")):
        write(group, leader)
        calm(group)
        group.abdicate(group.servers[leader], successor)
        passes(group, SECOND)
    timestamps = [entry[1] for entry in group.servers["s1"].machine]
    assert len(timestamps) == 3
    assert timestamps == sorted(set(timestamps))


def test_4_1_2_a_leader_assigns_only_inside_its_lease() -> None:
    group = cluster()
    paxos, leader = paxos_of(group, "s1"), group.servers["s1"]
    start, end = paxos.lease
    group.now += SECOND
    assert start < paxos.assign(0, group.tt(leader)) < end
    assert paxos.assign(end, group.tt(leader)) == 0  # not yet
    with pytest.raises(ValueError, match="future"):
        paxos.assign(group.now + 2 * LEASE, group.tt(leader))
    group.now = end
    assert paxos.assign(0, group.tt(leader)) == 0


# 4.2.4: MinNextTS


def test_4_2_4_a_replica_asks_the_leader_for_a_promise() -> None:
    group = cluster()
    group.now += SECOND
    t = group.now
    group.input(group.servers["s3"], "safe", t)
    calm(group)
    assert paxos_of(group, "s3").paxos_safe >= t
    assert paxos_of(group, "s1").assigned >= t  # s_max covers it
    write(group)
    calm(group)
    assert group.servers["s1"].machine[-1][1] > t


def test_4_2_4_who_asks_again_and_again_is_answered_each_time_at_once() -> None:
    group = cluster()
    for _ in range(5):
        group.now += SECOND // 100
        t = group.now + 9 * MS
        group.input(group.servers["s3"], "safe", t)
        calm(group)
        assert paxos_of(group, "s3").paxos_safe >= t


def test_4_2_4_a_promise_of_the_past_goes_as_far_as_the_present() -> None:
    group = cluster()
    group.now += SECOND
    group.input(group.servers["s3"], "safe", group.now - SECOND // 2)
    calm(group)
    assert paxos_of(group, "s3").paxos_safe >= group.now


def test_4_2_4_a_promise_for_the_far_future_waits() -> None:
    group = cluster()
    t = group.now + SECOND
    group.input(group.servers["s1"], "safe", t)
    assert paxos_of(group, "s1").assigned < t
    passes(group, SECOND)
    assert paxos_of(group, "s1").paxos_safe >= t


def test_4_2_4_the_leader_in_use_promises_of_itself() -> None:
    group = cluster()
    for _ in range(20):
        passes(group, SECOND)
        group.lead(group.servers["s1"])
    assert group.now - paxos_of(group, "s2").paxos_safe <= 8 * SECOND + 10 * MS


# Appendix A


def test_a_the_vote_is_durable_before_it_is_granted() -> None:
    paxos = alone()
    ballot = ballot_of(1, 1)
    paxos.receive("s2", m.Prepare(ballot, 5), at(100 * SECOND))
    outputs = paxos.take()
    (written,) = of(out.Write, outputs)
    assert (written.state.vote, written.state.until) == (ballot, 100 * SECOND + 4 * MS + LEASE)
    assert of(out.Send, outputs) == []
    paxos.durable(written.number, at(100 * SECOND))
    (sent,) = of(out.Send, paxos.take())
    assert sent.message == m.Promise(ballot, 5, 0, 0, 0)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_no_other_vote_until_t_end_has_passed_over_restarts_too(restarted: bool) -> None:
    paxos = alone()
    began = 100 * SECOND
    paxos.receive("s2", m.Prepare(ballot_of(1, 1), 5), at(began))
    (written,) = of(out.Write, paxos.take())
    if restarted:
        paxos = alone(Recovered(state=written.state))
    else:
        paxos.durable(written.number, at(began))
    other = m.Prepare(ballot_of(2, 2), 7)
    until = written.state.until
    paxos.receive("s3", other, Interval(until, until + 8 * MS))
    assert of(out.Write, paxos.take()) == []
    paxos.receive("s3", other, Interval(until + 1, until + 8 * MS))
    assert [write.state.vote for write in of(out.Write, paxos.take())] == [other.ballot]


def test_a_a_restarted_leader_has_to_wait_for_its_own_old_votes() -> None:
    state = State(promised=ballot_of(3, 0), vote=ballot_of(3, 0), until=200 * SECOND, round=1000)
    paxos = alone(Recovered(state=state))
    paxos.lead(at(195 * SECOND))
    assert [type(output) for output in paxos.take()] == [out.Elsewhere]


def test_a_the_lease_lasts_ten_seconds_from_before_the_request_of_the_quorum_was_sent() -> None:
    group = Cluster(THREE, first, "s1")
    asked = group.tt(group.servers["s1"]).earliest
    group.lead(group.servers["s1"])
    calm(group)
    start, end = paxos_of(group, "s1").lease
    assert asked + LEASE <= end <= group.tt(group.servers["s1"]).earliest + LEASE
    assert start > asked


def test_a_leader_that_is_cut_off_loses_its_lease_before_another_begins() -> None:
    group = cluster()
    for other in ("s2", "s3"):
        group.cut |= {("s1", other), (other, "s1")}
    passes(group, 12 * SECOND)
    group.lead(group.servers["s2"])
    passes(group, 2 * SECOND)
    assert [server.name for server in group.leaders()] in (["s2"], ["s3"])
    reigns = list(group.witness.reigns.values())
    assert reigns[0].end < reigns[1].start


def test_a_single_proposal_is_cheap() -> None:
    """Thousands a second, in this one process, for all three replicas together."""
    group = cluster()
    began = time.process_time()
    for _ in range(300):
        write(group)
        calm(group)
    assert time.process_time() - began < 3
