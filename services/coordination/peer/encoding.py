"""Messages between servers as bytes.

A `FromLeader` that holds several messages is the concatenation of those that hold one each (protobuf: so
it is with repeated fields). So a proposal is encoded once, whomever it goes to and whatever it travels with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.coordination_pb2 import FromLeader, FromLearner, LeaderMessage, LearnerMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTES = 2  # wire type of what has a length


def _tags(wrapper: Any) -> dict[type, bytes]:
    """Returns the tag of each kind of message in its `oneof`."""
    return {
        field.message_type._concrete_class: bytes([field.number << 3 | _BYTES])
        for field in wrapper.DESCRIPTOR.fields
    }


_TAGS = {**_tags(LearnerMessage), **_tags(LeaderMessage)}
_MESSAGES = bytes([FromLeader.MESSAGES_FIELD_NUMBER << 3 | _BYTES])  # the same in `FromLearner`


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


_SHORT = [_varint(number) for number in range(1 << 12)]


def encode(message: Any) -> bytes:
    """Returns a `FromLeader` or `FromLearner`, whichever can hold it, with this message."""
    body = message.SerializeToString()
    size = len(body)
    inner = _TAGS[type(message)] + (_SHORT[size] if size < 1 << 12 else _varint(size))
    size += len(inner)
    outer = _SHORT[size] if size < 1 << 12 else _varint(size)
    return b"".join((_MESSAGES, outer, inner, body))


def messages(batch: FromLeader | FromLearner) -> Iterator[Any]:
    """Yields the messages; those of a kind that is not known here are passed over."""
    for wrapped in batch.messages:
        kind = wrapped.WhichOneof("kind")
        if kind is not None:
            yield getattr(wrapped, kind)
