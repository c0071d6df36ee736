"""A tablet under random logs is what the simple model says, at every replica, also through snapshots."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.spanner.entries import (
    Abort,
    Collect,
    Commit,
    Discard,
    Effects,
    Entry,
    Import,
    Outcome,
    Prepare,
    Row,
    Version,
    decode,
    encode,
)
from services.spanner.errors import SpannerError
from services.spanner.keys import EVERYTHING, KeyRange
from services.spanner.tablet import FOREVER, Tablet, versions
from tests.spanner.tablet.model import BOUNDS, KEYS, Model, cells

ranges = st.tuples(st.integers(0, len(BOUNDS) - 2), st.integers(1, 6)).map(
    lambda pair: KeyRange(BOUNDS[pair[0]], BOUNDS[min(len(BOUNDS) - 1, sum(pair))])
)
writes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=3), max_size=5)


def loaded(pieces: Iterable[bytes]) -> Tablet:
    """Returns a tablet from its pieces."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    tablet = Tablet()
    asyncio.run(tablet.load(stream()))
    return tablet


class Story(RuleBasedStateMachine):
    """A log as leaders would write it: locks are kept, reads are served where t_safe allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for name, small in (("FULL", 4), ("SMALL", 2), ("LOOK", 3)):
            self.patch.setattr(versions, name, small)
        self.tablet, self.twin, self.model = Tablet(), Tablet(), Model()
        self.log: list[tuple[int, int, bytes]] = []
        self.caught_up = 0
        self.now = 1000
        self.number = 0
        self.saving: tuple[Iterator[bytes], str] | None = None

    def teardown(self) -> None:
        self.patch.undo()

    def name(self) -> str:
        self.number += 1
        return f"t{self.number}"

    def step(self, entry: Entry, passed: int = 10) -> int:
        """Applies an entry; returns its timestamp."""
        self.now += passed
        data = encode(entry)
        assert decode(data) == entry
        self.log.append((len(self.log) + 1, self.now, data))
        self.tablet.apply(len(self.log), self.now, entry)
        return self.now

    @initialize(within=ranges)
    def genesis(self, within: KeyRange) -> None:
        self.acquire(within, [], None, None)

    @rule(wanted=writes)
    def commit(self, wanted: dict[bytes, Row | None]) -> None:
        effects = Effects(tuple((key, row) for key, row in wanted.items() if self.model.writable(key)))
        self.step(Commit(self.name(), self.now + 10, effects))
        self.model.change(self.now, effects)

    @rule(wanted=writes)
    def prepare(self, wanted: dict[bytes, Row | None]) -> None:
        effects = Effects(tuple((key, row) for key, row in wanted.items() if self.model.writable(key)))
        entry = Prepare(self.name(), self.now, self.now + 10, effects, (), 7)
        self.step(entry)
        self.model.prepared[entry.transaction] = entry

    @rule(ahead=st.integers(0, 50))
    @precondition(lambda self: not any(one.effects.schema for one in self.model.prepared.values()))
    def prepare_schema(self, ahead: int) -> None:
        at = max([self.now + 10 + ahead, *(since + 1 for since in self.model.schemas)])
        entry = Prepare(self.name(), self.now, at, Effects(schema=b"schema%d" % self.number), (), 7)
        self.step(entry)
        self.model.prepared[entry.transaction] = entry

    @rule(data=st.data(), commits=st.booleans())
    @precondition(lambda self: self.model.prepared)
    def outcome(self, data: st.DataObject, commits: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.prepared)))
        prepare = self.model.prepared.pop(name)
        later = max(prepare.timestamp, self.now)
        s = data.draw(st.integers(prepare.timestamp, later)) if commits else None
        resolved: list[str] = []
        self.tablet.when_resolved(name, lambda: resolved.append(name))
        assert not resolved
        self.step(Outcome(name, s))
        assert resolved
        if s is not None:
            self.model.change(s, prepare.effects)
        self.step(Outcome(name, s))  # a later leader that asks again changes nothing
        found = self.tablet.outcome(name)
        assert found is not None
        assert found.commit == s

    @rule()
    def abort(self) -> None:
        name = self.name()
        self.step(Abort(name))
        self.step(Abort(name))
        assert (found := self.tablet.outcome(name)) is not None
        assert found.commit is None

    @rule(
        within=ranges,
        staged=st.none() | writes,
        floor=st.none() | st.integers(1, 60),
        twice=st.booleans(),
    )
    def move_in(
        self, within: KeyRange, staged: dict[bytes, Row | None] | None, floor: int | None, twice: bool
    ) -> None:
        if any(self.model.owned(cell) for cell in cells(within)):
            return
        if staged is None:
            self.acquire(within, [], None, None)
            return
        moved = [
            Version(key, self.now - 3 * number, row)
            for number, (key, row) in enumerate(staged.items())
            if key in within
        ]
        moved += [Version(version.key, version.timestamp - 40, b"old") for version in moved[::2]]
        horizon = None if floor is None else max(1, self.now - floor)
        name = self.name()
        self.step(Import("gone" + name, within, (Version(within.start + b"x", 1, b""),)))
        for piece in (moved[::2], moved[1::2], moved if twice else []):
            self.step(Import(name, within, tuple(piece), horizon))
        self.step(Import("gone" + name, within, tuple(moved), horizon))  # ended: ignored
        if not twice and not moved:
            self.step(Discard(name))
            assert name not in self.tablet.staging.moves
            return
        self.acquire(within, moved, name, horizon)

    def acquire(
        self, within: KeyRange, moved: list[Version], staged: str | None, horizon: int | None
    ) -> None:
        assert self.tablet.impossible(Effects(acquired=(within,)), self.now + 10) == ""
        self.step(Commit(self.name(), self.now + 10, Effects(acquired=(within,))))
        self.model.acquire(within, self.now, staged is not None, horizon, moved)

    @rule(within=ranges, first=st.booleans())
    def move_out(self, within: KeyRange, first: bool) -> None:
        busy = any(
            key in within for prepare in self.model.prepared.values() for key, _ in prepare.effects.writes
        ) or any(
            part.overlaps(within)
            for prepare in self.model.prepared.values()
            for part in prepare.effects.released
        )
        if busy or not all(self.model.owned(cell) for cell in cells(within)):
            return
        effects = Effects(released=(within,))
        if first:
            entry = Prepare(self.name(), self.now, self.now + 10, effects, (), 7)
            self.step(entry)
            # No other rule may touch what it has locked: it is decided at once.
            assert self.tablet.tm_safe((within,)) <= self.now - 1
            self.step(Outcome(entry.transaction, entry.timestamp))
            self.model.change(entry.timestamp, effects)
        else:
            self.step(Commit(self.name(), self.now + 10, effects))
            self.model.change(self.now, effects)

    @rule(age=st.integers(1, 300))
    def collect(self, age: int) -> None:
        horizon = max(1, self.now - age)
        self.step(Collect(horizon))
        self.model.collect(horizon)

    @rule(within=ranges, age=st.integers(0, 300), reverse=st.booleans())
    def read(self, within: KeyRange, age: int, reverse: bool) -> None:
        t = min(self.now - age, self.tablet.tm_safe((within,)))
        expected = self.model.refusal(within, t)
        try:
            self.tablet.check((within,), t)
        except SpannerError as error:
            assert expected == (error.reason or error.code)
            return
        assert expected == ""
        self.tablet.served((within,), t)
        rows = list(self.tablet.scan(within, t, reverse=reverse))
        assert rows == self.model.read(within, t)[:: -1 if reverse else 1]
        for key in KEYS:
            if key in within:
                assert self.tablet.at(key, t) == next((row for row in rows if row.key == key), None)

    @rule(within=ranges)
    def last_write(self, within: KeyRange) -> None:
        """Nothing has changed after LastTS(): reading there is reading now."""
        if not all(self.model.owned(cell) for cell in cells(within)):
            return
        last = self.tablet.last_write((within,))
        assert self.model.refusal(within, last) == ""
        assert self.model.read(within, last) == self.model.read(within, FOREVER)
        assert last <= max(self.now, self.model.horizon)

    @rule()
    def restart(self) -> None:
        """A replica that loads a snapshot goes on like the one that saved it."""
        other = loaded(self.tablet.save())
        assert other.digest() == self.tablet.digest()
        assert dict(other.prepared) == dict(self.tablet.prepared)
        self.tablet = other

    @rule()
    def begin_save(self) -> None:
        self.saving = (self.tablet.save(), self.tablet.digest())

    @rule()
    @precondition(lambda self: self.saving)
    def end_save(self) -> None:
        """What was applied since is not in it."""
        assert self.saving is not None
        pieces, digest = self.saving
        whole = hashlib.sha256()
        for piece in pieces:
            whole.update(piece)
        assert whole.hexdigest() == digest
        self.saving = None

    @rule()
    def catch_up(self) -> None:
        """Another replica that applies the same log is the same."""
        for index, timestamp, data in self.log[self.caught_up :]:
            self.twin.apply(index, timestamp, decode(data))
        self.caught_up = len(self.log)
        assert self.twin.digest() == self.tablet.digest()

    @invariant()
    def agrees(self) -> None:
        kept: dict[tuple[bytes, int], Row | None] = {}
        for history in self.tablet.histories(EVERYTHING):
            for version in history:
                kept[version.key, version.timestamp] = version.row
        assert kept == self.model.versions
        assert list(kept) == sorted(kept)
        assert self.tablet.rows == len(self.model.read(EVERYTHING, FOREVER))
        assert self.tablet.total_bytes == sum(len(key) + len(row or b"") for (key, _), row in kept.items())
        assert dict(self.tablet.prepared) == self.model.prepared
        for within in (EVERYTHING, KeyRange(BOUNDS[2], BOUNDS[4]), KeyRange(KEYS[8], KEYS[8] + b"\0")):
            safe = self.model.tm_safe(within)
            assert self.tablet.tm_safe((within,)) == (FOREVER if safe is None else safe)
        for cell in range(len(BOUNDS) - 1):
            within = KeyRange(BOUNDS[cell], BOUNDS[cell + 1])
            assert self.tablet.owns(within) == self.model.owned(cell)
            for t in (self.now, self.now - 50):
                tenure = self.model.tenures.get(cell)
                was = tenure is not None and tenure[0] <= t and (tenure[2] is None or t < tenure[2])
                assert self.tablet.owns(within, t) == was
        for t in (self.now - 30, self.now, self.now + 60):
            if t >= self.model.horizon:
                assert self.tablet.schema_at(t) == self.model.schema_at(t)


Story.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestStory = Story.TestCase
