"""Messages gone wrong: protobuf messages with changed fields, MessagePack inside them too, and bytes.

One change at a time mostly: what is wrong in one place gets past the checks of all others.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

INTEGERS = (0, 1, 2, 3, 6, 7, 127, 128, 1 << 16, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, (1 << 62),
            (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1)  # fmt: skip
TEXTS = ("", "x", "s1", "s9", "Scratch", "Nothing", "Id", "Word", "\0", "ä" * 200, "x" * 5000, "a\nb", "🦊")
BYTES = (b"", b"\0", b"\xff", b"\xff" * 20, b"\xc1", b"\x90", b"\x91\x90", b"\x91\x92\x01\xa1x",
         b"\xa2\xff\xfe", b"\xdd\xff\xff\xff\xff", b"\x91" * 3000, b"\x81\x01\x02", b"x" * 9000)  # fmt: skip
VALUES = (None, True, False, -1, 0, 1, 1 << 63, -(1 << 63), 1.5, float("nan"), float("inf"), "", "x", "1",
          "y" * 3000, b"", b"\xff", [], [[]], [1], {}, {"a": 1}, {1: 2})  # fmt: skip


def broken(message: Message, rng: random.Random) -> bytes:
    """Returns a message's bytes with something wrong with them, or perhaps not: some are still valid."""
    whole = message.SerializeToString()
    draw = rng.random()
    if draw < 0.05:
        return whole
    if draw < 0.10:
        return rng.randbytes(rng.randrange(60))
    if draw < 0.20:
        return _bytes(whole, rng)
    if draw < 0.30:
        fill(message, rng, rng.randrange(1, 5))
        return message.SerializeToString()
    for _ in range(1 if draw < 0.8 else rng.randrange(2, 6)):
        change(message, rng)
    return message.SerializeToString()


def change(message: Message, rng: random.Random) -> None:
    """Changes one field of a message, or of one inside it."""
    places = list(_places(message))
    if not places:
        fill(message, rng, 1)
        return
    inside, field = rng.choice(places)
    if rng.random() < 0.15:
        inside.ClearField(field.name)
        return
    if field.is_repeated:
        values = getattr(inside, field.name)
        draw = rng.random()
        if draw < 0.3 and len(values):
            values.extend([values[rng.randrange(len(values))]] * rng.choice((1, 1, 3, 300)))
        elif draw < 0.5 and len(values):
            del values[rng.randrange(len(values))]
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if len(values) and draw < 0.8:
                change(values[rng.randrange(len(values))], rng)
            else:
                fill(values.add(), rng, 2)
        elif len(values) and draw < 0.8:
            at = rng.randrange(len(values))
            values[at] = _value(field, values[at], rng)
        else:
            values.append(_value(field, None, rng))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        change(getattr(inside, field.name), rng)
    else:
        setattr(inside, field.name, _value(field, getattr(inside, field.name), rng))


def fill(message: Message, rng: random.Random, depth: int) -> None:
    """Fills a message with anything."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.5:
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth:
                inner = getattr(message, field.name)
                fill(inner.add() if field.is_repeated else inner, rng, depth - 1)
                if not field.is_repeated:
                    inner.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(_value(field, None, rng) for _ in range(rng.randrange(4)))
        else:
            setattr(message, field.name, _value(field, None, rng))


def packed(data: bytes, rng: random.Random) -> bytes:
    """Returns MessagePack with something wrong with it."""
    draw = rng.random()
    try:
        value = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _bytes(data, rng)
    if draw < 0.25:
        return _bytes(data, rng)
    if draw < 0.35:
        return rng.choice(BYTES)
    try:
        return msgspec.msgpack.encode(_within(value, rng))
    except (TypeError, OverflowError, RecursionError):
        return data


def _within(value: Any, rng: random.Random) -> Any:
    """Returns a value with one place in it changed."""
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        draw = rng.random()
        if draw < 0.1:
            return value[:at] + value[at + 1 :]
        if draw < 0.2:
            return [*value, value[at]]
        return [*value[:at], _within(value[at], rng), *value[at + 1 :]]
    if isinstance(value, dict) and value and rng.random() < 0.85:
        at = rng.choice(list(value))
        return {**value, at: _within(value[at], rng)}
    if isinstance(value, int) and rng.random() < 0.6:
        return rng.choice((value + 1, value - 1, -value, *INTEGERS))
    return rng.choice(VALUES)


def _places(message: Message) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for one in value if field.is_repeated else (value,):
                yield from _places(one)


def _value(field: FieldDescriptor, now: Any, rng: random.Random) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_ENUM:
            most = (1 << 32) - 1 if field.cpp_type == FieldDescriptor.CPPTYPE_UINT32 else (1 << 31) - 1
            return min(_integer(now, rng), most)
        case FieldDescriptor.CPPTYPE_UINT64:
            return _integer(now, rng)
        case FieldDescriptor.CPPTYPE_INT64:
            return min(_integer(now, rng), (1 << 63) - 1)
        case FieldDescriptor.CPPTYPE_BOOL:
            return not now
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return rng.choice((0.0, -1.0, 1e300, float("nan"), float("inf")))
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(TEXTS)
    return packed(now, rng) if now and rng.random() < 0.7 else rng.choice(BYTES)


def _integer(now: Any, rng: random.Random) -> int:
    if now and rng.random() < 0.4:
        return max(0, min((1 << 64) - 1, now + rng.choice((-1, 1, -(10**9), 10**9, 10**13, -(10**13)))))
    return rng.choice(INTEGERS)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with some changed, cut off or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(changed) + 1)
        draw = rng.random()
        if draw < 0.5 and changed:
            changed[at - 1] ^= 1 << rng.randrange(8)
        elif draw < 0.7:
            del changed[at:]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(changed)
