"""What a tablet should be, done the simple way: all versions in one map, ownership cell by cell.

The space of keys is cut into a few cells; ranges begin and end where cells do, and each cell has two keys.
"""

from __future__ import annotations

from services.spanner.entries import Effects, Prepare, Row, Version
from services.spanner.keys import END, FIRST, KeyRange

LETTERS = [bytes((letter,)) for letter in b"cdefghijkl"]
BOUNDS = [FIRST, *LETTERS, END]
CELLS = range(len(BOUNDS) - 1)
KEYS = [(BOUNDS[cell] or b"a") + end for cell in CELLS for end in (b"", b"m")]


def cells(within: KeyRange) -> range:
    """Returns the cells of a range."""
    return range(BOUNDS.index(within.start), BOUNDS.index(within.end))


class Model:
    """See the module.

    Attributes:
        versions: by key and timestamp.
        tenures: by cell: since, floor, until.
        prepared: by transaction.
        schemas: by timestamp.
    """

    def __init__(self) -> None:
        self.versions: dict[tuple[bytes, int], Row | None] = {}
        self.tenures: dict[int, tuple[int, int, int | None]] = {}
        self.prepared: dict[str, Prepare] = {}
        self.schemas: dict[int, bytes] = {}
        self.horizon = 0

    def owned(self, cell: int) -> bool:
        return cell in self.tenures and self.tenures[cell][2] is None

    def owns_key(self, key: bytes) -> bool:
        return self.owned(max(cell for cell in CELLS if BOUNDS[cell] <= key))

    def writable(self, key: bytes) -> bool:
        return self.owns_key(key) and all(
            key not in dict(prepare.effects.writes) for prepare in self.prepared.values()
        )

    def change(self, timestamp: int, effects: Effects) -> None:
        for within in effects.released:
            for cell in cells(within):
                since, floor, _ = self.tenures[cell]
                self.tenures[cell] = since, floor, timestamp
        for key, row in effects.writes:
            self.versions[key, timestamp] = row
        if effects.schema:
            self.schemas[timestamp] = effects.schema

    def acquire(
        self, within: KeyRange, timestamp: int, staged: bool, floor: int | None, versions: list[Version]
    ) -> None:
        earlier = any(cell in self.tenures for cell in cells(within))
        self.drop(within)
        if floor is None:
            floor = timestamp if staged or earlier else 0
        for cell in cells(within):
            self.tenures[cell] = timestamp, min(floor, timestamp), None
        for version in versions:
            self.versions[version.key, version.timestamp] = version.row

    def drop(self, within: KeyRange) -> None:
        self.versions = {at: row for at, row in self.versions.items() if at[0] not in within}

    def collect(self, horizon: int) -> None:
        if horizon <= self.horizon:
            return
        self.horizon = horizon
        for cell, (_, _, until) in list(self.tenures.items()):
            if until is not None and until <= horizon:
                del self.tenures[cell]
                self.drop(KeyRange(BOUNDS[cell], BOUNDS[cell + 1]))
        for key in {key for key, _ in self.versions}:
            seen = max((t for k, t in self.versions if k == key and t <= horizon), default=0)
            for t in [t for k, t in self.versions if k == key and t <= horizon]:
                if t < seen or self.versions[key, t] is None:
                    del self.versions[key, t]

    def refusal(self, within: KeyRange, t: int) -> str:
        """Returns how a read is refused; "": it is not."""
        if t < self.horizon:
            return "OUT_OF_RANGE"
        for cell in cells(within):
            if cell not in self.tenures:
                return "moved"
            since, floor, until = self.tenures[cell]
            if until is not None and t >= until:
                return "moved"
            if t < floor:
                return "moved" if floor == since else "OUT_OF_RANGE"
        return ""

    def read(self, within: KeyRange, t: int) -> list[Version]:
        """Returns the rows of a range that exist at `t`."""
        newest: dict[bytes, int] = {}
        for key, timestamp in self.versions:
            if key in within and timestamp <= t:
                newest[key] = max(timestamp, newest.get(key, 0))
        rows = (Version(key, t, self.versions[key, t]) for key, t in sorted(newest.items()))
        return [version for version in rows if version.row is not None]

    def tm_safe(self, within: KeyRange) -> int | None:
        """Returns t_TM_safe of a range; None: nothing is prepared there."""
        touching = [
            prepare.timestamp - 1
            for prepare in self.prepared.values()
            if prepare.effects.schema
            or any(key in within for key, _ in prepare.effects.writes)
            or any(within.overlaps(part) for part in prepare.effects.released)
        ]
        return min(touching, default=None)

    def schema_at(self, t: int) -> bytes:
        before = [since for since in self.schemas if since <= t]
        first = [min(self.schemas)] if self.schemas else []
        return self.schemas[max(before or first)] if self.schemas else b""
