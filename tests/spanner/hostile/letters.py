"""What strangers put into the mailbox of a spanserver: Paxos messages that are rubbish, or not theirs.

A member of a group is believed (a forged vote of a member is a vote: real clusters let nobody in without
their token). But what no member could have sent is dropped, whoever sends it: bytes that are no message,
timestamps that no lease reaches, numbers that are none.
"""

from __future__ import annotations

import random

from protos import spanner_pb2 as pb
from services.spanner.paxos import messages
from tests.spanner.hostile.mutate import BYTES, INTEGERS, packed
from tests.spanner.hostile.requests import BANK, NOBODYS, OTHERS

FAR = 1 << 61  # a timestamp in the year 2043: no lease reaches it
ENTRY = messages.LogEntry(1024, FAR, b"value")
UNIVERSE = b"universe".hex()


def deliver(rng: random.Random, to: str) -> tuple[tuple[tuple[str, str], ...], pb.Letters]:
    """Returns a stream's metadata, and letters that must have no effect."""
    if rng.random() < 0.5:
        return _metadata(rng, rng.choice(("s9", "operator", "S1", "s1 ", "x" * 300))), pb.Letters(
            letters=[
                pb.Letter(group=_group(rng), message=_anything(rng)) for _ in range(rng.randrange(1, 5))
            ],
            answer=rng.random() < 0.5,
        )
    member = rng.choice([name for name in ("s1", "s2", "s3") if name != to])
    metadata = (("universe", UNIVERSE), ("server", member), ("incarnation", "0"))
    wrong = [pb.Letter(group=_group(rng), message=absurd(rng)) for _ in range(rng.randrange(1, 5))]
    return metadata, pb.Letters(letters=wrong, answer=rng.random() < 0.5)


def _metadata(rng: random.Random, server: str) -> tuple[tuple[str, str], ...]:
    universe = rng.choice((UNIVERSE, UNIVERSE, UNIVERSE, b"other".hex(), "", "zz"))
    incarnation = rng.choice(("0", "0", "0", "7", "-1", "", "x", "9" * 4000))
    whole = [("universe", universe), ("server", server), ("incarnation", incarnation)]
    if rng.random() < 0.1:
        del whole[rng.randrange(3)]
    return tuple(whole)


def _group(rng: random.Random) -> int:
    return rng.choice((*BANK, *OTHERS, NOBODYS, 99, (1 << 32) - 1))


def _message(rng: random.Random) -> messages.Message:
    def number() -> int:
        return rng.choice(INTEGERS)

    made: tuple[messages.Message, ...] = (
        messages.Prepare(number(), number(), number()),
        messages.Promise(number(), number(), number(), number(), number()),
        messages.Refuse(number(), number(), number(), number()),
        messages.Accept(number(), number(), number(), number(), (ENTRY,), number(), number(), number()),
        messages.Accepted(number(), number(), number()),
        messages.Learn(number(), number(), number(), number(), number()),
        messages.Quiet(number()),
        messages.Release(number(), "s1"),
        messages.Fetch(number(), number()),
        messages.History(number(), number(), (ENTRY,)),
        messages.Behind(number(), number(), number(), number()),
        messages.Ask(number(), number(), True),
        messages.Elsewhere("s1"),
    )
    return rng.choice(made)


def _anything(rng: random.Random) -> bytes:
    data = messages.encode(_message(rng))
    return packed(data, rng) if rng.random() < 0.5 else data


def absurd(rng: random.Random) -> bytes:
    """Returns what no member could have sent."""
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(BYTES)
    if draw < 0.4:
        return b"\x92\x0d" + rng.choice((b"\xa2\xff\xfe", b"\xa1\x80", b"\xc0", b"\x01"))  # Elsewhere
    ballot = 1 << 12 | rng.randrange(3)  # of each member's, also of the sender's
    far = rng.choice((FAR, FAR + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
    huge = rng.choice((1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
    below = messages.LogEntry(ballot, 5, b"a")
    return messages.encode(
        rng.choice(
            (
                messages.Accept(ballot, 0, 0, 0, (messages.LogEntry(ballot, far, b"x"),), 1, 0),
                messages.Accept(ballot, 0, 0, 0, (), 0, 0, far),
                messages.Accept(ballot, 0, 3, 1024, (below, below), 0, 0),
                messages.Accept(huge, 0, 0, 0, (), 0, 0),
                messages.Accept(ballot, 0, huge, 0, (), 0, 0),
                messages.Accept(ballot, 0, -1, 0, (below,), 0, 0),
                messages.Prepare(huge, 5),
                messages.Prepare(huge | rng.randrange(3), 5, huge),
                messages.Refuse(ballot, huge, 0, 0),
                messages.Refuse(-1, huge, huge, far),
                messages.Promise(ballot, 0, huge, 5, 5),
                messages.Promise(ballot, 0, 0, huge, huge),
                messages.Accepted(ballot, 0, huge),
                messages.Accepted(ballot, huge, 5),
                messages.Learn(ballot, 0, 0, 0, far),
                messages.Learn(ballot, huge, ballot),
                messages.Fetch(ballot, -5),
                messages.History(ballot, 0, (messages.LogEntry(ballot, far, b"x"),)),
                messages.Behind(ballot, huge, 7, ballot),
                messages.Behind(ballot, 1 << 30, far, ballot),
                messages.Ask(far, 0, False),
                messages.Ask(0, huge, False),
            )
        )
    )
