"""Where a record is on which a task's process died: it could not say so itself (4.6)."""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING

from services.mapreduce.code import load
from services.mapreduce.hints import Codec
from services.mapreduce.tasks.execution import BUFFER_BYTES, SHARE
from services.mapreduce.tasks.merge import Merge, key_of
from services.mapreduce.tasks.order import STREAMING
from services.mapreduce.tasks.segment import runs_of

if TYPE_CHECKING:
    from services.child import Inside, Storage
    from services.mapreduce.tasks.order import Order


def place_of(inside: Inside, order: Order, view: Storage, number: int) -> str:
    """Returns a map record's file and byte offset, or a reduce group's key; "" when it is not found.

    The user's map and reduce are not called; input types are.
    """
    if order.code[0].startswith(STREAMING):
        return ""
    return _of_record(order, view, number) if order.split else _of_group(inside, order, number)


def _of_record(order: Order, view: Storage, number: int) -> str:
    source = load(order.code).input
    at = -1
    for piece in order.split:
        first = at + 1
        for key, _ in source.read(piece, view):
            at += 1
            if at == number:
                return source.place(piece, view, key, number - first)
    return ""


def _of_group(inside: Inside, order: Order, number: int) -> str:
    codec = Codec(load(order.code).types)
    runs = [run for path in order.segments for run in runs_of(path, inside.disk)]
    memory = int(order.memory_bytes * SHARE) or BUFFER_BYTES
    scratch = f"{order.job}/reduce-{order.number:05}.{order.attempt}.place"
    with Merge(inside.disk, codec, memory, scratch) as merge:
        pairs = chain.from_iterable(merge.blocks(runs))
        for at, (key, _) in enumerate(groupby(pairs, key_of)):
            if at == number:
                return repr(key)[:200]
    return ""
