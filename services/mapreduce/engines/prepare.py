"""What every engine does before a job begins: looks at the input, and takes the sample for a total order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from services.mapreduce.code import program_of
from services.mapreduce.job import SpecError
from services.mapreduce.master.splits import PLANNED, WHOLE, TooManyMaps, plan_splits
from services.mapreduce.partition import TotalOrder
from services.mapreduce.tasks.sample import places, sample_keys

if TYPE_CHECKING:
    from services.files.api import FileInfo, FileSystem, Range
    from services.mapreduce.job import Spec


class Prepared(NamedTuple):
    """A job ready to be run.

    Attributes:
        spec: the specification, with a split size, the cuts of a total order, and what the master must know
            of the input type in its settings.
        total: bytes of input.
        splits: M of them, as the master will plan them.
    """

    spec: Spec
    total: int
    splits: list[tuple[Range, ...]]


async def prepare(spec: Spec, files: FileSystem) -> Prepared:
    """Looks at what a job is about to read.

    Args:
        spec: its paths are those of `files`.
        files: the shared file system.

    Raises:
        SpecError: the specification cannot be run; all inputs that are missing are named.
    """
    spec.check()
    program = program_of(spec)
    found = await _list(spec, files)
    if await files.exists(spec.output):
        raise SpecError(f"output: {spec.output} exists already; choose a new folder")
    total = sum(file.size for file in found)
    size = spec.split_size(total)
    settings = dict(spec.settings)
    if program.input.whole:
        settings[WHOLE] = "1"
    planned = program.input.split(found, size)
    if planned is not None:
        settings[PLANNED] = msgspec.json.encode(
            [[(piece.path, piece.offset, piece.size) for piece in split] for split in planned]
        ).decode()
    try:
        splits = plan_splits(found, size, settings)
    except TooManyMaps as exc:
        raise SpecError(str(exc)) from None
    partitioner = program.partitioner
    if isinstance(partitioner, TotalOrder) and partitioner.cuts is None:
        keys = []
        if program.reduces > 1:
            pieces = places(found, program.input.whole) if planned is None else [p for s in splits for p in s]
            if pieces:
                view = await files.view(pieces)
                keys = await asyncio.to_thread(
                    sample_keys, program, pieces, view, partitioner.sample, settings
                )
        try:
            partitioner = partitioner.with_cuts(keys, program.reduces)
        except TypeError as exc:
            raise SpecError(f"keys cannot be put in order: {exc}") from None
        spec = replace(spec, partitioner=partitioner)
    return Prepared(replace(spec, settings=settings, split_bytes=size, maps=None), total, splits)


async def _list(spec: Spec, files: FileSystem) -> list[FileInfo]:
    found: dict[str, FileInfo] = {}
    wrong = []
    for path in spec.paths:
        try:
            found.update((file.path, file) for file in await files.list(path))
        except FileNotFoundError:
            wrong.append(f"{path} (no such file or folder)")
        except OSError as exc:
            wrong.append(f"{exc.filename or path} ({exc.strerror or exc})")
    if wrong:
        raise SpecError(f"inputs that cannot be read: {', '.join(wrong)}")
    return list(found.values())
