"""Placement options (2.2): how many replicas of which kind are in which zone, and on which servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.group import Member

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = ("read-write", "read-only", "witness")
NOTHING = (0.0, 0)


class Option(Struct, frozen=True):
    """A placement option: how many replicas of which kind are in which zone (2.2).

    Attributes:
        replicas: (zone, kind) of each, sorted.
    """

    replicas: tuple[tuple[str, str], ...]

    @staticmethod
    def parse(told: str) -> Option:
        """Returns the option of a line such as "z1 z2:2 z3:witness z4:read-only".

        Args:
            told: zones, each with how many replicas it has (1 when not said), or of which kind.

        Raises:
            SpannerError: INVALID_ARGUMENT: in one line, what is wrong.
        """
        replicas: list[tuple[str, str]] = []
        for word in told.split():
            zone, _, what = word.partition(":")
            if not zone or not (what in KINDS or not what or (what.isdigit() and 0 < int(what) < 10)):
                raise SpannerError(
                    "INVALID_ARGUMENT",
                    f'placement option "{word[:60]}": expected ZONE, ZONE:NUMBER, or '
                    f"ZONE:KIND ({', '.join(KINDS)})",
                )
            count, kind = (int(what), "read-write") if what.isdigit() else (1, what or "read-write")
            replicas += [(zone, kind)] * count
        if not any(kind == "read-write" for _, kind in replicas):
            raise SpannerError(
                "INVALID_ARGUMENT", f'placement option "{told[:60]}" has no read-write replica'
            )
        return Option(tuple(sorted(replicas)))

    @staticmethod
    def of(members: Sequence[Member]) -> Option:
        """Returns the option that members fulfil."""
        return Option(tuple(sorted((one.zone, one.kind) for one in members)))

    def members(
        self, servers: Mapping[str, str], load: Mapping[str, tuple[float, int]]
    ) -> tuple[Member, ...] | None:
        """Chooses servers, those with the least to do first; None: there are too few.

        Args:
            servers: zones, by name.
            load: how much is asked of each, and how many replicas it has.
        """
        chosen: dict[str, Member] = {}
        for zone, kind in sorted(self.replicas, key=lambda one: (KINDS.index(one[1]), one[0])):
            free = [name for name, where in servers.items() if where == zone and name not in chosen]
            if not free:
                return None
            name = min(free, key=lambda name: (load.get(name, NOTHING), name))
            chosen[name] = Member(name, zone, kind)
        return tuple(
            sorted(
                chosen.values(),
                key=lambda one: (KINDS.index(one.kind), load.get(one.server, NOTHING), one.zone),
            )
        )
