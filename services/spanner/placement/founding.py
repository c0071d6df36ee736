"""A universe at its beginning: which programs run where, and what each of them is told.

There is one way to found a universe, whether it is small and grows (`dsim up spanner`), or has thousands of
groups from the start (experiments): group 0 with the system tables, the user's groups as they are given, a
zonemaster with a location proxy in each zone, the universe master with the placement driver, time masters.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.system import ROOT, SYSTEM, SYSTEM_RANGE, USER_RANGE
from services.spanner.schema import Schema
from services.spanner.spanserver.settings import Founding

MASTERS = (
    {"name": "gps1", "zone": "z1"},
    {"name": "gps2", "zone": "z2"},
    {"name": "atomic1", "zone": "z3", "kind": "armageddon"},
)
"""Time masters, where nothing else is said."""

TIME_MASTER = "services.spanner.truetime.master:serve"
SPANSERVER = "services.spanner.spanserver:serve"
ZONEMASTER = "services.spanner.placement.zonemaster:serve"
UNIVERSE = "services.spanner.placement.universe:serve"


class Start(Struct, frozen=True):
    """A program to start.

    Attributes:
        name: of its host.
        program: "module:function".
        parameters: JSON values.
    """

    name: str
    program: str
    parameters: dict[str, Any]


class Plan(Struct, frozen=True, kw_only=True):
    """A universe to be.

    Attributes:
        zones: of its spanservers, by name.
        groups: of the user's tables, numbered from 1; together they have all keys of `USER_RANGE`.
        schema: the first one; it has the system tables.
        root: the members of group 0; none: a spanserver of each zone.
        masters: time masters: names, zones, and the kind where it is not "gps".
        settings: of spanservers, as `spanserver.settings.Settings` has them.
        driver: more parameters of the universe master: the period and limits of the placement driver.
        zonemaster: more parameters of zonemasters.
        prefix: of the names of the universe master and the zonemasters.
    """

    zones: Mapping[str, str]
    groups: Sequence[Founding]
    schema: Schema = SYSTEM
    root: tuple[Member, ...] = ()
    masters: Sequence[Mapping[str, str]] = MASTERS
    settings: Mapping[str, Any] = {}
    driver: Mapping[str, Any] = {}
    zonemaster: Mapping[str, Any] = {}
    prefix: str = ""

    @property
    def universe(self) -> str:
        """The name of the universe master."""
        return f"{self.prefix}universe"

    @property
    def zonemasters(self) -> dict[str, str]:
        """The names of the zonemasters, and location proxies, by zone."""
        return {zone: f"{self.prefix}zone-{zone}" for zone in dict.fromkeys(self.zones.values())}

    @property
    def root_group(self) -> Founding:
        """Group 0 (2: the universe's own)."""
        first = {zone: name for name, zone in reversed(list(self.zones.items()))}
        members = self.root or tuple(Member(first[zone], zone) for zone in self.zonemasters)
        return Founding(ROOT, members, hexadecimal(SYSTEM_RANGE))

    def proxies(self, zone: str = "") -> list[str]:
        """Returns the names of the location proxies, the one of a zone first."""
        return sorted(self.zonemasters.values(), key=lambda name: name != self.zonemasters.get(zone))

    def programs(self) -> list[Start]:
        """Returns all that is to be started, in order.

        Raises:
            ValueError: the groups do not have all keys, or some twice; no system tables in the schema.
        """
        self._check()
        masters = [dict(one) for one in self.masters]
        groups = msgspec.json.decode(msgspec.json.encode([self.root_group, *self.groups]))
        here: dict[str, list[dict[str, Any]]] = {name: [] for name in self.zones}
        for group in groups:
            for member in group["members"]:
                here[member["server"]].append(group)
        schema = self.schema.encode().hex()
        programs = [
            Start(one["name"], TIME_MASTER, {"kind": one.get("kind", "gps"), "masters": masters})
            for one in masters
        ]
        programs += [
            Start(
                name,
                SPANSERVER,
                {
                    "zone": zone,
                    "masters": masters,
                    "groups": here[name],
                    "schema": schema,
                    "locations": self.proxies(zone),
                    "settings": dict(self.settings),
                },
            )
            for name, zone in self.zones.items()
        ]
        programs += [
            Start(
                name,
                ZONEMASTER,
                {
                    "zone": zone,
                    "root": groups[0]["members"],
                    "spanservers": [server for server, where in self.zones.items() if where == zone],
                    "schema": schema,
                    **self.zonemaster,
                },
            )
            for zone, name in self.zonemasters.items()
        ]
        told = {
            "groups": groups,
            "schema": schema,
            "spanservers": dict(self.zones),
            "zonemasters": self.zonemasters,
        }
        programs.append(Start(self.universe, UNIVERSE, {**told, **self.driver}))
        return programs

    def _check(self) -> None:
        missing = [name for name in SYSTEM.tables if name not in self.schema.tables]
        if missing:
            raise ValueError(f"the first schema of a universe has the system tables, not {self.schema}")
        owned = sorted(part for group in self.groups for part in group.owned)
        edges = [part.start for part in owned] + [USER_RANGE.end]
        if edges[0] != USER_RANGE.start or [part.end for part in owned] != edges[1:]:
            raise ValueError("groups: together they have each key of the user's tables once")


def parts(cuts: Sequence[bytes]) -> list[KeyRange]:
    """Returns the keys of the user's tables, cut at some keys."""
    edges = [USER_RANGE.start, *cuts, USER_RANGE.end]
    return [KeyRange(start, end) for start, end in itertools.pairwise(edges)]


def hexadecimal(*ranges: KeyRange) -> tuple[tuple[str, str], ...]:
    """Returns ranges as `Founding` has them."""
    return tuple((one.start.hex(), one.end.hex()) for one in ranges)
