"""The tablet of a replica: what the entries of its group's log make of it (2.1).

It is the same at all replicas that have applied the same entries, and asks neither a clock nor chance.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import TYPE_CHECKING

from services.spanner.entries import (
    Abort,
    Collect,
    Commit,
    Discard,
    Effects,
    Entry,
    Finished,
    Import,
    Outcome,
    Prepare,
    Row,
    Version,
)
from services.spanner.errors import SpannerError
from services.spanner.keys import EVERYTHING, KeyRange, only
from services.spanner.tablet import snapshot
from services.spanner.tablet.errors import Contradiction, demand
from services.spanner.tablet.outcomes import RETENTION, Decision, Outcomes
from services.spanner.tablet.ownership import Ownership
from services.spanner.tablet.prepared import Prepared
from services.spanner.tablet.served import Served
from services.spanner.tablet.staging import Staging
from services.spanner.tablet.versions import FOREVER, History, Versions, as_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    FindOrphans: TypeAlias = Callable[
        [Sequence[bytes], Sequence[bytes]], tuple[Sequence[KeyRange], Callable[[bytes], bool]]
    ]


class Tablet:
    """The state of a group.

    Args:
        find_orphans: from earlier and later schemas to where rows of tables may be that only the earlier ones
            have, and what says so of a key; None: no such rows are looked for. The same at all replicas.

    Attributes:
        index, timestamp: of the last entry applied; 0 before the first.
        horizon: reads below it are refused (invariant 19).
        prepared: transactions prepared here and not decided.
        staging: moves to here that are under way.
        schemas: from when on each schema holds, and what it is, encoded; in order.
    """

    def __init__(self, find_orphans: FindOrphans | None = None) -> None:
        self._find_orphans = find_orphans
        self.index = self.timestamp = self.horizon = 0
        self.prepared = Prepared()
        self.staging = Staging()
        self.schemas: tuple[tuple[int, bytes], ...] = ()
        self._versions = Versions()
        self._ownership = Ownership()
        self._outcomes = Outcomes()
        self._served = Served()
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    # The log.

    def apply(self, index: int, timestamp: int, entry: Entry) -> None:
        """Applies the next entry.

        Args:
            index: its place in the log.
            timestamp: the one that Paxos gave it.
            entry: what it says.

        Raises:
            Contradiction: it cannot follow what was applied before. The tablet is unusable then.
        """
        if index <= self.index:
            raise Contradiction(f"entry {index} after {self.index}")
        if timestamp <= self.timestamp:
            raise Contradiction(f"entry {index} at {timestamp} after {self.timestamp}")
        if timestamp <= self._served.newest:
            raise Contradiction(f"entry {index} at {timestamp} after a read at {self._served.newest}")
        self.index, self.timestamp = index, timestamp
        if isinstance(entry, Commit):
            self._commit(entry)
        elif isinstance(entry, Prepare):
            self._prepare(entry)
        elif isinstance(entry, Outcome):
            self._outcome(entry)
        elif isinstance(entry, Abort):
            demand(
                entry.transaction not in self.prepared,
                f"{entry.transaction} is prepared, not to be decided here",
            )
            self._outcomes.add(Decision(entry.transaction, None, timestamp))
        elif isinstance(entry, Finished):
            for transaction in entry.transactions:
                self._outcomes.finish(transaction)
        elif isinstance(entry, Import):
            self.staging.add(entry)
        elif isinstance(entry, Discard):
            self.staging.end(entry.move)
        else:
            self._collect(entry)

    def _prepare(self, entry: Prepare) -> None:
        name = entry.transaction
        demand(
            entry.timestamp >= self.timestamp, f"{name} is prepared at {entry.timestamp}, before its entry"
        )
        demand(name not in self.prepared, f"{name} is prepared twice")
        demand(self._outcomes.get(name) is None, f"{name} is prepared after its outcome")
        for key, _ in entry.effects.writes:
            demand(
                self.owns_key(key) or any(key in part for part in entry.effects.acquired),
                f"{name} writes {key!r}, which is not of this group",
            )
        self.prepared.add(entry)

    def _commit(self, entry: Commit) -> None:
        name = entry.transaction
        if entry.timestamp < self.timestamp:
            raise Contradiction(f"{name} commits at {entry.timestamp}, before its entry")
        if name in self.prepared:
            raise Contradiction(f"{name} is prepared, not to be decided here")
        if not self._outcomes.add(Decision(name, entry.timestamp, self.timestamp, entry.participants)):
            raise Contradiction(f"{name} commits twice")
        self._change(name, entry.timestamp, entry.effects)

    def _outcome(self, entry: Outcome) -> None:
        name = entry.transaction
        if not self._outcomes.add(Decision(name, entry.commit, self.timestamp)):
            return
        if name in self.prepared:
            prepare = self.prepared.remove(name)
            if entry.commit is not None:
                demand(
                    entry.commit >= prepare.timestamp,
                    f"{name} commits at {entry.commit}, prepared at {prepare.timestamp}",
                )
                self._change(name, entry.commit, prepare.effects)
        else:
            demand(entry.commit is None, f"{name} commits, and was not prepared")
        for call in self._waiting.pop(name, ()):
            call()

    def _change(self, name: str, timestamp: int, effects: Effects) -> None:
        for part in effects.released:
            self._served.check_ranges((part,), timestamp)
            self._ownership.release(part, timestamp)
        for part in effects.acquired:
            staged = self.staging.take(part)
            floor = None
            if staged is not None:
                demand(staged.versions.last(part) < timestamp, f"{name} acquires {part} below its versions")
                floor = timestamp if staged.floor is None else staged.floor
            self._ownership.acquire(part, timestamp, floor)
            self._versions.replace(part, None if staged is None else staged.versions)
        if timestamp <= self._served.newest:
            self._served.check_keys((key for key, _ in effects.writes), timestamp)
        for key, row in effects.writes:
            if not self._ownership.owns_key(key):
                raise Contradiction(f"{name} writes {key!r}, which is not of this group")
            self.prepared.free(key, name)
            self._versions.put(Version(key, timestamp, row))
        if effects.schema:
            self._served.check_ranges((EVERYTHING,), timestamp)
            demand(
                not self.schemas or self.schemas[-1][0] < timestamp,
                f"a schema at {timestamp} after a later one",
            )
            self.schemas = (*self.schemas, (timestamp, effects.schema))

    def _collect(self, entry: Collect) -> None:
        self._outcomes.collect(self.timestamp - RETENTION)
        if entry.horizon <= self.horizon:
            return
        demand(
            entry.horizon < self.timestamp,
            f"versions up to {entry.horizon} are collected at {self.timestamp}",
        )
        come = self._ownership.acquired(self.horizon, entry.horizon)
        self.horizon = entry.horizon
        for part in self._ownership.collect(entry.horizon):
            self._versions.replace(part)
        self._versions.collect(entry.horizon)
        first = max(0, bisect_right(self.schemas, entry.horizon, key=lambda schema: schema[0]) - 1)
        gone = [schema for _, schema in self.schemas[:first]]
        self.schemas = self.schemas[first:]
        self._orphans(gone, come)

    def _orphans(self, gone: list[bytes], come: list[KeyRange]) -> None:
        """Drops rows of tables that no schema has any more: there, and where ranges came with such rows."""
        held = [schema for _, schema in self.schemas]
        if self._find_orphans is None or not held or not (gone or come):
            return
        parts, is_orphan = self._find_orphans(gone, held)
        for part in (*parts, *come):
            keys = [history[0].key for history in self._versions.histories(part)]
            for key in filter(is_orphan, keys):
                self._versions.replace(only(key))

    def garbage(self, horizon: int) -> bool:
        """Says whether a collection up to a horizon frees what was released, or rows of dropped tables."""
        return self._ownership.any_released(horizon) or (
            len(self.schemas) > 1 and self.schemas[1][0] <= horizon
        )

    # Reading.

    def check(self, ranges: Iterable[KeyRange], t: int) -> None:
        """Does nothing where ranges can be read here at `t`: they were this group's, and are not collected.

        Raises:
            SpannerError: UNAVAILABLE, "moved": they are or were another group's. OUT_OF_RANGE: versions are
                collected.
        """
        if t < self.horizon:
            raise SpannerError(
                "OUT_OF_RANGE", f"versions before {self.horizon} are collected; the read is at {t}"
            )
        for within in ranges:
            self._ownership.check(within, t)

    def scan(self, within: KeyRange, t: int = FOREVER, *, reverse: bool = False) -> Iterator[Version]:
        """Yields the rows of a range that exist at `t`, in the order of keys or backwards.

        What it yields holds until the next entry is applied: who waits in between begins again behind the
            last key.
        """
        return self._versions.scan(within, t, reverse=reverse)

    def latest(self, key: bytes) -> Version | None:
        """Returns the last committed row of a key; None where it has none."""
        return self.at(key, FOREVER)

    def at(self, key: bytes, t: int) -> Version | None:
        """Returns the row of a key at `t`; None where it has none."""
        history = self._versions.history(key)
        version = None if history is None else as_of(history, t)
        return None if version is None or version.row is None else version

    def row(self, key: bytes) -> Row | None:
        """Returns the last committed row of a key, as `schema/` asks for it."""
        version = self.latest(key)
        return None if version is None else version.row

    def rows_of(self, within: KeyRange) -> Iterator[tuple[bytes, Row]]:
        """Yields the last committed rows of a range, as `schema/` asks for them; holds as `scan` does."""
        for version in self._versions.scan(within):
            assert version.row is not None
            yield version.key, version.row

    def histories(self, within: KeyRange) -> Iterator[History]:
        """Yields all versions that are kept of each key, the oldest first; holds as `scan` does."""
        return self._versions.histories(within)

    def served(self, ranges: Iterable[KeyRange], t: int) -> None:
        """Notes that ranges are read here at `t`: later entries are held against it (invariant 11)."""
        self._served.add(ranges, t)

    def tm_safe(self, ranges: Iterable[KeyRange] = (EVERYTHING,)) -> int:
        """Returns t_TM_safe of ranges (4.1.3, 4.2.4): no prepared transaction changes them at or below it."""
        return self.prepared.safe(ranges)

    def blocking(self, ranges: Iterable[KeyRange], t: int) -> list[str]:
        """Returns the prepared transactions whose outcome a read of ranges at `t` must wait for."""
        return self.prepared.blocking(ranges, t)

    def when_resolved(self, transaction: str, call: Callable[[], None]) -> None:
        """Calls once, as soon as a transaction is not prepared any more: at once where it is not now."""
        if transaction not in self.prepared:
            call()
        else:
            self._waiting.setdefault(transaction, []).append(call)

    def last_write(self, ranges: Iterable[KeyRange]) -> int:
        """Returns LastTS() of ranges (4.2.2, by ranges: 4.2.4): nothing in them has changed after it.

        It is not below the horizon, nor before the ranges were acquired: they can be read here at it.
        """
        last = self.horizon
        for within in ranges:
            last = max(last, self._versions.last(within), self._ownership.since(within))
        return last

    # What a leader asks.

    def outcome(self, transaction: str) -> Decision | None:
        """Returns what became of a transaction; None where nothing is decided, or it is forgotten."""
        return self._outcomes.get(transaction)

    @property
    def forgotten(self) -> int:
        """Outcomes decided up to this timestamp may have been dropped.

        A transaction whose age is not above it, and that has no outcome here, must be refused: it may have
            had one.
        """
        return self._outcomes.forgotten

    def unfinished(self) -> Iterator[Decision]:
        """Yields the commits of which some participant may not know yet."""
        return (decision for decision in self._outcomes if decision.participants)

    def impossible(self, effects: Effects, timestamp: int) -> str:
        """Says why a change of ownership or of the schema cannot be applied at a timestamp; "": it can.

        A leader asks before it writes such an entry: what is in the log and cannot be applied stops the
            group.
        """
        if not (effects.acquired or effects.released or effects.schema):
            return ""
        for part in effects.released:
            if not self.owns(part):
                return f"not all of {part} is owned"
        for part in effects.acquired:
            if any(part.overlaps(owned) for owned in self.owned):
                return f"some of {part} is owned"
            for name, staged in self.staging.moves.items():
                if staged.range.overlaps(part):
                    if staged.range != part:
                        return f"the move {name!r} is of {staged.range}, not of {part}"
                    if staged.versions.last(part) >= timestamp:
                        return f"the move {name!r} brought versions from {staged.versions.last(part)}"
        if not self._ownership.released_before(effects.acquired, timestamp):
            return f"some of {effects.acquired} was released only later than {timestamp}"
        if effects.schema and self.schemas and self.schemas[-1][0] >= timestamp:
            return f"a schema holds from {self.schemas[-1][0]} on, later than {timestamp}"
        return ""

    def floor(self, within: KeyRange) -> int:
        """Returns from when on all of a range can be read here, as far as its moves tell; see
        `Ownership`."""
        return self._ownership.floor(within)

    @property
    def owned(self) -> tuple[KeyRange, ...]:
        """What the group owns now, in order, as few ranges as will do."""
        return self._ownership.owned

    def owns(self, within: KeyRange, t: int | None = None) -> bool:
        """Says whether the group owned all of a range at `t`; None: owns it now (for who writes)."""
        return self._ownership.owns(within, t)

    def owns_key(self, key: bytes) -> bool:
        """Says whether the group owns a key now."""
        return self._ownership.owns_key(key)

    def schema_at(self, t: int) -> bytes:
        """Returns the schema by which operations at `t` go (4.2.3), encoded; b"" where there is none.

        Before the first it knows (a group that was made later), it is that one.
        """
        if not self.schemas:
            return b""
        since, last = self.schemas[-1]
        return last if t >= since else self.schemas[max(0, self.schema_place(t))][1]

    def schema_place(self, t: int) -> int:
        """Returns which of `schemas` holds at `t`; -1 before the first."""
        return bisect_right(self.schemas, t, key=lambda schema: schema[0]) - 1

    # Status.

    @property
    def rows(self) -> int:
        """How many rows there are now (those of released ranges as well, until they are collected)."""
        return self._versions.rows

    @property
    def total_bytes(self) -> int:
        """The size of all versions: keys and rows."""
        return self._versions.size()

    @property
    def outcomes(self) -> int:
        """How many outcomes are kept."""
        return len(self._outcomes)

    def size(self, within: KeyRange) -> int:
        """Returns the bytes of the versions in a range."""
        return self._versions.size(within)

    def middle(self, within: KeyRange | None = None) -> bytes | None:
        """Returns a key that halves the bytes of a range, or of all that is owned; None: there is none."""
        parts = self.owned if within is None else (within,)
        sizes = [self._versions.size(part) for part in parts]
        left = (sum(sizes) + 1) // 2
        for part, size in zip(parts, sizes, strict=True):
            if left < size:
                found = self._versions.at_size(part, left)
                if found is not None and found > parts[0].start:
                    return found
            left -= min(left, size)
        return None

    # Snapshots.

    def save(self) -> Iterator[bytes]:
        """Returns the state as of this call in pieces, however much is applied before they are all taken."""
        head = snapshot.Head(
            self.index,
            self.timestamp,
            self.horizon,
            self._outcomes.forgotten,
            self.schemas,
            self._ownership.tenures,
            tuple(self.staging.ended),
        )
        prepares = tuple(self.prepared.values())
        decisions = list(self._outcomes)
        versions = self._versions.share()
        moves = [
            (name, staged.range, staged.floor, staged.versions.share())
            for name, staged in self.staging.moves.items()
        ]

        def pieces() -> Iterator[snapshot.Piece]:
            yield head
            yield from prepares
            for at in range(0, len(decisions), snapshot.OUTCOMES):
                yield snapshot.Decisions(decisions[at : at + snapshot.OUTCOMES])
            for part in snapshot.chunks(versions.histories()):
                yield snapshot.Rows(part)
            for name, within, floor, staged in moves:
                yield Import(name, within, (), floor)
                for part in snapshot.chunks(staged.histories()):
                    yield Import(name, within, tuple(part), floor)

        return snapshot.write(pieces())

    def digest(self) -> str:
        """Returns a digest of the state: equal at replicas that have applied the same."""
        digest = hashlib.sha256()
        for piece in self.save():
            digest.update(piece)
        return digest.hexdigest()

    async def load(self, pieces: AsyncIterator[bytes]) -> None:
        """Puts what `save` returned in the place of the state.

        Raises:
            ValueError: it is damaged; the state stays as it was.
        """
        reader = snapshot.Reader()
        head: snapshot.Head | None = None
        prepared, staging = Prepared(), Staging()
        decisions: list[Decision] = []
        histories: list[History] = []
        async for data in pieces:
            piece = reader.read(data)
            if isinstance(piece, snapshot.Rows):
                _append(histories, piece.versions)
            elif isinstance(piece, snapshot.Decisions):
                decisions += piece.decisions
            elif isinstance(piece, Prepare):
                prepared.add(piece)
            elif isinstance(piece, Import):
                staging.add(piece)
            elif isinstance(piece, snapshot.Head):
                head = piece
                staging = Staging(piece.ended)
        if head is None or not reader.ended:
            raise ValueError("a tablet has no end")
        self.index, self.timestamp, self.horizon = head.index, head.timestamp, head.horizon
        self.schemas = head.schemas
        self.prepared, self.staging = prepared, staging
        self._ownership = Ownership(head.tenures)
        self._outcomes = Outcomes(decisions, head.forgotten)
        self._versions = Versions.of(histories)
        waiting, self._waiting = self._waiting, {}
        for transaction, calls in waiting.items():
            for call in calls:
                self.when_resolved(transaction, call)


def _append(histories: list[History], versions: list[Version]) -> None:
    """Adds versions, which come in the order of keys and timestamps."""
    for version in versions:
        if histories and histories[-1][0].key == version.key:
            newest = histories[-1][-1]
            if newest.timestamp >= version.timestamp:
                raise ValueError(f"versions of {version.key!r} in a tablet are out of order")
            histories[-1].append(version)
        elif histories and histories[-1][0].key > version.key:
            raise ValueError(f"key {version.key!r} of a tablet is out of order")
        else:
            histories.append([version])
