"""Several updates as one: all of them or none (`multi`).

transaction = client.transaction()
transaction.check("/config", version)
name = transaction.create("/config/new", b"...")
transaction.delete("/config/old")
await transaction.commit()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from services.coordination.api import (
    ANY_VERSION,
    OPEN_ACL,
    Acl,
    AnyResult,
    Check,
    Code,
    CoordinationError,
    Create,
    Created,
    CreateMode,
    Delete,
    Failed,
    Multi,
    Reply,
    SetData,
    Several,
    Stat,
    Written,
)
from services.coordination.client.errors import error

if TYPE_CHECKING:
    import asyncio

    from services.coordination.client.calls import Calls

    Outcome: TypeAlias = str | Stat | None
    """Of a create its name, of a write the stat, of other operations None."""


class TransactionFailed(CoordinationError):
    """A transaction that changed nothing.

    Attributes:
        code, path: of the operation that failed.
        codes: of all operations, in order; RUNTIME_INCONSISTENCY for those that another one stopped.
    """

    def __init__(self, code: Code, path: str, codes: tuple[Code, ...]) -> None:
        super().__init__(code, path)
        self.codes = codes


class Transaction:
    """A transaction that is being put together; made by `Client.transaction`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._operations: list[Create | Delete | SetData | Check] = []

    def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        mode: CreateMode = CreateMode.PERSISTENT,
        acl: tuple[Acl, ...] = OPEN_ACL,
        ttl: int = 0,
    ) -> None:
        """Adds a create; its outcome is the name."""
        self._operations.append(Create(self._calls.absolute(path), bytes(data), acl, mode, ttl))

    def delete(self, path: str, version: int = ANY_VERSION) -> None:
        """Adds a delete."""
        self._operations.append(Delete(self._calls.absolute(path), version))

    def set(self, path: str, data: bytes, version: int = ANY_VERSION) -> None:
        """Adds a write; its outcome is the stat."""
        self._operations.append(SetData(self._calls.absolute(path), data, version))

    def check(self, path: str, version: int = ANY_VERSION) -> None:
        """Adds a condition: the znode is there, and at this version."""
        self._operations.append(Check(self._calls.absolute(path), version))

    def commit(self) -> asyncio.Future[tuple[Outcome, ...]]:
        """Carries it out; the result has an outcome for each operation.

        Raises:
            TransactionFailed: (by awaiting) one of the operations did not succeed, so none took effect.
            CoordinationError: (by awaiting) as of any update.
        """
        return self._calls.submit(Multi(tuple(self._operations)), self._finish)

    def _finish(self, reply: Reply, path: str) -> tuple[Outcome, ...]:
        several = reply.result
        if isinstance(several, Several):
            codes = tuple(
                result.code if isinstance(result, Failed) else Code.OK for result in several.results
            )
            for operation, code in zip(self._operations, codes, strict=True):
                if code not in (Code.OK, Code.RUNTIME_INCONSISTENCY):
                    raise TransactionFailed(code, self._calls.shown(operation.path), codes)
            if not reply.code:
                return tuple(map(self._outcome, several.results))
        raise error(reply.code)

    def _outcome(self, result: AnyResult) -> Outcome:
        if isinstance(result, Created):
            return self._calls.shown(result.path)
        if isinstance(result, Written):
            return result.stat
        return None
