"""What stories about TrueTime begin with: time masters in zones, and hosts that ask them and use the time.

The same in both worlds. Each zone has masters (`gps1.zone1`, ..., `atomic1.zone1`) and hosts; the hosts run
`keep_time`, which does what every spanserver does: it runs a timeslave, and asks it for the time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from services.spanner.truetime import Settings, Timeslave, Unsynchronized, masters_of
from services.spanner.truetime.master import serve

if TYPE_CHECKING:
    from services.host import Host
    from sim import World


async def keep_time(
    host: Host,
    masters: list[Any],
    zone: str = "",
    settings: dict[str, Any] | None = None,
    look_s: float = 0.1,
) -> None:
    """Runs a timeslave, and asks it for the time again and again.

    Args:
        host: on which it runs.
        masters: all time masters.
        zone: of the host.
        settings: of `truetime.Settings`, by name.
        look_s: seconds from one call of `TT.now` to the next.
    """
    timeslave = Timeslave(host, masters_of(masters), msgspec.convert(settings or {}, Settings), zone=zone)

    async def look() -> None:
        last = 0
        while True:
            try:
                earliest = timeslave.now().earliest
            except Unsynchronized:
                last = 0
            else:
                if earliest < last:
                    raise AssertionError(f"{host.name}: earliest went back by {last - earliest} ns")
                last = earliest
            await asyncio.sleep(look_s)

    await asyncio.gather(timeslave.run(), look())


class Timekeepers:
    """Zones with time masters and hosts.

    Args:
        world: where.
        zones: how many.
        gps, armageddon: masters of either kind in each zone.
        hosts: in each zone, besides.
        settings: of the hosts' timeslaves, by name.
        compare_s: seconds between comparisons of the masters.

    Attributes:
        masters: the time masters, with their zones.
        hosts: the hosts, by zone.
    """

    def __init__(
        self,
        world: World,
        zones: int = 3,
        *,
        gps: int = 2,
        armageddon: int = 1,
        hosts: int = 1,
        settings: dict[str, Any] | None = None,
        compare_s: float = 10.0,
    ) -> None:
        self.world = world
        self.settings = settings or {}
        names = [f"zone{number}" for number in range(1, zones + 1)]
        self.masters = [
            {"name": f"{name}{number}.{zone}", "zone": zone, "kind": kind}
            for zone in names
            for name, kind, count in (("gps", "gps", gps), ("atomic", "armageddon", armageddon))
            for number in range(1, count + 1)
        ]
        self.hosts = {zone: [f"host{number}.{zone}" for number in range(1, hosts + 1)] for zone in names}
        self._compare_s = compare_s

    def of(self, zone: str) -> list[str]:
        """Returns the names of a zone's masters."""
        return [one["name"] for one in self.masters if one["zone"] == zone]

    def all_hosts(self) -> list[str]:
        """Returns the names of all hosts that keep time, zone by zone."""
        return [host for hosts in self.hosts.values() for host in hosts]

    def observer(self, name: str, zone: str) -> Timeslave:
        """Returns the TrueTime of one more host, for the story to look at; it polls from now on."""
        settings = msgspec.convert(self.settings, Settings)
        timeslave = Timeslave(self.world.client(name), masters_of(self.masters), settings, zone=zone)
        self.world.spawn(timeslave.run(), name=f"timeslave-{name}")
        return timeslave

    async def start(self) -> None:
        """Starts them all, masters first, and returns when the masters serve."""
        for one in self.masters:
            await self.world.start(
                one["name"],
                serve,
                kind=one["kind"],
                masters=self.masters,
                settings={"compare_s": self._compare_s},
            )
        await self.world.serving(*(one["name"] for one in self.masters))
        for zone, hosts in self.hosts.items():
            for host in hosts:
                await self.start_host(host, zone)

    async def start_host(self, host: str, zone: str, **settings: Any) -> None:
        """Starts a host that keeps time."""
        await self.world.start(
            host, keep_time, masters=self.masters, zone=zone, settings={**self.settings, **settings}
        )


def check_programs(world: World, name: str) -> None:
    """Reports whether a program ended by raising, as a check of that name."""
    broken = [f"{failure.host}: {failure.error}" for failure in world.failures()]
    world.check(name, not broken, "; ".join(broken) or "no program ended")
