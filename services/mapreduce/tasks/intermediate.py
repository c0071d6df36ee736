"""The pairs in the file that a map task leaves, for a person to look at; each kind of job has its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.child import Storage
    from services.mapreduce.code import Program


def pairs_of(path: str, disk: Storage, program: Program, streaming: bool) -> Iterator[tuple[Any, Any]]:
    """Yields the pairs of all regions, each region in its order.

    Args:
        path: the file, on `disk`.
        program: the job's.
        streaming: whether its mapper is an executable: then pairs are lines, cut at the first tab.
    """
    if streaming:
        return _lines(path, disk)
    return _records(path, disk, program.input) if program.fixed else _coded(path, disk, program)


def _coded(path: str, disk: Storage, program: Program) -> Iterator[tuple[Any, Any]]:
    from services.mapreduce.hints import Codec
    from services.mapreduce.tasks.segment import read, runs_of

    codec = Codec(program.types)
    with disk.open(path) as file:
        for run in runs_of(path, disk):
            for block in read(file, run, codec):
                yield from block


def _lines(path: str, disk: Storage) -> Iterator[tuple[bytes, bytes]]:
    from services.mapreduce.tasks.line_runs import BLOCK, runs_of

    with disk.open(path) as file:
        for run in reversed(runs_of(file, 0, disk.size(path))):  # they are found from the end
            while run.advance(BLOCK):
                for line in run.lines:
                    key, _, value = line.partition(b"\t")
                    yield key, value


def _records(path: str, disk: Storage, source: Any) -> Iterator[tuple[bytes, bytes]]:
    from services.mapreduce.tasks.fixed import COUNT

    with disk.open(path) as file:
        while count := file.read(COUNT.size):
            for _ in range(COUNT.unpack(count)[0]):
                record = file.read(source.size)
                yield record[: source.key], record[source.key :]
