"""Messages as bytes: what protobuf itself makes of them."""

from __future__ import annotations

import pytest

from protos.coordination_pb2 import FromLeader, FromLearner, LeaderMessage, LearnerMessage, Propose
from services.coordination.peer.encoding import encode, messages

KINDS = [
    (batch, wrapper, field.name, field.message_type._concrete_class)
    for batch, wrapper in ((FromLeader, LeaderMessage), (FromLearner, LearnerMessage))
    for field in wrapper.DESCRIPTOR.fields
]


@pytest.mark.parametrize(("batch", "wrapper", "name", "kind"), KINDS, ids=lambda value: str(value)[:30])
def test_one_message_of_each_kind(batch: type, wrapper: type, name: str, kind: type) -> None:
    message = kind()
    whole = batch(messages=[wrapper(**{name: message})])
    assert encode(message) == whole.SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 4080, 4090, 4100, 20_000, 3_000_000])
def test_those_of_a_batch_are_put_one_after_the_other(size: int) -> None:
    sent = [Propose(zxid=number, transaction=b"x" * size, members="m") for number in (1, 1 << 40)]
    batch = FromLeader.FromString(b"".join(map(encode, sent)))
    assert list(messages(batch)) == sent


def test_a_kind_that_is_not_known_is_passed_over() -> None:
    unknown = FromLeader.FromString(b"\x0a\x03\xfa\x07\x00" + encode(Propose(zxid=1)))
    assert list(messages(unknown)) == [Propose(zxid=1)]
