"""Schedules in words."""

from __future__ import annotations

import random

import pytest

from sim.explore.swarm import swarm
from sim.explore.words import describe, sentence
from sim.faults import KINDS, Action, ClockJump, Crash, Cut, Partition


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(1.2, Crash(host="b"), lasts=0.8), "at 1.2 s, host b crashes; at 2 s it restarts"),
        (Action(1.2, Crash(host="b")), "at 1.2 s, host b crashes, until the end"),
        (
            Action(0.5, Partition(groups=[["a"], ["b", "c"]]), lasts=1.0),
            "at 0.5 s, the network splits: a | b, c; at 1.5 s it heals",
        ),
        (
            Action(3.0, Cut(source="a", target="b", both=False), lasts=1.0),
            "at 3 s, the link from a to b (one way) is cut; at 4 s it heals",
        ),
        (Action(3.0, ClockJump(host="a", seconds=-2.0)), "at 3 s, the clock of host a jumps by -2 s"),
    ],
)
def test_an_action_is_a_sentence(action, words):
    assert sentence(action) == words


def test_sentences_come_in_the_order_of_time():
    late, early = Action(2.0, Crash(host="a"), lasts=1.0), Action(1.0, Crash(host="b"), lasts=0.5)
    assert describe([late, early]) == [sentence(early), sentence(late)]


def test_every_kind_of_fault_has_words():
    for kind in KINDS:
        for action in swarm(random.Random(1), ["h1", "h2"], seconds=10, kinds=[kind]):
            words = sentence(action)
            assert all(host in words for host in action.fault.hosts())
            assert "{" not in words
