"""Dynamic reconfiguration: quorums of both configurations, until the new one is delivered and holds.

Zab has none; the rules are those of ZooKeeper (Shraer, Reed, Malkhi, Junqueira: "Dynamic reconfiguration of
primary/backup clusters", USENIX ATC 2012).
"""

from __future__ import annotations

import pytest

from protos.coordination_pb2 import (
    AckEpoch,
    AckLeader,
    Commit,
    Diff,
    Inform,
    NewEpoch,
    NewLeader,
    Notification,
    Propose,
    Truncate,
)
from services.coordination.configuration import Configuration
from services.coordination.zab import outputs as out
from tests.coordination.zab.by_hand import THREE, Hand, of, sent, vote, z
from tests.coordination.zab.ensemble import configuration

FIVE = configuration([1, 2, 3, 4, 5])
LEADING, FOLLOWING = Notification.LEADING, Notification.FOLLOWING


def at(members: Configuration, zxid: int) -> Configuration:
    """Returns the configuration that the transaction `zxid` makes."""
    return Configuration(members.members, zxid)


def leader_with_joiners(*joiners: int) -> Hand:
    """Returns leader 3 of {1, 2, 3}, with others that only learn so far."""
    leader = Hand(3)
    leader.leads(1, 2)
    for server in joiners:
        leader.joins(server)
        leader.hears(server, AckEpoch(promised=True), AckLeader(epoch=1))
    return leader


def test_a_proposal_carries_the_configuration_that_it_makes() -> None:
    leader = leader_with_joiners(4, 5)
    members = str(at(FIVE, z(1, 1)))
    outputs = leader.proposes(b"r", FIVE)
    assert of(out.Append, outputs) == [out.Append(z(1, 1), b"r", members)]
    assert sent(outputs, Propose, 4) == [Propose(zxid=z(1, 1), transaction=b"r", members=members)]
    assert leader.peer.configuration == THREE
    assert leader.peer.reconfiguring == at(FIVE, z(1, 1))


def test_it_is_committed_by_quorums_of_both_configurations() -> None:
    leader = leader_with_joiners(4, 5)
    leader.proposes(b"r", FIVE)
    leader.logged(z(1, 1))
    assert of(out.Deliver, leader.acknowledged(z(1, 1), 1)) == []  # of {1, 2, 3} only
    assert of(out.Deliver, leader.acknowledged(z(1, 1), 4)) == [out.Deliver(z(1, 1))]
    other = leader_with_joiners(4, 5)
    other.proposes(b"r", FIVE)
    assert of(out.Deliver, other.acknowledged(z(1, 1), 2, 4, 5)) == []  # of {1, ..., 5} only
    assert of(out.Deliver, other.acknowledged(z(1, 1), 1)) == [out.Deliver(z(1, 1))]


def test_what_is_proposed_before_it_needs_the_old_quorum_and_what_comes_after_the_new_one() -> None:
    leader = leader_with_joiners(4, 5)
    leader.proposes(b"before")
    leader.proposes(b"r", FIVE)
    leader.proposes(b"after")
    leader.logged(z(1, 3))
    assert of(out.Deliver, leader.acknowledged(z(1, 3), 1)) == [out.Deliver(z(1, 1))]
    assert of(out.Deliver, leader.acknowledged(z(1, 2), 4)) == [out.Deliver(z(1, 2))]
    assert of(out.Deliver, leader.acknowledged(z(1, 3), 5)) == [out.Deliver(z(1, 3))]


def test_it_holds_from_its_delivery_on() -> None:
    leader = leader_with_joiners(4, 5)
    leader.proposes(b"r", FIVE)
    leader.logged(z(1, 1))
    outputs = leader.acknowledged(z(1, 1), 1, 4)
    assert outputs[1:3] == [out.Deliver(z(1, 1)), out.Activated(at(FIVE, z(1, 1)))]
    assert leader.peer.configuration == at(FIVE, z(1, 1))
    leader.proposes(b"v")
    leader.logged(z(1, 2))
    assert of(out.Deliver, leader.acknowledged(z(1, 2), 1)) == []  # no quorum of the five


def test_a_second_one_has_to_wait() -> None:
    leader = leader_with_joiners(4, 5)
    leader.proposes(b"r", FIVE)
    with pytest.raises(ValueError, match="another reconfiguration is under way"):
        leader.peer.propose(b"s", THREE)


def test_a_leader_knows_whether_a_quorum_of_another_configuration_takes_part() -> None:
    leader = leader_with_joiners(4)
    assert leader.peer.quorum_of(FIVE)
    assert not leader.peer.quorum_of(configuration([4, 5, 6]))


def test_a_leader_that_is_no_participant_any_more_tells_that_it_is_committed_and_steps_down() -> None:
    leader = leader_with_joiners()
    leader.proposes(b"r", configuration([1, 2]))
    outputs = leader.acknowledged(z(1, 1), 1, 2)
    assert sent(outputs, Commit, 1) == [Commit(zxid=z(1, 1))]
    assert of(out.Looking, outputs) == [out.Looking("this server is no participant any more")]
    (told,) = sent(outputs, Notification, 1)
    assert told.leader == 0  # and votes no more


def test_the_leaders_own_log_may_be_what_makes_it_step_down() -> None:
    leader = Hand(3, configuration([1, 3]))
    leader.leads(1)
    leader.proposes(b"r", configuration([1]))
    assert leader.acknowledged(z(1, 1), 1) == []
    outputs = leader.logged(z(1, 1))
    assert of(out.Deliver, outputs) == [out.Deliver(z(1, 1))]
    assert of(out.Looking, outputs)


def test_an_observer_that_is_to_vote_and_is_being_synchronized_misses_nothing() -> None:
    leader = Hand(3, configuration([2, 3], [1]))
    leader.leads(2)
    leader.joins(1, observer=True)
    leader.hears(1, AckEpoch(promised=True))  # NEWLEADER is under way to it
    leader.proposes(b"v")
    outputs = leader.proposes(b"r", configuration([1, 3]))
    assert [message.zxid for message in sent(outputs, Propose, 1)] == [z(1, 1), z(1, 2)]


def test_an_observer_that_is_to_vote_is_sent_is_sent_proposals_and_its_acks_count() -> None:
    leader = Hand(3, configuration([2, 3], [1]))
    leader.leads(2, observers=(1,))
    leader.proposes(b"v")
    outputs = leader.proposes(b"r", configuration([1, 3]))
    assert [message.zxid for message in sent(outputs, Propose, 1)] == [z(1, 1), z(1, 2)]
    leader.logged(z(1, 2))
    assert of(out.Deliver, leader.acknowledged(z(1, 2), 2)) == [out.Deliver(z(1, 1))]
    outputs = leader.acknowledged(z(1, 2), 1)
    assert of(out.Deliver, outputs) == [out.Deliver(z(1, 2))]
    assert sent(outputs, Inform, 1) == []
    assert sent(outputs, Commit, 1) == [Commit(zxid=z(1, 2))]


def test_a_follower_that_becomes_an_observer_stays_and_does_not_count() -> None:
    leader = leader_with_joiners()
    leader.proposes(b"r", configuration([2, 3], [1]))
    leader.logged(z(1, 1))
    assert of(out.Deliver, leader.acknowledged(z(1, 1), 2))
    leader.proposes(b"v")
    leader.logged(z(1, 2))
    assert of(out.Deliver, leader.acknowledged(z(1, 2), 1)) == []
    follower = Hand(1)
    follower.follows(3)
    members = str(at(configuration([2, 3], [1]), z(1, 1)))
    follower.hears(3, Propose(zxid=z(1, 1), transaction=b"r", members=members), Commit(zxid=z(1, 1)))
    assert follower.peer.phase == "observing"


def test_a_new_leader_needs_quorums_of_a_configuration_that_may_be_committed_too() -> None:
    change = at(configuration([3, 4, 5]), z(1, 1))
    leader = Hand(3, accepted_epoch=1, current_epoch=1, ends=(z(1, 1),), reconfigurations=(change,))
    leader.nominated(3)
    assert sent(leader.joins(1, promised=1), NewEpoch) == []  # a quorum of {1, 2, 3}
    assert sent(leader.joins(4, promised=1), NewEpoch, 4) == [NewEpoch(epoch=2)]  # and of {3, 4, 5}
    leader.saved_accepted(2)
    accepted = AckEpoch(current=1, zxid=z(1, 1), promised=True)
    assert sent(leader.hears(1, accepted), NewLeader) == []
    assert sent(leader.hears(4, accepted), NewLeader)
    leader.saved_current(2)
    assert of(out.Ready, leader.hears(1, AckLeader(epoch=2))) == []
    outputs = leader.hears(4, AckLeader(epoch=2))
    assert of(out.Activated, outputs) == [out.Activated(change)]
    assert of(out.Ready, outputs) == [out.Ready(2)]


def test_a_leader_that_is_not_in_the_configuration_it_commits_first_of_all_does_not_propose() -> None:
    change = at(configuration([1, 2]), z(1, 1))
    leader = Hand(3, accepted_epoch=1, current_epoch=1, ends=(z(1, 1),), reconfigurations=(change,))
    leader.nominated(3)
    for server in (1, 2):
        leader.joins(server, promised=1)
    leader.saved_accepted(2)
    for server in (1, 2):
        leader.hears(server, AckEpoch(current=1, zxid=z(1, 1), promised=True))
    leader.saved_current(2)
    outputs = leader.hears(1, AckLeader(epoch=2)) + leader.hears(2, AckLeader(epoch=2))
    assert of(out.Activated, outputs) == [out.Activated(change)]
    assert of(out.Ready, outputs) == []
    assert of(out.Looking, outputs)


def test_all_configurations_in_a_log_but_the_last_hold_already() -> None:
    first, second = at(configuration([1, 2]), z(1, 1)), at(configuration([1]), z(1, 2))
    hand = Hand(1, ends=(z(1, 2),), reconfigurations=(first, second))
    told = hand.start()
    assert [output.to for output in of(out.Send, told)] == [2]  # not 3, which is in neither


def test_a_configuration_that_is_truncated_counts_no_more() -> None:
    follower = Hand(1, ends=(z(1, 1),), reconfigurations=(at(FIVE, z(1, 1)),))
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=2))
    follower.saved_accepted(2)
    follower.hears(3, Truncate(zxid=0))
    assert follower.peer.reconfiguring is None


def test_members_of_a_configuration_that_may_be_committed_can_be_elected() -> None:
    """One of them may be the only one that has all; found by a schedule in which nobody could lead."""
    change = at(configuration([1, 8]), z(1, 1))
    old = Hand(1, configuration([1]), ends=(z(1, 1),), reconfigurations=(change,))
    old.start()
    outputs = old.hears(8, vote(8, zxid=z(1, 2)))
    assert {told.leader for told in sent(outputs, Notification, 8)} == {8}
    assert of(out.Follow, outputs) == [out.Follow(8)]
    new = Hand(8, configuration([1]), ends=(z(1, 2),), reconfigurations=(change,))
    new.start()
    assert sent(new.hears(1, vote(8, zxid=z(1, 2))), Notification, 1)[-1].state == LEADING


def test_a_vote_for_a_stranger_by_a_voter_counts() -> None:
    """It may be of a configuration that this server does not know yet."""
    hand = Hand(2)
    hand.start()
    outputs = hand.hears(1, vote(8, zxid=z(1, 2)))
    assert {output.to for output in of(out.Send, outputs)} == {1, 3, 8}


def test_a_joining_server_learns_the_configuration_and_does_not_vote() -> None:
    hand = Hand(4, configuration([1, 2, 3, 4]))
    hand.start()
    known = at(THREE, z(1, 5))
    outputs = hand.hears(
        1, vote(3, state=FOLLOWING, config=known.version, members=str(known)), vote(3, state=FOLLOWING)
    )
    assert out.Activated(known) in outputs
    assert hand.peer.configuration == known
    assert [told.leader for told in sent(outputs, Notification, 1)] == [0]
    assert of(out.Follow, hand.hears(3, vote(3, state=LEADING))) == [out.Follow(3)]


def test_a_member_with_an_old_configuration_learns_the_new_one_from_votes() -> None:
    hand = Hand(1)
    hand.start()
    known = at(FIVE, z(1, 5))
    outputs = hand.hears(2, vote(2, config=known.version, members=str(known)))
    assert {output.to for output in of(out.Send, outputs)} == {2, 3, 4, 5}


def test_a_follower_with_an_old_configuration_learns_the_new_one_from_its_leader() -> None:
    known = at(FIVE, z(1, 5))
    follower = Hand(1)
    follower.nominated(3)
    follower.connected(3)
    follower.hears(3, NewEpoch(epoch=1))
    follower.saved_accepted(1)
    outputs = follower.hears(3, Diff(), NewLeader(epoch=1, config=known.version, members=str(known)))
    assert outputs == [out.Activated(known), out.SaveCurrentEpoch(1)]


def test_two_who_do_not_agree_on_who_votes_do_not_answer_each_other_for_ever() -> None:
    """Found by a schedule: 6 knows of a configuration in which it votes, and 3 does not."""
    change = at(configuration([1, 2, 3, 6]), z(1, 1))
    new = Hand(6, THREE, ends=(z(1, 1),), reconfigurations=(change,))
    old = Hand(3, THREE)
    new.start()
    old.start()
    new.hears(1, vote(1, round=4))
    to_old, to_new = sent(new.hears(1, vote(2, round=4, epoch=1)), Notification, 3), [vote(3)]
    for _ in range(9):
        to_new = sent(old.hears(6, *to_old), Notification, 6)
        to_old = sent(new.hears(3, *to_new), Notification, 3)
    assert to_old == to_new == []
