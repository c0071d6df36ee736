"""What Zab orders: idempotent transactions (4.1), in MessagePack.

A request says what is wanted; a transaction what has come of it: the whole new name, the new version,
the time. So every server that applies it has the same, and applying it once more changes nothing.
Arrays instead of maps keep the log small. The first number of each is its kind; that of the outermost is the
format's version.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from services.coordination.api import Acl, Code
from services.coordination.configuration import Configuration

FORMAT = 1


class CreateTxn(Struct, frozen=True, array_like=True, tag=1):
    """A znode comes to be.

    Attributes:
        acl: none stand for the open list, which is the usual one.
        owner: see `Znode`.
        created: how many children the parent has created, with this one.
    """

    path: str
    data: bytes | None
    created: int
    owner: int = 0
    acl: tuple[Acl, ...] = ()


class DeleteTxn(Struct, frozen=True, array_like=True, tag=2):
    """A znode goes."""

    path: str


class SetDataTxn(Struct, frozen=True, array_like=True, tag=3):
    """A znode has new data; `version` is the new one."""

    path: str
    data: bytes | None
    version: int


class SetAclTxn(Struct, frozen=True, array_like=True, tag=4):
    """A znode has a new access control list; `version` is its new `aversion`."""

    path: str
    acl: tuple[Acl, ...]
    version: int


class CheckTxn(Struct, frozen=True, array_like=True, tag=5):
    """A version was what was expected: nothing changes."""


class MultiTxn(Struct, frozen=True, array_like=True, tag=6):
    """Several changes at once."""

    changes: tuple[CreateTxn | DeleteTxn | SetDataTxn | CheckTxn, ...]


class FailedMultiTxn(Struct, frozen=True, array_like=True, tag=7):
    """Nothing changes, because one operation of a `Multi` failed: the result of each."""

    codes: tuple[Code, ...]


class OpenSessionTxn(Struct, frozen=True, array_like=True, tag=8):
    """A session begins; `timeout` in ms."""

    timeout: int
    password: bytes


class CloseSessionTxn(Struct, frozen=True, array_like=True, tag=9):
    """A session ends, and these ephemerals of its with it."""

    paths: tuple[str, ...]


class ReconfigureTxn(Struct, frozen=True, array_like=True, tag=10):
    """The ensemble changes; the text is the new configuration's."""

    text: str


class ErrorTxn(Struct, frozen=True, array_like=True, tag=11):
    """Nothing changes: the request failed (4.1: errorTXN). Its answer has its place in the order too."""

    code: Code


Change: TypeAlias = (
    CreateTxn
    | DeleteTxn
    | SetDataTxn
    | SetAclTxn
    | CheckTxn
    | MultiTxn
    | FailedMultiTxn
    | OpenSessionTxn
    | CloseSessionTxn
    | ReconfigureTxn
    | ErrorTxn
)


class Transaction(Struct, frozen=True, array_like=True, tag=FORMAT):
    """A transaction: whose request it answers, when it was prepared, and what it changes.

    Attributes:
        session: who asked; 0 for the leader itself.
        cxid: the session's number of the request.
        time: ms since the Unix epoch, by the leader's clock.
    """

    session: int
    cxid: int
    time: int
    change: Change

    @property
    def configuration(self) -> Configuration | None:
        """The ensemble from its delivery on, if that is what it changes."""
        change = self.change
        return Configuration.parse(change.text) if isinstance(change, ReconfigureTxn) else None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Transaction)

encode = _encoder.encode
"""Returns the bytes of a transaction."""


def decode(data: bytes) -> Transaction:
    """Reads what `encode` wrote.

    Raises:
        ValueError: it is damaged, or of another version of the format; the text says which.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        if len(data) > 1 and data[0] == 0x95 and data[1] != FORMAT:
            raise ValueError(f"a transaction of format {data[1]}, this is format {FORMAT}") from None
        raise ValueError(f"not a transaction: {error}") from None
