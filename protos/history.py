"""The schema of histories, in Jepsen's vocabulary: one operation event a line.

`invoke` opens an operation of a process; `ok`, `fail` (it had no effect) or `info` (nobody
knows) closes it. A process has at most one operation open; after `info` it is not used again.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

OperationType: TypeAlias = Literal["invoke", "ok", "fail", "info"]


class Operation(Struct, omit_defaults=True):
    """One operation event."""

    process: int | str
    type: OperationType
    f: str  # "read", "write", "cas", "append", "txn", ...
    value: Any
    time: int  # ns since the start of the run
    index: int  # position in the history
    key: Any | UnsetType = UNSET
    error: str = ""
    timestamp: int | UnsetType = UNSET  # of an `ok` transaction: when it took place, if the store tells
