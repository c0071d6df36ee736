"""Map and reduce tasks one after the other in a folder, and the plain program that they must agree with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from services.files.api import Range
from services.mapreduce.code import pack, program_of
from services.mapreduce.job import Spec
from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.order import Done, Order
from services.mapreduce.tasks.reduce import run_reduce

from .folder_storage import FolderStorage, Inside

OUTPUT = "out"


class Tasks:
    """Runs the tasks of a specification on files of a folder."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.inside = Inside(folder)
        self.disk = FolderStorage(folder)
        self.code = pack(spec)
        self.memory = spec.memory
        self.settings = spec.settings
        self.reduces = program_of(spec).reduces
        self.attempt = 0

    def order(self, number: int, **more: Any) -> Order:
        self.attempt += 1
        return Order(
            job="job", code=self.code, number=number, attempt=self.attempt, reduces=self.reduces,
            output=OUTPUT, memory_bytes=self.memory, settings=self.settings, **more,
        )  # fmt: skip

    def map(self, number: int, *split: Range, skip: Sequence[int] = (), maps: int = 0) -> Done:
        order = self.order(number, split=tuple(split), skip=tuple(skip), maps=maps)
        return run_map(self.inside, order, self.disk)

    def reduce(self, number: int, maps: Iterable[Done], *, skip: Sequence[int] = (), files: int = 1) -> Done:
        """Puts the region of each map into one of some files, and reduces these."""
        names = [f"job/pulled-{number}.{n}" for n in range(files)]
        for name in names:
            self.disk.open(name, "wb").close()
        for at, done in enumerate(maps):
            data = self.bytes(done.path)[done.offsets[number] : done.offsets[number + 1]]
            with self.disk.open(names[at % files], "ab") as file:
                file.write(data)
        return run_reduce(
            self.inside, self.order(number, segments=tuple(names), skip=tuple(skip)), self.disk
        )  # fmt: skip

    def bytes(self, path: str) -> bytes:
        with self.disk.open(path) as file:
            return file.read()

    def all(self, splits: Iterable[Sequence[Range]], files: int = 1) -> list[bytes]:
        """Runs a whole job, and returns what is in its part files."""
        maps = [self.map(number, *split) for number, split in enumerate(splits)]
        if not self.reduces:
            return [self.bytes(done.path) for done in maps]
        return [self.bytes(self.reduce(number, maps, files=files).path) for number in range(self.reduces)]


def cut(path: str, size: int, split: int) -> list[list[Range]]:
    """Cuts a file as the master does."""
    return [[Range(path, at, min(split, size - at))] for at in range(0, size, split)]
