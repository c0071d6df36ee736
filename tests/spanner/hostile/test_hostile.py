"""Bad and hostile input at a running universe: a clear status; no crash, wrong read or lost commit."""

from __future__ import annotations

import random

import msgspec
import pytest

from services.spanner.paxos import messages
from services.spanner.paxos.plausible import plausible
from services.spanner.statuses import LONGEST, line
from sim import run
from tests.spanner.hostile.hunt import hostile
from tests.spanner.hostile.letters import FAR, absurd
from tests.spanner.hostile.refused import collected, refused

NOW, LEASE = 1_800_000_000_000_000_000, 10_000_000_000


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_messages_at_every_call(seed):
    summary = run(hostile, {"cases": 400}, seed=seed)
    assert summary.verdict == "pass", (summary.checks, summary.error)


def test_hostile_messages_at_real_processes():
    summary = run(hostile, {"cases": 100}, world="grpc", seed=3)
    assert summary.verdict == "pass", (summary.checks, summary.error)


@pytest.mark.parametrize("world", ["sim", "grpc"])
def test_what_cannot_be_is_refused_by_name(world):
    summary = run(refused, world=world)
    assert summary.verdict == "pass", (summary.checks, summary.error)


def test_versions_that_are_not_kept_are_refused():
    summary = run(collected)
    assert summary.verdict == "pass", (summary.checks, summary.error)


def test_absurd_messages_are_no_messages_or_implausible():
    rng = random.Random(1)
    for _ in range(2000):
        data = absurd(rng)
        try:
            message = messages.decode(data)
        except msgspec.DecodeError:
            continue
        assert not plausible(message, NOW, LEASE), message


def test_what_a_leader_says_in_its_lease_is_plausible():
    soon = NOW + LEASE - 1
    entries = (messages.LogEntry(1024, NOW, b"a"), messages.LogEntry(1024, soon, b"b"))
    for message in (
        messages.Accept(1024, NOW, 0, 0, entries, 0, 0, soon),
        messages.Learn(1024, 5, 1024, 5, soon),
        messages.History(1024, 0, entries),
        messages.Behind(1024, 5, soon, 1024),
        messages.Ask(soon, 5),
        messages.Promise(1024, NOW, 1024, 5, 5),
        messages.Accepted(1024, NOW, 5),
    ):
        assert plausible(messages.decode(messages.encode(message)), NOW, LEASE)
    assert not plausible(messages.Accept(1024, 0, 0, 0, (messages.LogEntry(1, FAR, b""),), 0, 0), NOW, LEASE)


def test_a_text_that_is_none_is_no_message():
    with pytest.raises(msgspec.DecodeError):
        messages.decode(b"\x92\x0d\xa2\xff\xfe")


def test_a_refusal_is_a_line_of_bounded_length():
    assert line("no a\nb") == "no a\\nb"
    assert line("no ä") == "no ä"
    assert len(line("x" * 100_000)) == LONGEST
