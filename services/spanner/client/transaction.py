"""A read-write transaction (4.2.1): reads under locks, buffered writes, two-phase commit driven from here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from protos import spanner_pb2 as pb
from services.spanner.client.errors import OutcomeUnknown, final, over
from services.spanner.client.mutations import Mutations
from services.spanner.client.reads import What
from services.spanner.client.router import ELSEWHERE
from services.spanner.errors import SpannerError
from services.spanner.schema import split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from services.spanner.client.database import Database
    from services.spanner.schema import KeySet, Mutation, Schema

VERDICTS = 0.5  # seconds that an aborted commit waits for participants to say why

Row = tuple[Any, ...]
T = TypeVar("T")

decode_rows = msgspec.msgpack.Decoder(list[tuple[Any, ...]]).decode


class Transaction(Mutations):
    """A transaction; `Database.run_in_transaction` makes them, or `async with database.transaction()`.

    Reads do not see what the transaction itself writes: writes are buffered until the commit. Reads may be
    made side by side. When a call raises ABORTED the transaction is over, and is to be run again from its
    beginning: `run_in_transaction` does that.

    Args:
        database: whose.
        age: its place in wound-wait: nanoseconds; the older one (the smaller number) wins.
        deadline: in `loop.time()`.

    Attributes:
        id: its name.
        commit_timestamp: None before it has committed, or where it did nothing.
        waited: nanoseconds of commit wait that were left when Paxos was done.
        schema: by which it writes.
    """

    at_leader = True

    def __init__(self, database: Database, age: int, deadline: float, schema: Schema) -> None:
        super().__init__()
        self.id = database.transaction_id()
        self.age = age
        self.commit_timestamp: int | None = None
        self.waited = 0
        self.schema = schema
        self._database = database
        self._deadline = deadline
        self._terms: dict[int, int] = {}
        self._touched: dict[int, None] = {}
        self._changes: dict[int, dict[str, Any]] = {}
        self._state = "open"
        self._doom: SpannerError | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has neither been committed nor given up."""
        return self._state == "open"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self.rollback()
        elif self._state == "open":
            await self.commit()

    # Reads

    async def read(self, table: str, columns: Sequence[str], key_set: KeySet, *, limit: int = 0) -> list[Row]:
        """Returns rows, in the order of their keys, under shared locks.

        Args:
            table: the table.
            columns: of which the values are wanted.
            key_set: which rows.
            limit: rows; 0 for all.

        Raises:
            SpannerError: ABORTED: it must be run again; NOT_FOUND: no such table or column.
        """
        self._usable()
        ranges = await self._by_schema(lambda: self.schema.table(table).ranges(key_set))
        what = What(table, columns, self.schema.version)
        try:
            parts = await self._database.reader.all(what, ranges, limit, self, self._deadline)
        except SpannerError as exc:
            if exc.code == "ABORTED":
                self._doom = exc
            raise
        self._usable()
        return [row for part in parts if part.rows for row in decode_rows(part.rows)]

    def selector(self, group: int) -> pb.TransactionSelector:
        """Returns what a read's request says of the transaction."""
        self._touched[group] = None
        return pb.TransactionSelector(read_write=self._wire(group))

    def seen(self, group: int, part: pb.PartialResultSet) -> None:
        """Takes the term from an answer.

        Raises:
            SpannerError: ABORTED: it is another leader's than before, who knows nothing of the locks.
        """
        known = self._terms.setdefault(group, part.term)
        if known != part.term:
            raise SpannerError(
                "ABORTED", f"group {group} has another leader, and its locks are lost", "lost-locks"
            )

    def scattered(self) -> None:
        """Nothing hangs on it: locks are taken wherever what is read is."""

    def change(
        self, group: int, ownership: pb.Ownership | None = None, schema: bytes = b"", at: int = 0
    ) -> None:
        """Has the commit change a group itself; for placement only.

        Args:
            group: which.
            ownership: what it acquires and releases (2.2).
            schema: the schema that holds from then on (4.2.3), encoded.
            at: with a schema: the timestamp of that; 0: the commit's.
        """
        self._usable()
        self._changes[group] = {"ownership": ownership, "schema": schema, "at": at}

    # The end

    async def commit(self) -> int | None:
        """Commits, and returns the commit timestamp; None where nothing was read or written.

        Raises:
            SpannerError: ABORTED: it had no effect, and may be run again. `OutcomeUnknown`: nobody knows.
                Others: it had no effect, and would not have any the next time.
        """
        self._usable()
        self._state = "committing"
        database = self._database
        backed = database.locations
        asked = backed.timestamp
        try:
            await backed.known(self._deadline)
            parts = await self._by_schema(lambda: split(self.schema, self.mutations, backed))
            groups = list(dict.fromkeys([*parts, *self._changes, *self._touched]))
            if not groups:
                self._state = "committed"
                return None
            for group in groups:
                self._touched[group] = None
                backed.place(group)
            reply = await self._two_phases(groups[0], groups[1:], parts)
        except SpannerError as exc:
            self._state = "aborted" if final(exc) or exc.reason in ELSEWHERE else "unknown"
            if exc.reason in ELSEWHERE:  # what this client knows is old: learn, and run again
                await database.learn(exc, asked, self.schema, self._deadline)
                await self._release()
                raise SpannerError("ABORTED", exc.detail, exc.reason) from None
            if self._state == "unknown":
                raise OutcomeUnknown(self.id, exc) from None
            await self._release()
            raise
        except BaseException:
            self._state = "unknown"
            raise
        finally:
            database.closed(self)
        self._state = "committed"
        self.commit_timestamp, self.waited = reply.commit_timestamp, reply.waited
        return self.commit_timestamp

    async def rollback(self) -> None:
        """Gives it up; after its end without effect."""
        if self._state == "open":
            self._state = "rolled back"
            self._database.closed(self)
            await self._release()

    async def keep_alive(self) -> None:
        """Tells the leaders whose locks it holds that it is there; `Database` does so from time to time."""

        async def tell(group: int) -> None:
            call = pb.Call(keep_alive=pb.TransactionRequest(group=group, transaction=self._wire(group)))
            try:
                await self._database.router.lead(group, call, self._deadline)
            except SpannerError as exc:
                if exc.code == "ABORTED":
                    self._doom = exc

        await asyncio.gather(*(tell(group) for group in list(self._terms)))

    async def _by_schema(self, what: Callable[[], T]) -> T:
        """Returns what the schema makes of something.

        Raises:
            SpannerError: NOT_FOUND; ABORTED: there is a newer schema, which may have what is missing.
        """
        try:
            return what()
        except SpannerError as exc:
            if exc.code == "NOT_FOUND":
                newer = await self._database.locations.schema(self._deadline, newer_than=self.schema.version)
                if newer.version > self.schema.version:
                    raise SpannerError("ABORTED", exc.detail, "schema") from None
            raise

    async def _two_phases(
        self, coordinator: int, participants: Sequence[int], parts: dict[int, list[Mutation]]
    ) -> pb.CommitReply:
        """Sends all at once, and returns what the coordinator says."""
        router, deadline = self._database.router, self._deadline

        commit = pb.Call()
        self._say(commit.commit, coordinator, parts)
        if not participants:
            return (await router.lead(coordinator, commit, deadline)).commit
        commit.commit.participants.extend(participants)
        refusals: list[SpannerError] = []

        async def prepare(group: int) -> None:
            call = pb.Call()
            self._say(call.prepare, group, parts)
            call.prepare.coordinator = coordinator
            try:
                await router.lead(group, call, deadline)
            except SpannerError as exc:
                if final(exc) or exc.reason in ELSEWHERE:
                    refusals.append(exc)
                    await self._give_up(coordinator)  # it need not wait for a vote that will not come

        prepares = [asyncio.ensure_future(prepare(group)) for group in participants]
        try:
            return (await router.lead(coordinator, commit, deadline)).commit
        except SpannerError as exc:
            if exc.code == "ABORTED" and not refusals:
                await asyncio.wait(prepares, timeout=VERDICTS)
            raise min([exc, *refusals], key=_weight) from None
        finally:
            for task in prepares:
                task.cancel()

    def _say(
        self, request: pb.CommitRequest | pb.PrepareRequest, group: int, parts: dict[int, list[Mutation]]
    ) -> None:
        """Puts into a request what the transaction does in a group."""
        request.group = group
        self._identify(request.transaction, group)
        mutations, change = parts.get(group, ()), self._changes.get(group)
        for one in mutations:
            one.write(request.mutations.add())
        if mutations or change is None:  # only mutations go by a schema: the first one comes by none
            request.schema_version = self.schema.version
        if self._database.placement:
            request.placement = True
        if change is not None:
            ownership, request.schema, request.at = change["ownership"], change["schema"], change["at"]
            if ownership is not None:
                request.ownership.CopyFrom(ownership)

    async def _give_up(self, group: int) -> None:
        call = pb.Call(rollback=pb.TransactionRequest(group=group, transaction=self._wire(group)))
        # Its own time may be over: just then others are to get the locks.
        deadline = asyncio.get_running_loop().time() + VERDICTS
        with contextlib.suppress(SpannerError):  # it is forgotten by itself after a while
            await self._database.router.lead(group, call, deadline)

    async def _release(self) -> None:
        for group in self._touched:
            self._database.in_background(self._give_up(group))

    def _wire(self, group: int) -> pb.Transaction:
        who = pb.Transaction()
        self._identify(who, group)
        return who

    def _identify(self, who: pb.Transaction, group: int) -> None:
        who.id, who.age, who.term = self.id, self.age, self._terms.get(group, 0)

    def _usable(self) -> None:
        if self._doom is not None:
            raise self._doom
        if self._state != "open":
            raise over(f"transaction {self.id} is over: it is {self._state}")


def _weight(error: SpannerError) -> int:
    """What says most of why a transaction did not commit has the least."""
    if error.reason in ELSEWHERE:
        return 0
    if error.code != "ABORTED" and final(error):
        return 1
    return 2 if error.code == "ABORTED" else 3
