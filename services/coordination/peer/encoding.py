"""Messages between servers as bytes.

A `FromLeader` that holds several messages is the concatenation of those that hold one each (protobuf: so
it is with repeated fields). So a proposal is encoded once, whomever it goes to and whatever it travels with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.coordination_pb2 import FromLeader, FromLearner, LeaderMessage, LearnerMessage
from services.parts import tag, varint

if TYPE_CHECKING:
    from collections.abc import Iterator


def _tags(wrapper: Any) -> dict[type, bytes]:
    """Returns the tag of each kind of message in its `oneof`."""
    return {field.message_type._concrete_class: tag(field.number) for field in wrapper.DESCRIPTOR.fields}


_TAGS = {**_tags(LearnerMessage), **_tags(LeaderMessage)}
_MESSAGES = tag(FromLeader.MESSAGES_FIELD_NUMBER)  # the same in `FromLearner`


def encode(message: Any) -> bytes:
    """Returns a `FromLeader` or `FromLearner`, whichever can hold it, with this message."""
    body = message.SerializeToString()
    inner = _TAGS[type(message)] + varint(len(body))
    return b"".join((_MESSAGES, varint(len(inner) + len(body)), inner, body))


def messages(batch: FromLeader | FromLearner) -> Iterator[Any]:
    """Yields the messages; those of a kind that is not known here are passed over."""
    for wrapped in batch.messages:
        kind = wrapped.WhichOneof("kind")
        if kind is not None:
            yield getattr(wrapped, kind)
