"""The pre-pass of a total order (5.3): a sample of the input through map, for its keys."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from services.files.api import Range
from services.mapreduce.counters import CURRENT, Outside, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.child import Storage
    from services.files.api import FileInfo
    from services.mapreduce.code import Program

PLACES = 20
"""Parts of the input that are looked at."""

PLACE_BYTES = 1 << 20
"""At most so much is read of each."""


def places(files: Sequence[FileInfo], whole: bool) -> list[Range]:
    """Returns parts of the input, spread evenly over its bytes."""
    total = sum(file.size for file in files)
    size = max(1, min(PLACE_BYTES, total // PLACES))
    found: dict[Range, None] = {}
    starts = [total * n // PLACES for n in range(PLACES)]
    begins = 0
    for file in files:
        for start in starts:
            if begins <= start < begins + file.size:
                if whole or file.path.endswith((".gz", ".zst")):
                    found[Range(file.path, 0, -1)] = None
                else:
                    found[Range(file.path, start - begins, min(size, begins + file.size - start))] = None
        begins += file.size
    return list(found)


def sample_keys(
    program: Program, pieces: Sequence[Range], view: Storage, records: int, settings: dict[str, str]
) -> list[Any]:
    """Returns the keys that map gives for about so many records, evenly from all pieces."""
    task = Task("map", 0, 0, settings)
    task.writers = Outside(_discard, _no_file)
    keys: list[Any] = []
    token = CURRENT.set(task)
    try:
        job = program.job()
        job.setup(task)
        for piece in pieces:
            for key, value in islice(program.input.read(piece, view), -(-records // len(pieces))):
                given = job.map(key, value) or ()
                keys += given if isinstance(given, dict) else [key for key, _ in given]
    finally:
        CURRENT.reset(token)
    return keys


def _discard(output: str, key: Any, value: Any) -> None:
    pass


def _no_file(name: str) -> Any:
    import io

    return io.BytesIO()
