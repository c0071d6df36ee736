"""Data as its users see it (2.3): typed tables with primary keys, interleaved in one another. Pure.

    columns = (ColumnSpec("Id", "INT64"), ColumnSpec("Name", "STRING(MAX)"))
    schema = apply_change(EMPTY, CreateTable("Singers", columns, primary_key=("Id",)))
    singers = schema.table("Singers")
    singers.key([1])                                # bytes; their order is that of the primary keys
    singers.ranges(beginning(1))                    # a KeySet as ranges of keys, for reads
    mutations = [insert("Singers", ("Id", "Name"), [(1, "Marc")])]
    parts = split(schema, mutations, locations)     # a client: what each group gets
    plan = Plan(schema, mutations)                  # a group: checked against the schema;
    plan.locks()                                    # what must be locked before
    plan.effects(tablet.latest, tablet.scan)        # the rows that come of it

What Cloud Spanner refuses is refused with its status, in a text that names table, column and key. Rows keep
their columns by number, so they outlive columns that are added or dropped. The paper tells of no secondary
indexes, and there are none: a request that names one gets NOT_FOUND.

Read in this order: `types.py` (values), `ordered.py` (as parts of keys), `definitions.py`, `table.py` (keys,
rows), `key_sets.py`, `schema.py`, `mutations.py`, `plan.py` (what they mean), `split.py`, `changes.py`.
"""

from services.spanner.schema.changes import (
    AddColumn,
    AlterColumn,
    Change,
    ColumnSpec,
    CreateTable,
    DropColumn,
    DropTable,
    SetOnDelete,
    apply_change,
    decode_changes,
    encode_changes,
)
from services.spanner.schema.definitions import Column
from services.spanner.schema.key_sets import ALL, KeySet, Range, beginning, encode_rows, keys
from services.spanner.schema.mutations import (
    Kind,
    Mutation,
    delete,
    insert,
    insert_or_update,
    replace,
    update,
)
from services.spanner.schema.plan import MAX_MUTATIONS, Locks, Plan, effects, locks
from services.spanner.schema.schema import EMPTY, Schema, decode_rows
from services.spanner.schema.split import Owners, split
from services.spanner.schema.table import MAX_KEY, Reader, Table
from services.spanner.schema.types import Type, Value, parse_type

__all__ = [
    "ALL",
    "EMPTY",
    "MAX_KEY",
    "MAX_MUTATIONS",
    "AddColumn",
    "AlterColumn",
    "Change",
    "Column",
    "ColumnSpec",
    "CreateTable",
    "DropColumn",
    "DropTable",
    "KeySet",
    "Kind",
    "Locks",
    "Mutation",
    "Owners",
    "Plan",
    "Range",
    "Reader",
    "Schema",
    "SetOnDelete",
    "Table",
    "Type",
    "Value",
    "apply_change",
    "beginning",
    "decode_changes",
    "decode_rows",
    "delete",
    "effects",
    "encode_changes",
    "encode_rows",
    "insert",
    "insert_or_update",
    "keys",
    "locks",
    "parse_type",
    "replace",
    "split",
    "update",
]
