"""What an operator may set of a spanserver, and what a universe is told at its beginning."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import EVERYTHING, KeyRange
from services.spanner.paxos import Settings as PaxosSettings
from services.spanner.schema import Schema
from services.spanner.transactions import TransactionSettings
from services.spanner.truetime.settings import Settings as TrueTimeSettings


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one spanserver.

    Attributes:
        universe: its name: a disk of another one is refused.
        truetime: of the timeslave.
        epsilon_ns: 0, or the uncertainty that the host's clock is taken to have: then no master is asked
            (`FixedTrueTime`). For experiments.
        paxos: of groups, the same at all servers.
        transactions: of all groups.
        largest: bytes of a message that is taken.
        retry_s: seconds after which a server whose disk has failed begins again with what the disk holds; 0
            leaves that to whoever started it.
    """

    universe: str = "universe"
    truetime: TrueTimeSettings = TrueTimeSettings()
    epsilon_ns: int = 0
    paxos: PaxosSettings = PaxosSettings()
    transactions: TransactionSettings = TransactionSettings()
    largest: int = 128 << 20
    retry_s: float = 0.0


class Founding(Struct, frozen=True, forbid_unknown_fields=True):
    """A group that there is from the beginning, by configuration: group 0, and those that a universe is
    founded with.

    Attributes:
        group: its number.
        members: its replicas.
        ranges: what it owns at first: pairs of keys, as bytes in hexadecimal.
        preferred: who leads, if it can; "" for the first member.
    """

    group: int
    members: tuple[Member, ...]
    ranges: tuple[tuple[str, str], ...] = ((EVERYTHING.start.hex(), EVERYTHING.end.hex()),)
    preferred: str = ""

    @property
    def owned(self) -> tuple[KeyRange, ...]:
        """What it owns at first."""
        return tuple(KeyRange(bytes.fromhex(start), bytes.fromhex(end)) for start, end in self.ranges)


def settings_of(told: dict[str, Any]) -> Settings:
    """Returns settings from the parameters of a program.

    Raises:
        ValueError: in one line, what is wrong.
    """
    try:
        return msgspec.convert(told, Settings)
    except msgspec.ValidationError as error:
        raise ValueError(f"settings of a spanserver: {error}") from None


def founding_of(told: object) -> tuple[Founding, ...]:
    """Returns groups from the parameters of a program.

    Raises:
        ValueError: in one line, what is wrong.
    """
    try:
        found = msgspec.convert(told, tuple[Founding, ...])
        for one in found:
            if any(not part.start < part.end for part in one.owned):
                raise ValueError(f"group {one.group}: a range ends after its start")
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"groups: {error}") from None
    numbers = [one.group for one in found]
    if len(dict.fromkeys(numbers)) != len(numbers):
        raise ValueError("groups: two have the same number")
    return found


def schema_of(told: str) -> bytes:
    """Returns a schema, encoded, from the parameters of a program.

    Raises:
        ValueError: in one line, what is wrong.
    """
    try:
        data = bytes.fromhex(told)
        if data:
            Schema.decode(data)
    except (ValueError, SpannerError) as error:
        raise ValueError(f"schema: {error}") from None
    return data
