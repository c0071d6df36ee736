"""What a commit or prepare asks a group to do: from its request to an entry in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.entries import Effects, Entry, encode
from services.spanner.errors import SpannerError
from services.spanner.group import TooFar
from services.spanner.keys import END, KeyRange, only
from services.spanner.schema import EMPTY, Mutation, Plan, Schema
from services.spanner.transactions.leading import Change
from services.spanner.transactions.overlaps import is_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.spanner.transactions.leading import Reign, Transaction

Request: TypeAlias = pb.CommitRequest | pb.PrepareRequest

SCHEMA = only(END)
"""A range that no key is in: who changes the schema locks it, so that there is one such transaction at a
time."""


class Work(Struct, frozen=True):
    """A group's part of a transaction, with the locks for it held.

    Attributes:
        effects: what it does.
        locked: ranges under exclusive locks beside those of `effects`.
        schema: by which it was worked out, encoded.
        bound: to that schema: at another it is void.
        at: it takes place at exactly this timestamp; 0: at that of its entry.
        above: its timestamp must be above this one.
        mutations: how many.
        move: the one that has staged what is acquired; "" where that is not said.
    """

    effects: Effects
    locked: tuple[KeyRange, ...]
    schema: bytes
    bound: bool
    at: int
    above: int
    mutations: int
    move: str


async def take_on(reign: Reign, one: Transaction, request: Request, arrived: int, until: float) -> Work:
    """Takes the locks that a request needs, and works out what it does.

    With the locks held, what was committed on these rows is applied: locks are kept until then.

    Args:
        reign: whose.
        one: the transaction.
        request: what it asks.
        arrived: TT.now().latest when it came.
        until: when to give up waiting for locks, in the loop's seconds.

    Raises:
        SpannerError: it cannot be.
    """
    tablet = reign.tablet
    mutations = [Mutation.from_wire(each) for each in request.mutations]
    bound = bool(mutations or request.schema_version)
    schema = tablet.schema_at(arrived)
    if bound:
        _agree(reign, schema, request)
    plan = Plan(decoded(schema), mutations)
    needed = plan.locks()
    acquired, released, move = _moved(request)
    exclusive = needed.exclusive + acquired + released
    changed = request.schema
    await reign.lock(one, (*exclusive, SCHEMA) if changed else exclusive, True, until)
    if needed.shared:
        await reign.lock(one, needed.shared, False, until)
    for within in (*needed.exclusive, *needed.shared, *released):
        if not tablet.owns(within):
            raise reign.aborted(f"group {reign.group.number} does not own all of {within}", "moved")
    check_staged(reign, acquired, move)
    latest = tablet.schema_at(arrived)
    if bound and latest is not schema:
        _agree(reign, latest, request)
        plan = Plan(decoded(latest), mutations)
    writes = plan.effects(tablet.row, tablet.rows_of)
    above = arrived
    if tablet.schemas and tablet.schemas[-1][0] >= arrived:
        # The only commits ahead of the present are changes of the schema; this may be on rows of theirs.
        above = max(above, tablet.last_write(exclusive))
    for staged in tablet.staging.moves.values():
        if staged.range in acquired:
            above = max(above, staged.versions.last(staged.range))
    written = {key for key, _ in writes}
    return Work(
        Effects(writes, acquired, released, changed),
        tuple(
            [
                within
                for within, its in one.locks.items()
                if its and not (within.start in written and is_point(within))
            ]
        ),
        latest,
        bound,
        request.at if changed else 0,
        above,
        plan.count,
        move,
    )


async def log(
    reign: Reign, one: Transaction, work: Work, at_least: int, entry: Callable[[int], Entry]
) -> int:
    """Writes the entry that commits or prepares a transaction; returns the timestamp at which it does,
    once applied.

    Args:
        reign, one, work: of whom, and what.
        at_least: the timestamp is not below it.
        entry: makes the entry for the timestamp at which the transaction takes place.

    Raises:
        SpannerError: it cannot be at that timestamp; nothing was written.
        NotLeader, Deposed: see `Group.write`.
    """
    ahead: Change | None = None

    def place(timestamp: int) -> bytes:
        nonlocal ahead
        reign.check(one)
        at = work.at or timestamp
        for id, change in reign.changes.items():
            if change.timestamp <= at and id != one.id:
                ahead = change
                raise _Ahead
        if timestamp > at:
            raise SpannerError(
                "FAILED_PRECONDITION", f"a schema change at {at} comes too late: it is {timestamp}"
            )
        # What was staged may have changed while this waited for its lease or its participants, and may yet by
        # what is on its way into the log.
        check_staged(reign, work.effects.acquired, work.move)
        for within in work.effects.acquired:
            if any(each.overlaps(within) for each in reign.staging.values()):
                raise reign.aborted("pieces of what it acquires are still being staged")
        if why := reign.tablet.impossible(work.effects, at):
            raise SpannerError("FAILED_PRECONDITION", f"not at {at}: {why}")
        schema = reign.tablet.schema_at(at)
        if work.bound and schema is not work.schema and schema != work.schema:
            raise reign.aborted("the schema has changed", "schema")
        if work.effects.schema:
            reign.changes[one.id] = Change(at)
        one.state = "logged"
        return encode(entry(at))

    while True:
        try:
            timestamp = await reign.group.write(place, at_least, reign.term)
        except _Ahead:
            # Its outcome decides by which schema this one goes (4.2.3: it blocks behind it).
            assert ahead is not None
            await ahead.settled
            continue
        except TooFar as error:
            raise SpannerError("FAILED_PRECONDITION", str(error)) from None
        return work.at or timestamp


class _Ahead(Exception):
    """A schema change may take place before that timestamp."""


def _moved(request: Request) -> tuple[tuple[KeyRange, ...], tuple[KeyRange, ...], str]:
    """Returns what a request acquires and releases, and by which move."""
    if not request.HasField("ownership"):
        return (), (), ""
    ownership = request.ownership
    acquired = tuple(KeyRange(each.start, each.end) for each in ownership.acquired)
    return acquired, tuple(KeyRange(each.start, each.end) for each in ownership.released), ownership.move


def _agree(reign: Reign, schema: bytes, request: Request) -> None:
    version = decoded(schema).version
    if version != request.schema_version:
        raise reign.aborted(
            f"the schema is of version {version}, the request goes by version {request.schema_version}",
            "schema",
        )


def check_staged(reign: Reign, acquired: tuple[KeyRange, ...], move: str) -> None:
    """Does nothing where ranges can be acquired as they were staged.

    Raises:
        SpannerError: FAILED_PRECONDITION: the group owns some of it, or another move is staged there, or
            none.
    """
    tablet = reign.tablet
    for within in acquired:
        if any(within.overlaps(owned) for owned in tablet.owned):
            raise SpannerError("FAILED_PRECONDITION", f"group {reign.group.number} owns some of {within}")
        for name, staged in tablet.staging.moves.items():
            if staged.range.overlaps(within) and (staged.range != within or (move and name != move)):
                raise SpannerError("FAILED_PRECONDITION", f"{name!r} moves {staged.range}, not {within}")
    if move and move not in tablet.staging.moves:
        raise SpannerError("FAILED_PRECONDITION", f"nothing is staged for the move {move!r}")


def decoded(schema: bytes) -> Schema:
    """Returns the schema that a tablet has, which may be none."""
    return Schema.decode(schema) if schema else EMPTY
