"""Zab's rules against the paper (Junqueira, Reed, Serafini, DSN 2011): one test a rule, in its order."""

from __future__ import annotations

import pytest

from protos.coordination_pb2 import (
    Ack,
    AckEpoch,
    AckLeader,
    CEpoch,
    Commit,
    CommitLeader,
    Diff,
    Forward,
    Inform,
    NewEpoch,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
    Snapshot,
    Truncate,
)
from services.coordination.broadcast import NotLeading
from services.coordination.zab import outputs as out
from services.coordination.zab.invariants import InvariantBroken
from services.coordination.zab.zxid import LAST_COUNTER
from tests.coordination.zab.by_hand import FIVE, THREE, Hand, of, sent, vote, z
from tests.coordination.zab.ensemble import configuration


def proposal(epoch: int, counter: int) -> Propose:
    return Propose(zxid=z(epoch, counter), transaction=b"%d.%d" % (epoch, counter))


# II. Channels: what belongs to an earlier iteration never arrives in a later one


def test_messages_of_a_server_that_is_not_followed_are_ignored() -> None:
    follower = Hand(1)
    follower.follows(3)
    assert follower.hears(2, proposal(1, 1), Commit(zxid=z(1, 1))) == []


def test_a_learner_that_connects_again_begins_a_new_iteration() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    assert of(out.Lost, leader.connected(1)) == [out.Lost(1)]
    assert leader.acknowledged(z(1, 1), 1) == []  # it has not come to phase 3 again


# III. Primaries


def test_transactions_are_numbered_by_epoch_and_counter() -> None:
    leader = Hand(3)
    epoch = leader.leads(1, 2)
    assert [leader.peer.propose(b"") for _ in range(3)] == [z(epoch, 1), z(epoch, 2), z(epoch, 3)]


def test_only_after_ready_may_a_primary_broadcast() -> None:
    leader = Hand(3)
    leader.nominated(3)
    with pytest.raises(NotLeading):
        leader.peer.propose(b"")
    follower = Hand(1)
    follower.follows(3)
    with pytest.raises(NotLeading):
        follower.peer.propose(b"")


def test_when_the_counter_is_used_up_the_leader_gives_up_and_another_epoch_begins() -> None:
    leader = Hand(3, accepted_epoch=6, current_epoch=6)
    leader.leads(1, 2, promised=6)
    leader.peer._own.history.last = z(7, LAST_COUNTER - 1)  # as if it had proposed for years
    with pytest.raises(NotLeading):
        leader.peer.propose(b"")
    assert (
        of(out.Looking, leader.passes(0))[0].why == "the counter of zxids is used up: a new epoch is needed"
    )


# IV, phase 1: discovery


def test_a_follower_tells_the_last_epoch_that_it_has_promised() -> None:
    follower = Hand(1, accepted_epoch=4, current_epoch=3)
    assert of(out.Follow, follower.nominated(3)) == [out.Follow(3)]
    assert sent(follower.connected(3), CEpoch, 3) == [CEpoch(promised=4, server=1)]


def test_new_epoch_needs_cepochs_of_a_quorum_and_is_above_all_of_them() -> None:
    leader = Hand(5, FIVE, accepted_epoch=2)
    leader.nominated(5)
    assert sent(leader.joins(1, promised=7), NewEpoch) == []
    outputs = leader.joins(2, promised=3)
    assert sent(outputs, NewEpoch, 1) == sent(outputs, NewEpoch, 2) == [NewEpoch(epoch=8)]


def test_cepochs_of_observers_and_strangers_do_not_count() -> None:
    leader = Hand(3, configuration([1, 2, 3], [4]))
    leader.nominated(3)
    assert sent(leader.joins(4, observer=True), NewEpoch) == []
    assert sent(leader.joins(9), NewEpoch) == []
    assert sent(leader.joins(1), NewEpoch) == [
        NewEpoch(epoch=1)
    ]  # nor are they asked before it is established


def test_a_follower_promises_a_higher_epoch_and_answers_once_that_is_durable() -> None:
    follower = Hand(1, accepted_epoch=2, current_epoch=1, ends=(z(1, 9),))
    follower.nominated(3)
    follower.connected(3)
    assert follower.hears(3, NewEpoch(epoch=5)) == [out.SaveAcceptedEpoch(5)]
    answer = AckEpoch(current=1, zxid=z(1, 9), promised=True)  # ACK-E(f.a, h_f), the history by its last zxid
    assert sent(follower.saved_accepted(5), AckEpoch, 3) == [answer]


def test_a_follower_does_not_promise_a_lower_epoch() -> None:
    follower = Hand(1, accepted_epoch=5)
    follower.nominated(3)
    follower.connected(3)
    assert of(out.Looking, follower.hears(3, NewEpoch(epoch=4)))


def test_a_follower_that_has_promised_the_epoch_before_says_so() -> None:
    follower = Hand(1, accepted_epoch=5)
    follower.nominated(3)
    follower.connected(3)
    assert sent(follower.hears(3, NewEpoch(epoch=5)), AckEpoch) == [AckEpoch(promised=False)]


def test_what_is_told_of_epochs_is_durable_even_when_an_earlier_iteration_had_begun_to_save_it() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=1))  # being saved
    follower.closed(3)
    follower.hears(2, vote(3, epoch=99, round=2))
    follower.passes(0.3)
    assert sent(follower.connected(3), CEpoch) == []
    assert sent(follower.saved_accepted(1), CEpoch) == [CEpoch(promised=1, server=1)]


def test_the_leaders_own_promise_counts_once_it_is_durable() -> None:
    leader = Hand(3)
    leader.nominated(3)
    assert out.SaveAcceptedEpoch(1) in leader.joins(1)
    assert of(out.SaveCurrentEpoch, leader.hears(1, AckEpoch(promised=True))) == []
    assert of(out.SaveCurrentEpoch, leader.saved_accepted(1)) == [out.SaveCurrentEpoch(1)]


def test_a_promise_counts_for_one_leader_only() -> None:
    leader = Hand(3)
    leader.nominated(3)
    leader.joins(1)
    leader.saved_accepted(1)
    assert leader.hears(1, AckEpoch(promised=False)) == []  # it has answered another leader's NEWEPOCH(1)


def test_a_promise_that_can_count_no_more_makes_the_leader_try_another_epoch_at_once() -> None:
    leader = Hand(5, FIVE)
    leader.nominated(5)
    leader.joins(1)
    leader.joins(2)  # NEWEPOCH(1)
    assert of(out.Looking, leader.joins(3, promised=1))


# V: the leader is the one with the highest (f.a, f.zxid), so that I_e' is its own history


@pytest.mark.parametrize("later", [(2, z(1, 2)), (1, z(1, 3))])
def test_a_leader_that_does_not_have_the_latest_history_gives_up(later: tuple[int, int]) -> None:
    leader = Hand(3, accepted_epoch=1, current_epoch=1, ends=(z(1, 2),))
    leader.nominated(3)
    leader.joins(1, promised=2)
    outputs = leader.hears(1, AckEpoch(current=later[0], zxid=later[1], promised=True))
    assert [looking.why for looking in of(out.Looking, outputs)] == ["server 1 has a later history"]


def test_a_higher_current_epoch_is_later_than_a_higher_zxid() -> None:
    leader = Hand(3, accepted_epoch=2, current_epoch=2, ends=(z(1, 2),))
    leader.nominated(3)
    leader.joins(1, promised=2)
    outputs = leader.hears(1, AckEpoch(current=1, zxid=z(1, 8), promised=True))
    assert of(out.Looking, outputs) == []


# IV, phase 2: synchronization


def test_new_leader_needs_ack_es_of_a_quorum() -> None:
    leader = Hand(5, FIVE)
    leader.nominated(5)
    leader.joins(1)
    leader.joins(2)
    leader.saved_accepted(1)
    assert leader.hears(1, AckEpoch(promised=True)) == []
    outputs = leader.hears(2, AckEpoch(promised=True))
    assert out.SaveCurrentEpoch(1) in outputs
    assert (
        sent(outputs, NewLeader, 1) == sent(outputs, NewLeader, 2) == [NewLeader(epoch=1, members=str(FIVE))]
    )


def synchronized(history: dict[str, object], zxid: int) -> list[object]:
    """Returns what a follower whose history ends at `zxid` is sent by a leader, up to NEWLEADER."""
    leader = Hand(3, accepted_epoch=3, current_epoch=3, **history)
    leader.nominated(3)
    leader.joins(1, promised=3)
    leader.saved_accepted(4)
    outputs = leader.hears(1, AckEpoch(zxid=zxid, promised=True))
    return [o for o in outputs if not isinstance(o, out.SaveCurrentEpoch)]


def test_a_follower_that_is_behind_gets_what_is_missing() -> None:
    assert synchronized({"ends": (z(1, 5), z(3, 2))}, z(1, 4)) == [
        out.Send(1, Diff(zxid=z(3, 2))),
        out.SendHistory(1, z(1, 4), z(3, 2)),
        out.Send(1, NewLeader(epoch=4, zxid=z(3, 2), members=str(THREE))),
    ]


def test_a_follower_with_the_same_history_gets_nothing() -> None:
    assert synchronized({"ends": (z(1, 5),)}, z(1, 5))[:1] == [out.Send(1, Diff(zxid=z(1, 5)))]


def test_what_a_follower_alone_has_is_removed_and_then_comes_what_is_missing() -> None:
    assert synchronized({"ends": (z(1, 5), z(3, 2))}, z(2, 7))[:2] == [
        out.Send(1, Truncate(zxid=z(1, 5))),
        out.SendHistory(1, z(1, 5), z(3, 2)),
    ]


def test_a_follower_that_is_too_far_behind_gets_a_snapshot() -> None:
    history = {"committed": z(1, 5), "oldest": z(1, 3), "ends": (z(1, 8),)}
    assert synchronized(history, z(1, 2)) == [
        out.SendSnapshot(1, z(1, 8), str(THREE)),
        out.Send(1, NewLeader(epoch=4, zxid=z(1, 8), members=str(THREE))),
    ]


def test_a_follower_takes_over_the_initial_history() -> None:
    follower = Hand(1, accepted_epoch=2, current_epoch=2, ends=(z(1, 5), z(2, 7)))
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    assert follower.hears(3, Truncate(zxid=z(1, 5)), proposal(3, 1)) == [
        out.Truncate(z(1, 5)),
        out.Append(z(3, 1), b"3.1"),
    ]


def test_a_follower_takes_over_a_snapshot_in_the_place_of_its_history() -> None:
    follower = Hand(1, ends=(z(1, 2),))
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    members = str(THREE)
    outputs = follower.hears(
        3,
        Snapshot(zxid=z(3, 5), chunk=b"a"),
        Snapshot(zxid=z(3, 5), chunk=b"b", last=True, members=members),
        proposal(3, 6),
    )
    assert outputs == [
        out.Install(z(3, 5), b"a", False, ""),
        out.Install(z(3, 5), b"b", True, members),
        out.Append(z(3, 6), b"3.6"),
    ]
    assert follower.peer.committed == z(3, 5)


def test_ack_ld_follows_when_history_and_current_epoch_are_durable() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    follower.hears(3, Diff(zxid=z(1, 1)), proposal(1, 1))
    new_leader = NewLeader(epoch=4, zxid=z(1, 1), members=str(THREE))
    assert follower.hears(3, new_leader) == [out.SaveCurrentEpoch(4)]  # after the history: the driver's order
    assert follower.logged(z(1, 1)) == []
    assert follower.saved_current(4) == [out.Send(3, AckLeader(epoch=4))]


def test_a_follower_that_has_promised_another_epoch_starts_again() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    assert of(out.Looking, follower.hears(3, Diff(), NewLeader(epoch=3, members=str(THREE))))


def test_a_quorum_of_ack_lds_commits_the_initial_history_and_establishes_the_leader() -> None:
    leader = Hand(5, FIVE, ends=(z(1, 3),), accepted_epoch=1, current_epoch=1)
    leader.nominated(5)
    for server in (1, 2):
        leader.joins(server, promised=1)
    leader.saved_accepted(2)
    for server in (1, 2):
        leader.hears(server, AckEpoch(current=1, zxid=z(1, 3), promised=True))
    leader.saved_current(2)
    assert leader.hears(1, AckLeader(epoch=2)) == []
    outputs = leader.hears(2, AckLeader(epoch=2))
    assert of(out.Deliver, outputs) == [out.Deliver(z(1, 3))]
    assert sent(outputs, CommitLeader, 1) == sent(outputs, CommitLeader, 2) == [CommitLeader(zxid=z(1, 3))]
    assert outputs.index(out.Deliver(z(1, 3))) < outputs.index(out.Ready(2))


def test_the_leaders_own_ack_ld_counts_once_it_is_durable() -> None:
    leader = Hand(3)
    leader.nominated(3)
    leader.joins(1)
    leader.saved_accepted(1)
    leader.hears(1, AckEpoch(promised=True))
    assert of(out.Ready, leader.hears(1, AckLeader(epoch=1))) == []
    assert of(out.Ready, leader.saved_current(1)) == [out.Ready(1)]


def test_a_follower_delivers_the_initial_history_when_the_leader_is_established() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    follower.hears(
        3, Diff(zxid=z(1, 1)), proposal(1, 1), NewLeader(epoch=4, zxid=z(1, 1), members=str(THREE))
    )
    follower.logged(z(1, 1))
    follower.saved_current(4)
    assert follower.hears(3, CommitLeader(zxid=z(1, 1))) == [out.Deliver(z(1, 1)), out.Synchronized(3)]
    assert follower.peer.phase == "following"


# IV, phase 3: broadcast


def test_a_leader_proposes_to_its_followers_and_to_itself() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    assert leader.proposes(b"v") == [
        out.Append(z(1, 1), b"v"),
        out.SendAll((1, 2), Propose(zxid=z(1, 1), transaction=b"v")),
    ]


def test_a_follower_appends_in_order_and_acknowledges_what_is_on_stable_storage() -> None:
    follower = Hand(1)
    follower.follows(3)
    outputs = follower.hears(3, proposal(1, 1), proposal(1, 2), proposal(1, 3))
    assert outputs == [out.Append(z(1, counter), b"1.%d" % counter) for counter in (1, 2, 3)]
    assert follower.logged(z(1, 2)) == [out.Send(3, Ack(zxid=z(1, 2)))]  # and so for all before it


def test_a_quorum_of_acks_commits() -> None:
    leader = Hand(5, FIVE)
    leader.leads(1, 2, 3, 4)
    leader.proposes(b"v")
    assert leader.acknowledged(z(1, 1), 1, 2) == []
    assert leader.acknowledged(z(1, 1), 3) == [
        out.SendAll((1, 2, 3, 4), Commit(zxid=z(1, 1))),
        out.Deliver(z(1, 1)),
    ]


def test_the_leaders_own_ack_counts_once_its_log_is_durable() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    leader.proposes(b"v")
    assert leader.acknowledged(z(1, 1), 1) == []
    assert of(out.Deliver, leader.logged(z(1, 1))) == [out.Deliver(z(1, 1))]


def test_an_ack_stands_for_all_before_it_and_so_does_a_commit() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    for _ in range(5):
        leader.proposes(b"v")
    leader.logged(z(1, 2))
    assert leader.acknowledged(z(1, 4), 1) == [
        out.SendAll((1, 2), Commit(zxid=z(1, 2))),
        out.Deliver(z(1, 2)),
    ]
    assert of(out.Deliver, leader.acknowledged(z(1, 3), 2)) == [out.Deliver(z(1, 3))]


def test_acks_of_observers_and_strangers_do_not_count() -> None:
    leader = Hand(3, configuration([1, 2, 3], [4]))
    leader.leads(1, 2)
    leader.joins(9)
    leader.hears(9, AckEpoch(promised=True), AckLeader(epoch=1))
    leader.proposes(b"v")
    assert leader.acknowledged(z(1, 1), 9, 9, 1) == []


def test_a_follower_delivers_what_is_committed() -> None:
    follower = Hand(1)
    follower.follows(3)
    follower.hears(3, proposal(1, 1), proposal(1, 2))
    assert follower.hears(3, Commit(zxid=z(1, 2))) == [out.Deliver(z(1, 2))]


def test_a_late_follower_joins_in_phase_3() -> None:
    leader = Hand(3)
    leader.leads(1)
    leader.proposes(b"v")
    assert sent(leader.joins(2, promised=0), NewEpoch, 2) == [NewEpoch(epoch=1)]
    outputs = leader.hears(2, AckEpoch(promised=True))
    assert of(out.SendHistory, outputs) == [
        out.SendHistory(2, 0, z(1, 1))
    ]  # I_e' and what was proposed since
    assert sent(outputs, NewLeader, 2) == [NewLeader(epoch=1, zxid=z(1, 1), members=str(THREE))]
    assert sent(leader.hears(2, AckLeader(epoch=1)), CommitLeader, 2)


def test_the_ack_ld_of_a_late_follower_acknowledges_what_it_was_sent() -> None:
    leader = Hand(3)
    leader.leads(1)
    leader.proposes(b"v")
    leader.logged(z(1, 1))
    leader.joins(2)
    leader.hears(2, AckEpoch(promised=True))
    assert of(out.Deliver, leader.hears(2, AckLeader(epoch=1))) == [out.Deliver(z(1, 1))]


def test_a_member_that_has_promised_a_later_epoch_makes_the_leader_give_up_and_choose_a_higher_one() -> None:
    leader = Hand(3)
    leader.leads(1)
    assert of(out.Looking, leader.joins(2, promised=8))
    leader.hears(1, vote(3, epoch=99, round=2))
    leader.passes(0.3)
    assert sent(leader.joins(1, promised=1), NewEpoch) == [NewEpoch(epoch=9)]


# The three corrections that model checking found


def test_proposals_go_to_a_follower_from_its_ack_e_on() -> None:
    leader = Hand(3)
    leader.leads(1)
    leader.joins(2)
    leader.hears(2, AckEpoch(promised=True))  # NEWLEADER is under way to it, its ACK-LD has not come
    assert sent(leader.proposes(b"v"), Propose, 2) == [Propose(zxid=z(1, 1), transaction=b"v")]


def test_a_proposal_before_ack_ld_is_acknowledged_after_it() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=1))
    follower.saved_accepted(1)
    follower.hears(3, Diff(), NewLeader(epoch=1, members=str(THREE)), proposal(1, 1))
    assert follower.logged(z(1, 1)) == []
    outputs = follower.saved_current(1)
    assert outputs == [out.Send(3, AckLeader(epoch=1)), out.Send(3, Ack(zxid=z(1, 1)))]


def test_a_proposal_that_is_in_the_history_already_is_ignored() -> None:
    follower = Hand(1)
    follower.follows(3)
    follower.hears(3, proposal(1, 1), proposal(1, 2))
    assert follower.hears(3, proposal(1, 1)) == []


def test_commit_ld_carries_what_is_committed_now_and_not_what_was_at_new_leader() -> None:
    leader = Hand(3)
    leader.leads(1)
    leader.joins(2)
    leader.hears(2, AckEpoch(promised=True))
    leader.proposes(b"v")
    leader.logged(z(1, 1))
    assert sent(leader.acknowledged(z(1, 1), 1), Commit, 2) == []  # not before COMMIT-LD
    assert sent(leader.hears(2, AckLeader(epoch=1)), CommitLeader, 2) == [CommitLeader(zxid=z(1, 1))]


# V. Heartbeats


def test_a_leader_pings_and_a_follower_answers() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    (ping,) = sent(leader.passes(0.4), Ping, 1)
    follower = Hand(1)
    follower.follows(3)
    assert follower.hears(3, ping) == [out.Send(3, Pong(number=ping.number))]


def test_a_leader_without_a_quorum_of_heartbeats_gives_up() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    for _ in range(20):  # 1 answers all the time
        for ping in sent(leader.passes(0.5), Ping, 1)[-1:]:
            leader.hears(1, Pong(number=ping.number))
    assert leader.peer.phase == "leading"
    outputs = leader.passes(5.5)
    assert [looking.why for looking in of(out.Looking, outputs)] == ["no quorum of followers"]


def test_a_leader_gives_up_before_its_followers_do() -> None:
    leader = Hand(3)
    leader.leads(1)
    (ping,) = sent(leader.passes(0.0), Ping)
    leader.passes(4.0)
    leader.hears(1, Pong(number=ping.number))  # late: it says that 1 waits since the ping, and no longer
    assert of(out.Looking, leader.passes(1.5))


def test_a_leader_gives_up_when_a_quorum_is_no_longer_connected() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    assert of(out.Looking, leader.closed(1)) == []
    assert of(out.Looking, leader.closed(2))


def test_a_follower_that_hears_nothing_looks_for_another_leader() -> None:
    follower = Hand(1)
    follower.follows(3)
    follower.passes(4.0)
    follower.hears(3, Ping())
    assert of(out.Looking, follower.passes(4.9)) == []
    assert of(out.Looking, follower.passes(0.2))


def test_a_follower_whose_connection_ends_looks_for_another_leader() -> None:
    follower = Hand(1)
    follower.follows(3)
    assert of(out.Looking, follower.closed(3))


def test_phases_1_and_2_have_to_end_in_time() -> None:
    for server in (1, 3):
        hand = Hand(server)
        hand.nominated(3)
        assert of(out.Looking, hand.passes(9.9)) == []
        assert of(out.Looking, hand.passes(0.2))


def test_a_server_leads_or_follows_one_at_a_time() -> None:
    follower = Hand(1)
    follower.follows(3)
    assert of(out.Hangup, follower.connected(2)) == [out.Hangup(2, "this server does not lead")]


def test_those_who_elected_this_server_before_it_knows_are_heard_once_it_does() -> None:
    leader = Hand(3)
    leader.start()
    leader.joins(1)
    assert sent(leader.hears(1, vote(3)) + leader.passes(0.2), NewEpoch, 1) == [NewEpoch(epoch=1)]


def test_those_who_elected_this_server_in_vain_are_told() -> None:
    follower = Hand(1)
    follower.start()
    follower.joins(2)
    outputs = follower.hears(2, vote(3)) + follower.hears(3, vote(3))
    assert of(out.Hangup, outputs) == [out.Hangup(2, "this server does not lead")]


def test_a_learner_that_has_only_connected_is_told_too() -> None:
    """Found by a schedule: two servers that follow each other, with one iteration too many."""
    follower = Hand(1)
    follower.start()
    follower.connected(3)
    outputs = follower.hears(2, vote(3)) + follower.hears(3, vote(3))
    told = [output for output in outputs if isinstance(output, out.Hangup | out.Follow)]
    assert told == [out.Hangup(3, "this server does not lead"), out.Follow(3)]


# V, IV: the oracle. Fast leader election


def test_a_server_votes_for_itself_first_and_tells_all_who_vote() -> None:
    hand = Hand(2, configuration([1, 2, 3], [4]), current_epoch=3, accepted_epoch=3, ends=(z(3, 7),))
    outputs = hand.start()
    assert [o.to for o in of(out.Send, outputs)] == [1, 3]
    (told,) = sent(outputs, Notification, 1)
    assert (told.leader, told.epoch, told.zxid, told.round) == (2, 3, z(3, 7), 1)


@pytest.mark.parametrize(
    ("better", "than"),
    [
        ((4, z(1, 1), 1), (3, z(3, 9), 3)),
        ((3, z(3, 8), 1), (3, z(3, 7), 3)),
        ((3, z(3, 7), 3), (3, z(3, 7), 1)),
    ],
)
def test_votes_are_ordered_by_epoch_then_zxid_then_id(
    better: tuple[int, int, int], than: tuple[int, int, int]
) -> None:
    hand = Hand(2)
    hand.start()
    hand.hears(1, vote(than[2], than[1], than[0]))
    (told,) = sent(hand.hears(3, vote(better[2], better[1], better[0])), Notification, 1)
    assert told.leader == better[2]
    assert sent(hand.hears(1, vote(than[2], than[1], than[0])), Notification) == []


def test_a_quorum_of_votes_waits_for_a_better_one() -> None:
    hand = Hand(2)
    hand.start()
    assert of(out.Follow, hand.hears(1, vote(2))) == []
    hand.passes(0.1)
    hand.hears(3, vote(3))
    assert of(out.Follow, hand.hears(1, vote(3))) == [
        out.Follow(3)
    ]  # all have said the same: nothing can come


def test_a_quorum_of_votes_settles_after_a_while() -> None:
    hand = Hand(2)
    hand.start()
    hand.hears(3, vote(3))
    assert of(out.Follow, hand.passes(0.19)) == []
    assert of(out.Follow, hand.passes(0.02)) == [out.Follow(3)]


def test_after_an_attempt_that_failed_an_election_takes_its_time() -> None:
    hand = Hand(1)
    hand.nominated(3)
    hand.closed(3)
    assert of(out.Follow, hand.hears(2, vote(3, round=2)) + hand.hears(3, vote(3, round=2))) == []
    assert of(out.Follow, hand.passes(0.2)) == [out.Follow(3)]


def test_votes_of_an_older_round_do_not_count_and_the_sender_is_told_of_the_new_one() -> None:
    hand = Hand(2)
    hand.start()
    hand.hears(1, vote(1, round=7))
    outputs = hand.hears(3, vote(3, round=6))
    assert [told.round for told in sent(outputs, Notification, 3)] == [7]
    assert of(out.Follow, hand.passes(1)) == []


def test_a_newer_round_begins_the_election_anew() -> None:
    hand = Hand(2)
    hand.start()
    hand.hears(3, vote(3))
    (told,) = sent(hand.hears(1, vote(1, round=2)), Notification, 3)
    assert (told.leader, told.round) == (2, 2)  # its own vote again, which is the better one


def test_votes_of_observers_and_strangers_do_not_count() -> None:
    hand = Hand(1, configuration([1, 2, 3], [4]))
    hand.start()
    for stranger in (4, 9):
        outputs = hand.hears(stranger, vote(0)) + hand.hears(stranger, vote(3, epoch=9))
        assert [told.leader for told in sent(outputs, Notification)] == [1]  # who only learns gets an answer
    assert of(out.Follow, hand.passes(1)) == []


def test_a_vote_is_told_again_and_ever_more_rarely() -> None:
    hand = Hand(2)
    hand.start()
    waits = []
    for _ in range(5):
        waits.append(round(hand.peer.next_deadline() - hand.now, 3))
        assert sent(hand.passes(waits[-1] + 0.001), Notification, 1)
    assert waits == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.8], abs=0.01)


def test_a_new_vote_is_told_again_soon() -> None:
    hand = Hand(2)
    hand.start()
    hand.passes(3.0)
    hand.hears(1, vote(1, epoch=1))
    hand.hears(3, vote(3))  # of another opinion still
    assert hand.peer.next_deadline() - hand.now == pytest.approx(0.2)


def test_a_vote_is_told_to_who_can_be_reached_again() -> None:
    hand = Hand(2)
    hand.start()
    hand.peer.reachable(3, hand.now)
    assert [o.to for o in of(out.Send, hand.peer.take())] == [3]


def test_a_late_joiner_follows_whom_a_quorum_follows_and_who_leads() -> None:
    hand = Hand(5, FIVE)
    hand.start()
    following, leading = Notification.FOLLOWING, Notification.LEADING
    assert of(out.Follow, hand.hears(1, vote(3, round=4, state=following))) == []
    assert of(out.Follow, hand.hears(2, vote(3, round=9, state=following))) == []  # does 3 know?
    assert of(out.Follow, hand.hears(3, vote(3, round=4, state=leading))) == [out.Follow(3)]


def test_a_late_joiner_that_was_turned_away_does_not_come_back_at_once() -> None:
    hand = Hand(1, accepted_epoch=7)
    hand.start()
    assert of(out.Follow, hand.hears(3, vote(3, state=Notification.LEADING))) == [out.Follow(3)]
    hand.connected(3)
    hand.closed(3)
    assert of(out.Follow, hand.hears(3, vote(3, state=Notification.LEADING))) == []
    assert of(out.Follow, hand.passes(0.2)) == [out.Follow(3)]


def test_a_server_with_a_leader_answers_those_who_look() -> None:
    follower = Hand(1)
    follower.follows(3)
    (told,) = sent(follower.hears(2, vote(2)), Notification, 2)
    assert (told.leader, told.state) == (3, Notification.FOLLOWING)
    assert follower.hears(2, vote(2, state=Notification.FOLLOWING)) == []


def test_a_server_alone_is_a_quorum() -> None:
    hand = Hand(1, configuration([1]))
    hand.start()
    hand.saved_accepted(1)
    assert of(out.Ready, hand.saved_current(1)) == [out.Ready(1)]
    hand.proposes(b"v")
    assert of(out.Deliver, hand.logged(z(1, 1))) == [out.Deliver(z(1, 1))]


# Observers (of ZooKeeper: they learn, and do not vote)


def test_an_observer_does_not_vote_and_follows_who_leads() -> None:
    observer = Hand(4, configuration([1, 2, 3], [4]))
    (told,) = sent(observer.start(), Notification, 1)
    assert (told.leader, told.state) == (0, Notification.LOOKING)
    observer.hears(1, vote(3, state=Notification.FOLLOWING))
    assert of(out.Follow, observer.hears(3, vote(3, state=Notification.LEADING))) == [out.Follow(3)]
    assert sent(observer.connected(3), CEpoch) == [CEpoch(server=4, observer=True)]


def test_an_observer_is_informed_of_what_is_committed_only() -> None:
    leader = Hand(3, configuration([1, 2, 3], [4]))
    leader.leads(1, 2, observers=(4,))
    assert sent(leader.proposes(b"v"), Propose, 4) == []
    leader.logged(z(1, 1))
    outputs = leader.acknowledged(z(1, 1), 1)
    assert sent(outputs, Inform, 4) == [Inform(zxid=z(1, 1), transaction=b"v")]
    assert sent(outputs, Commit, 4) == []


def test_an_observer_appends_and_delivers_what_it_is_informed_of() -> None:
    observer = Hand(4, configuration([1, 2, 3], [4]))
    observer.start()
    observer.hears(1, vote(3, state=Notification.FOLLOWING))
    observer.hears(3, vote(3, state=Notification.LEADING))
    observer.connected(3)
    observer.hears(3, NewEpoch(epoch=1))
    observer.saved_accepted(1)
    observer.hears(3, Diff(), NewLeader(epoch=1, members=str(observer.peer.configuration)))
    observer.saved_current(1)
    observer.hears(3, CommitLeader())
    assert observer.peer.phase == "observing"
    assert observer.hears(3, Inform(zxid=z(1, 1), transaction=b"v")) == [
        out.Append(z(1, 1), b"v"),
        out.Deliver(z(1, 1)),
    ]


def test_an_observer_is_sent_what_is_committed_of_the_history() -> None:
    leader = Hand(3, configuration([1, 2, 3], [4]))
    leader.leads(1, 2)
    for _ in range(3):
        leader.proposes(b"v")
    leader.logged(z(1, 2))
    leader.acknowledged(z(1, 2), 1)
    leader.joins(4, observer=True)
    outputs = leader.hears(4, AckEpoch(promised=True))
    assert of(out.SendHistory, outputs) == [out.SendHistory(4, 0, z(1, 2))]


# What rides along


def test_what_is_not_zab_is_handed_on_in_phase_3_only() -> None:
    leader = Hand(3)
    leader.leads(1)
    leader.joins(2)
    forward = Forward(session=7)
    assert leader.hears(1, forward) == [out.Heard(1, forward)]
    assert leader.hears(2, forward) == []
    assert of(out.Lost, leader.closed(2)) == []
    assert of(out.Lost, leader.closed(1)) == [out.Lost(1)]


def test_a_server_that_is_stopped_does_nothing_any_more() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    leader.peer.stop("disk full", leader.now)
    assert leader.peer.take() == [out.Looking("disk full")]
    assert leader.hears(1, Ack(zxid=0)) + leader.passes(99) + leader.logged(z(1, 1)) == []
    with pytest.raises(NotLeading):
        leader.peer.propose(b"")


def test_a_learner_that_breaks_the_protocol_is_hung_up_on() -> None:
    leader = Hand(3)
    leader.leads(1, 2)
    assert of(out.Hangup, leader.hears(1, AckLeader(epoch=1)))
    assert of(out.Hangup, leader.hears(2, Ack(zxid=z(1, 5))))


def test_a_leader_that_breaks_the_protocol_is_left() -> None:
    follower = Hand(1)
    follower.follows(3)
    assert of(out.Looking, follower.hears(3, NewEpoch(epoch=9)))


def test_configurations_that_make_no_sense_end_nothing_but_the_iteration() -> None:
    follower = Hand(1)
    follower.follows(3)
    assert of(out.Looking, follower.hears(3, Propose(zxid=z(1, 1), members="nonsense")))
    assert follower.hears(2, vote(2, round=9, config=9, members="nonsense")) == []


# VI: the invariants are asserted


def test_invariant_1_a_proposal_of_another_epoch_is_not_accepted() -> None:
    follower = Hand(1)
    follower.follows(3)
    with pytest.raises(InvariantBroken, match=r"2\.1 would be accepted where f\.a is 1"):
        follower.hears(3, proposal(2, 1))


def test_invariant_2_a_gap_is_not_accepted() -> None:
    follower = Hand(1)
    follower.follows(3)
    with pytest.raises(InvariantBroken, match=r"1\.2 would be accepted right after 0\.0"):
        follower.hears(3, proposal(1, 2))


def test_invariant_4_an_initial_history_that_is_not_whole_is_not_acknowledged() -> None:
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    with pytest.raises(
        InvariantBroken, match=r"the leader's history ends at 1\.2, what arrived ends at 1\.1"
    ):
        follower.hears(3, Diff(), proposal(1, 1), NewLeader(epoch=4, zxid=z(1, 2), members=str(THREE)))


def test_what_was_delivered_is_not_truncated() -> None:
    follower = Hand(1, ends=(z(1, 3),), committed=z(1, 2))
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    with pytest.raises(InvariantBroken, match=r"1\.2 was delivered"):
        follower.hears(3, Truncate(zxid=z(1, 1)))


def test_a_history_is_cut_only_at_what_is_in_it() -> None:
    follower = Hand(1, ends=(z(1, 3), z(3, 1)))
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=4))
    follower.saved_accepted(4)
    with pytest.raises(InvariantBroken, match=r"cut at 2\.1, which is not in it"):
        follower.hears(3, Truncate(zxid=z(2, 1)))


def test_what_was_not_accepted_is_not_delivered() -> None:
    follower = Hand(1)
    follower.follows(3)
    with pytest.raises(InvariantBroken, match=r"1\.1 would be delivered"):
        follower.hears(3, Commit(zxid=z(1, 1)))


def test_what_is_recovered_must_not_contradict_itself() -> None:
    with pytest.raises(InvariantBroken, match="delivered"):
        Hand(1, committed=z(1, 5), ends=(z(1, 4),))
    with pytest.raises(InvariantBroken, match="purged"):
        Hand(1, ends=(z(1, 4),)).peer.purged(z(1, 2))
