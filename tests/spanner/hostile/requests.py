"""Requests as clients, other servers and operators make them, of every call: what the hunt breaks.

The bank's accounts are in groups 1 and 2. A database obeys its operators, so orders that make sense (drop
this replica, release that range) only ever reach group 6, where nobody would miss anything: `spared`.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from protos import spanner_pb2 as pb
from services.spanner.client import ALL, keys
from services.spanner.entries import Version
from services.spanner.schema import (
    AddColumn,
    ColumnSpec,
    CreateTable,
    DropColumn,
    Schema,
    apply_change,
    encode_changes,
    insert,
    insert_or_update,
    replace,
    update,
)
from services.spanner.schema.mutations import Kind, Mutation, delete

BANK = (1, 2)
OTHERS = (3, 4, 5)
NOBODYS = 6
ROOT = 0
NOW = 1_800_000_000_000_000_000  # some timestamp; those of a read are drawn around the true one
TABLE = "Scratch"
SCRATCH = CreateTable(
    TABLE,
    (ColumnSpec("Id", "INT64"), ColumnSpec("Word", "STRING(100)"), ColumnSpec("Data", "BYTES(MAX)")),
    primary_key=("Id",),
)
COLUMNS = ("Id", "Word", "Data")

SPANSERVER = "/dsim.spanner.Spanserver/"
UNARY: dict[str, type[Any]] = {
    "Commit": pb.CommitRequest,
    "Prepare": pb.PrepareRequest,
    "Rollback": pb.TransactionRequest,
    "KeepAlive": pb.TransactionRequest,
    "Decide": pb.DecideRequest,
    "Wound": pb.WoundRequest,
    "CreateReplica": pb.GroupRequest,
    "DropReplica": pb.GroupRequest,
    "HandOver": pb.HandOverRequest,
    "Import": pb.ImportRequest,
    "Status": pb.StatusRequest,
}
STREAMED: dict[str, type[Any]] = {"Read": pb.ReadRequest, "Export": pb.ExportRequest}
LOCATION: dict[str, type[Any]] = {"Locate": pb.LocateRequest, "Schema": pb.SchemaRequest}
UNIVERSE: dict[str, type[Any]] = {
    "Status": pb.StatusRequest,
    "ChangeSchema": pb.ChangeSchemaRequest,
    "Move": pb.MoveRequest,
    "CreateGroup": pb.GroupRequest,
    "Place": pb.PlaceRequest,
}


class Maker:
    """Makes valid requests.

    Args:
        rng: chance.
        schema: as it is now; replace it when it has changed.
        now: a timestamp of about now; replace it.
    """

    def __init__(self, rng: random.Random, schema: Schema, now: int) -> None:
        self.rng = rng
        self.schema = schema
        self.now = now
        self._names = 0
        self._at = 0

    def make(self, name: str) -> Any:
        """Returns a valid request of the call of that name."""
        return getattr(self, "_" + name.lower())()

    def _group(self) -> int:
        self._at = self.rng.choice((*BANK, *OTHERS, *OTHERS, NOBODYS, ROOT))
        return self._at

    def _number(self) -> int:
        """Returns the number of a row, mostly one of the group that was named last."""
        return self.rng.randrange(95) + 100 * max(0, self._at - OTHERS[0])

    def _who(self) -> pb.Transaction:
        if self.rng.random() < 0.7 or not self._names:
            self._names += 1
        return pb.Transaction(
            id=f"hostile-{self._names}", age=self.now, term=self.rng.choice((0, 0, 0, 1024, 5))
        )

    def _range(self) -> pb.KeyRange:
        table = self.schema.table(TABLE)
        whole = table.everything
        if self.rng.random() < 0.1:
            return pb.KeyRange(start=whole.start, end=whole.end)
        low, high = sorted((self._number(), self._number()))
        return pb.KeyRange(start=table.key([low]), end=table.key([high + 1]))

    def _bound(self) -> pb.TimestampBound:
        at = self.now - self.rng.randrange(10**9)
        age = self.rng.randrange(5 * 10**9)
        return self.rng.choice(
            (
                pb.TimestampBound(strong=True),
                pb.TimestampBound(read_timestamp=at),
                pb.TimestampBound(min_read_timestamp=at),
                pb.TimestampBound(max_staleness=age),
                pb.TimestampBound(exact_staleness=age),
            )
        )

    def _read(self) -> pb.ReadRequest:
        selector = pb.TransactionSelector(read_only=self._bound())
        if self.rng.random() < 0.4:
            selector = pb.TransactionSelector(read_write=self._who())
        return pb.ReadRequest(
            group=self._group(),
            transaction=selector,
            table=TABLE,
            columns=COLUMNS,
            ranges=[self._range()],
            limit=self.rng.choice((0, 0, 1, 5)),
            schema_version=self.schema.version,
            resume_token=self.rng.choice((b"", b"", msgspec.msgpack.encode([self.now - 10**8, b"\x05"]))),
            only_timestamp=self.rng.random() < 0.1,
        )

    def _mutation(self) -> pb.Mutation:
        number = self._number()
        row = (number, f"w{number}", b"\0\xff")
        made: Mutation = self.rng.choice(
            (
                insert(TABLE, COLUMNS, [row]),
                insert_or_update(TABLE, COLUMNS, [row]),
                insert_or_update(TABLE, COLUMNS, [row]),
                replace(TABLE, COLUMNS, [row]),
                update(TABLE, COLUMNS, [row]),
                delete(TABLE, keys([number])),
                delete(TABLE, ALL),
                Mutation(Kind.REQUIRE, TABLE, key_set=keys([number])),
                Mutation(Kind.DELETE_CHILDREN, TABLE, key_set=keys([number])),
            )
        )
        return made.to_wire()

    def _ownership(self) -> pb.Ownership:
        return pb.Ownership(acquired=[self._range()], released=[self._range()], move="m")

    def _changed(self) -> bytes:
        return apply_change(self.schema, AddColumn(TABLE, ColumnSpec(f"C{self._names}", "BOOL"))).encode()

    def _commit(self) -> pb.CommitRequest:
        group = self._group()
        request = pb.CommitRequest(
            group=group,
            transaction=self._who(),
            mutations=[self._mutation() for _ in range(self.rng.randrange(3))],
            schema_version=self.schema.version,
            participants=[one for one in (*BANK, *OTHERS) if one != group and self.rng.random() < 0.1],
        )
        draw = self.rng.random()
        if draw < 0.1:
            request.ownership.CopyFrom(self._ownership())
        elif draw < 0.2:
            request.schema, request.at = self._changed(), self.rng.choice((0, self.now + 10**9))
        request.placement = draw < 0.2 and self.rng.random() < 0.9
        return request

    def _prepare(self) -> pb.PrepareRequest:
        whole = self._commit()
        return pb.PrepareRequest(
            group=whole.group,
            transaction=whole.transaction,
            mutations=whole.mutations,
            schema_version=whole.schema_version,
            coordinator=self._group(),
            ownership=whole.ownership,
            schema=whole.schema,
            at=whole.at,
            placement=whole.placement,
        )

    def _rollback(self) -> pb.TransactionRequest:
        return pb.TransactionRequest(group=self._group(), transaction=self._who())

    _keepalive = _rollback

    def _decide(self) -> pb.DecideRequest:
        return pb.DecideRequest(
            coordinator=self._group(),
            participant=self._group(),
            transaction=self._who().id,
            prepare_timestamp=self.rng.choice((0, self.now)),
            finished=self.rng.random() < 0.2,
        )

    def _wound(self) -> pb.WoundRequest:
        return pb.WoundRequest(group=self._group(), transaction=self._who().id)

    def _createreplica(self) -> pb.GroupRequest:
        members = [pb.Member(server=f"s{n}", zone=f"z{n}", kind="read-write") for n in (1, 2, 3)]
        return pb.GroupRequest(group=self.rng.randrange(12), members=members, preferred_leader="s1")

    _dropreplica = _creategroup = _createreplica

    def _handover(self) -> pb.HandOverRequest:
        return pb.HandOverRequest(group=self._group(), to=self.rng.choice(("", "s1", "s2", "s3")))

    def _export(self) -> pb.ExportRequest:
        after = self.rng.choice((0, self.now - 10**10))
        return pb.ExportRequest(group=self._group(), range=self._range(), after=after)

    def _import(self) -> pb.ImportRequest:
        range_ = self._range()
        versions = [Version(range_.start, self.now - 10**9, b"\x90")]
        return pb.ImportRequest(
            group=self._group(),
            move=self.rng.choice(("m", "n")),
            range=range_,
            versions=msgspec.msgpack.encode(versions),
            discard=self.rng.random() < 0.3,
            horizon=self.rng.choice((0, self.now)),
        )

    def _status(self) -> pb.StatusRequest:
        return pb.StatusRequest(groups=[self._group()] if self.rng.random() < 0.5 else [])

    def _pipeline(self) -> pb.Calls:
        """Returns calls of a pipeline."""
        calls = []
        for number in range(1, self.rng.randrange(2, 5)):
            call = pb.Call(number=number, timeout=10**8)
            kind = self.rng.choice(("read", "commit", "prepare", "rollback", "keep_alive"))
            getattr(call, kind).CopyFrom(self.make(kind.replace("_", "")))
            calls.append(call)
        return pb.Calls(calls=calls)

    def _locate(self) -> pb.LocateRequest:
        return pb.LocateRequest(ranges=[self._range()], newer_than=self.now, groups=[self._group()])

    def _schema(self) -> pb.SchemaRequest:
        return pb.SchemaRequest(newer_than=self.rng.choice((0, self.schema.version)))

    def _changeschema(self) -> pb.ChangeSchemaRequest:
        self._names += 1
        columns = (ColumnSpec("Id", "INT64"), ColumnSpec("Text", "STRING(MAX)"))
        wanted = self.rng.choice(
            (
                CreateTable(f"T{self._names}", columns, primary_key=("Id",)),
                AddColumn(TABLE, ColumnSpec(f"C{self._names}", "STRING(9)")),
                DropColumn(TABLE, f"C{self._names - 1}"),
            )
        )
        return pb.ChangeSchemaRequest(change=encode_changes((wanted,)), at=0)

    def _move(self) -> pb.MoveRequest:
        return pb.MoveRequest(range=self._range(), to=self._group())

    def _place(self) -> pb.PlaceRequest:
        return pb.PlaceRequest(range=self._range(), option="spread")


def spared(name: str, request: Any) -> Any:
    """Returns a request that, should it be obeyed, takes nothing from the bank, nor fills the disk."""
    match name:
        case "Commit" | "Prepare":
            if request.schema or request.HasField("ownership"):
                request.group = NOBODYS
            if name == "Prepare" and request.coordinator == NOBODYS:
                request.group = NOBODYS  # whose replicas may be dropped, as if there were no system tables
            if name == "Commit":
                del request.participants[300:]
        case "Pipeline":
            for call in request.calls:
                for kind in ("commit", "prepare"):
                    if call.WhichOneof("request") == kind:
                        spared(kind.title(), getattr(call, kind))
                call.timeout = min(call.timeout or 10**8, 10**8)
        case "DropReplica":
            request.group = NOBODYS
        case "CreateReplica":
            # One that is made once more has forgotten what it promised: Paxos has no defence against that.
            request.group = request.group % 12
            if request.group == NOBODYS:
                request.group = 12
        case "ChangeSchema":
            request.at = 0
    return request
