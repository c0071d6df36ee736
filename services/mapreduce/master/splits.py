"""The M splits of a job's input (3.1 step 1).

Large files are cut at multiples of the split size, whatever their content: a record belongs to the split in
which it begins, and the reader of a split finds that out. Small files share a split, each its own piece. A
file that cannot be cut (compressed; or of an input type that says so) is one split, whatever its size.
Empty files are in none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from services.files.api import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.files.api import FileInfo

SPLIT_BYTES = 64 << 20
"""The paper's split, for a job that does not say."""

MAX_MAPS = 500_000
"""The master keeps state for each map."""

MAX_PAIRS = 4_000_000_000
"""The master keeps a byte for each pair of a map and a reduce."""

MAX_PIECES = 1_000
"""Files that share a split at most."""

COMPRESSED = (".gz", ".zst")

WHOLE = "dsim.input.whole"
"""Setting of a job whose input type cannot be cut: any value."""

PLANNED = "dsim.input.splits"
"""Setting of a job whose input type has planned splits, as JSON: for each, [[path, offset, size], ...]."""


class TooManyMaps(ValueError):
    """The input gives more splits than a master takes; says so in one line."""


def cannot_be_cut(path: str, settings: Mapping[str, str]) -> bool:
    """Says whether a file must be read from its beginning to its end by one map."""
    return path.endswith(COMPRESSED) or bool(settings.get(WHOLE))


def plan_splits(
    files: Iterable[FileInfo], split_bytes: int, settings: Mapping[str, str] | None = None
) -> list[tuple[Range, ...]]:
    """Cuts the input into M splits of about `split_bytes`.

    Raises:
        TooManyMaps: they would be too many.
        msgspec.MsgspecError: what an input type has planned is not a plan.
    """
    settings = settings or {}
    if PLANNED in settings:
        planned = msgspec.json.decode(settings[PLANNED], type=list[list[tuple[str, int, int]]])
        if len(planned) > MAX_MAPS:
            raise TooManyMaps(f"{len(planned):,} splits are more than {MAX_MAPS:,}: choose larger ones")
        return [tuple(Range(*piece) for piece in split) for split in planned]
    splits: list[tuple[Range, ...]] = []
    small: list[Range] = []
    room = split_bytes

    def close() -> None:
        nonlocal small, room
        if small:
            splits.append(tuple(small))
        small, room = [], split_bytes

    files = [file for file in files if file.size]
    at_least = sum(file.size for file in files if not cannot_be_cut(file.path, settings)) // split_bytes
    if at_least > MAX_MAPS:
        raise TooManyMaps(_too_many(at_least, split_bytes))
    for file in files:
        if cannot_be_cut(file.path, settings):
            splits.append((Range(file.path, 0, -1),))
        elif file.size >= split_bytes:
            splits += [
                (Range(file.path, offset, min(split_bytes, file.size - offset)),)
                for offset in range(0, file.size, split_bytes)
            ]
        else:
            if file.size > room or len(small) == MAX_PIECES:
                close()
            small.append(Range(file.path, 0, file.size))
            room -= file.size
    close()
    if len(splits) > MAX_MAPS:
        raise TooManyMaps(_too_many(len(splits), split_bytes))
    return splits


def _too_many(maps: int, split_bytes: int) -> str:
    return (
        f"splits of {split_bytes:,} bytes would make {maps:,} map tasks, more than {MAX_MAPS:,}: "
        f"choose a split size of at least {split_bytes * -(-maps // MAX_MAPS):,} bytes"
    )
