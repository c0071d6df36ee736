"""Who the ensemble is: its members, their roles and addresses, and what a quorum of them is.

The textual form is Apache's, one line a member, and stands in `zoo.cfg`, in /zookeeper/config and in what
`Reconfigure` asks for:

    server.1=zk1:2888:3888:participant;0.0.0.0:2181
    version=100000003

Zab needs no more of quorums than that any two intersect (Zab, II); here they are majorities of participants.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Role: TypeAlias = Literal["participant", "observer"]

QUORUM_PORT, ELECTION_PORT = 2888, 3888
_LINE = re.compile(
    r"server\.(?P<id>\d+)=(?P<host>\[[^]]+\]|[^:;\s]+):(?P<quorum>\d+):(?P<election>\d+)"
    r"(?::(?P<role>participant|observer))?(?:;(?P<client>\S+))?"
)


class Member(Struct, frozen=True, order=True):
    """One server of the ensemble; `client` is the address it serves clients at, "" when that is not told."""

    id: int
    host: str
    quorum_port: int = QUORUM_PORT
    election_port: int = ELECTION_PORT
    role: Role = "participant"
    client: str = ""

    @staticmethod
    def parse(line: str) -> Member:
        """Reads a line.

        Raises:
            ValueError: it is not a member's line; the text says what one looks like.
        """
        found = _LINE.fullmatch(line.strip())
        if found is None or not 0 < int(found["id"]) < 256:
            raise ValueError(
                f'"{line.strip()}" is not a member such as "server.1=host:2888:3888:participant;2181" '
                "(with an id from 1 to 255)"
            )
        if not all(
            int(found[port]) < 1 << 16 for port in ("quorum", "election")
        ):  # 0: any, of one on its own
            raise ValueError(f'"{line.strip()}": ports go up to 65535')
        role: Role = "observer" if found["role"] == "observer" else "participant"
        return Member(
            int(found["id"]),
            found["host"],
            int(found["quorum"]),
            int(found["election"]),
            role,
            found["client"] or "",
        )

    def __str__(self) -> str:
        """Returns its line."""
        client = f";{self.client}" if self.client else ""
        return f"server.{self.id}={self.host}:{self.quorum_port}:{self.election_port}:{self.role}{client}"


class Configuration(Struct, frozen=True):
    """The ensemble as of a transaction: `version` is the zxid of the one that made it, 0 for the first."""

    members: tuple[Member, ...]
    version: int = 0

    @staticmethod
    def parse(text: str) -> Configuration:
        """Reads the textual form.

        Raises:
            ValueError: a line is none, two members have one id, or nobody may vote.
        """
        members, version = [], 0
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.startswith("version="):
                version = int(line.removeprefix("version="), 16)
            else:
                members.append(Member.parse(line))
        return Configuration.of(members, version)

    @staticmethod
    def of(members: Iterable[Member], version: int = 0) -> Configuration:
        """Returns a configuration, its members in order of their ids.

        Raises:
            ValueError: two members have one id or one address, or nobody may vote.
        """
        ordered = tuple(sorted(members))
        if len({member.id for member in ordered}) < len(ordered):
            raise ValueError("two members have the same id")
        at: dict[tuple[str, int], int] = {}
        for member in ordered:
            other = at.setdefault((member.host, member.quorum_port), member.id)
            if other != member.id:
                raise ValueError(
                    f"server.{other} and server.{member.id} are both at {member.host}:{member.quorum_port}"
                )
        if all(member.role == "observer" for member in ordered):
            raise ValueError("an ensemble needs a participant")
        return Configuration(ordered, version)

    def __str__(self) -> str:
        """Returns the textual form."""
        return "\n".join([*map(str, self.members), f"version={self.version:x}"])

    @property
    def participants(self) -> tuple[int, ...]:
        """The ids of those who vote."""
        return tuple(member.id for member in self.members if member.role == "participant")

    @property
    def observers(self) -> tuple[int, ...]:
        """The ids of those who only learn."""
        return tuple(member.id for member in self.members if member.role == "observer")

    def member(self, number: int) -> Member | None:
        """Returns the member with that id, if there is one."""
        return next((member for member in self.members if member.id == number), None)

    def is_quorum(self, ids: Collection[int]) -> bool:
        """Says whether these are a majority of the participants. Ids of others do not count."""
        return 2 * sum(number in ids for number in self.participants) > len(self.participants)
