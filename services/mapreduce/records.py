"""What happens to data: splits, the partition function, map, combine, sort, reduce.

Pure functions, run through `Host.compute` (in the real world, in a worker process): bytes in,
bytes out. Intermediate pairs travel as MessagePack, one list of (key, value) a region.
"""

from __future__ import annotations

import heapq
import importlib
import zlib
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Pair: TypeAlias = tuple[Any, Any]
Pieces: TypeAlias = list[tuple[str, int, int]]  # (path, offset, size): one split

_BYTES_AS_TEXT = 1  # extension type of a str that holds bytes which are no UTF-8


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_escape(value))


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return value if data.isascii() else msgspec.msgpack.Ext(_BYTES_AS_TEXT, data)
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    return value


def _unescape(code: int, data: memoryview) -> Any:
    if code != _BYTES_AS_TEXT:
        raise ValueError(f"unknown extension type {code} in intermediate data")
    return bytes(data).decode("utf-8", "surrogateescape")


_encoder = msgspec.msgpack.Encoder()
_decode = msgspec.msgpack.Decoder(list[tuple[Any, Any]], ext_hook=_unescape).decode


def user_function(name: str) -> Callable[..., Iterable[Any]]:
    """Finds a function of the user's by "module:function".

    Raises:
        ValueError: there is none of that name.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Iterable[Any]] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ValueError(f"no such function: {name!r} ({exc})") from exc
    return found


def plan_splits(files: Iterable[tuple[str, int]], split_bytes: int) -> list[Pieces]:
    """Cuts the input into M splits of about `split_bytes` (3.1 step 1).

    Large files are cut (a record that crosses the cut belongs to the split in which it begins);
    small ones share a split.
    """
    splits: list[Pieces] = []
    current: Pieces = []
    room = split_bytes
    for path, size in files:
        offset = 0
        while offset < size:
            take = min(room, size - offset)
            current.append((path, offset, take))
            offset += take
            room -= take
            if room == 0:
                splits.append(current)
                current, room = [], split_bytes
    if current:
        splits.append(current)
    return splits


def partition(key: Any, reduces: int) -> int:
    """The default partition function, hash(key) mod R (4.1); the same in every process."""
    return zlib.crc32(_encode(key)) % reduces


def map_split(
    mapper: str, combiner: str, reduces: int, texts: list[tuple[str, int, bytes]]
) -> tuple[list[bytes], int]:
    """Executes a map task (3.1 steps 3 and 4).

    Args:
        mapper: the user's map function, called with (key, value) = ("path:offset", line).
        combiner: the user's combiner, or "".
        reduces: R.
        texts: the split's pieces as (path, offset of the first line, whole lines).

    Returns:
        R regions, each sorted by key, and the number of records read.
    """
    function = user_function(mapper)
    regions: list[list[Pair]] = [[] for _ in range(reduces)]
    records = 0
    for path, offset, text in texts:
        for line in text.splitlines(keepends=True):
            records += 1
            for key, value in function(
                f"{path}:{offset}", line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            ):
                regions[partition(key, reduces)].append((key, value))
            offset += len(line)
    for region in regions:
        region.sort(key=itemgetter(0))  # stable: values keep the order in which map emitted them
    if combiner:
        combine = user_function(combiner)
        regions = [list(_reduce(combine, region)) for region in regions]
    return [_encode(region) for region in regions], records


def reduce_partition(reducer: str, regions: list[bytes]) -> bytes:
    """Executes a reduce task (3.1 steps 5 and 6): merges the M sorted regions, reduces key by key.

    Args:
        reducer: the user's reduce function, called with (key, iterator of values).
        regions: this partition's region of every map task, in the order of the map tasks.

    Returns:
        The output file: "key TAB value" a line, in increasing order of keys (4.2).
    """
    function = user_function(reducer)
    merged = heapq.merge(*(_decode(region) for region in regions), key=itemgetter(0))
    lines = [f"{key}\t{value}\n" for key, value in _reduce(function, merged)]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _reduce(function: Callable[..., Iterable[Any]], pairs: Iterable[Pair]) -> Iterator[Pair]:
    for key, group in groupby(pairs, key=itemgetter(0)):
        for value in function(key, map(itemgetter(1), group)):
            yield key, value
