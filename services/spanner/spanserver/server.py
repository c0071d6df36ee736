"""A spanserver: the groups that it hosts (2.1: between 100 and 1000 tablets; here, any number)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.replica import Replica, Replicas
from services.spanner.schema.orphans import orphans
from services.spanner.spanserver.coordinators import RemoteCoordinators
from services.spanner.spanserver.genesis import found
from services.spanner.storage import StorageFailed, StorageRefused
from services.spanner.tablet import Tablet
from services.spanner.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.host import Host
    from services.spanner.spanserver.settings import Founding, Settings
    from services.spanner.storage import Storage
    from services.spanner.truetime import TrueTime


FOUNDED = "founded"
"""A file that is there once the groups of the configuration have been made."""


class Descriptor(Struct, frozen=True, array_like=True):
    """What the log keeps of a replica's creation: the group's members, and who should lead."""

    members: tuple[Member, ...]
    preferred: str = ""


class Hosted(Struct, eq=False):
    """A replica of a group on this server.

    Attributes:
        replica: its Paxos.
        tablet: its data; of a witness, nothing.
        transactions: on it.
    """

    replica: Replica
    tablet: Tablet
    transactions: Transactions


class Spanserver:
    """A server of many groups.

    Args:
        host: its door.
        zone: where it is.
        storage: opened.
        truetime: the host's.
        locations: names of location proxies.
        settings: see there.

    Attributes:
        groups: by number, what is hosted.
        replicas: their Paxos.
    """

    def __init__(
        self,
        host: Host,
        zone: str,
        storage: Storage,
        truetime: TrueTime,
        locations: Sequence[str],
        settings: Settings,
    ) -> None:
        self.host = host
        self.zone = zone
        self.truetime = truetime
        self.groups: dict[int, Hosted] = {}
        self.replicas = Replicas(host, settings.universe, storage, truetime, settings.paxos)
        self._settings = settings
        self._storage = storage
        self._coordinators = RemoteCoordinators(host, locations, self._known)
        self._changing = asyncio.Lock()

    async def run(self, founding: Sequence[Founding], schema: bytes = b"") -> None:
        """Takes part until cancelled, with the groups that the disk has, and those of the configuration.

        Args:
            founding: groups that there are from the beginning.
            schema: their first one, encoded.

        Raises:
            StorageFailed, StorageRefused: the disk.
            InvariantBroken: the rules of a group found themselves broken.
        """
        running = asyncio.ensure_future(self.replicas.run())
        background: list[asyncio.Future[None]] = [running]
        try:
            for number, image in list(self._storage.groups.items()):
                try:
                    described = msgspec.msgpack.decode(image.members, type=Descriptor)
                except msgspec.DecodeError as exc:
                    raise StorageRefused(f"group {number}: its members cannot be read: {exc}") from None
                await self._open(number, described)
            await self._found(founding)
            background += [
                asyncio.ensure_future(found(self.groups[one.group], one, schema, self.host.name))
                for one in founding
                if one.group in self.groups
            ]
            await running
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._coordinators.close()

    async def _found(self, founding: Sequence[Founding]) -> None:
        """Hosts the groups of the configuration, once: one that was dropped since has forgotten its promises.

        Raises:
            StorageFailed: the disk.
        """
        disk = self.host.disk
        try:
            if await disk.exists(FOUNDED):
                return
            for one in founding:
                if self.host.name in [member.server for member in one.members]:
                    await self.create(one.group, one.members, one.preferred or one.members[0].server)
            file = await disk.open(FOUNDED, "a")
            await file.append(b"its first groups were made\n", sync=True)
            await file.close()
            await disk.sync()
        except OSError as exc:
            raise StorageFailed(f"{self.host.name} cannot note that its groups are made: {exc}") from exc

    def hosted(self, group: int) -> Hosted:
        """Returns a group.

        Raises:
            SpannerError: UNAVAILABLE, "unknown-group": it is not hosted here.
        """
        hosted = self.groups.get(group)
        if hosted is None:
            raise SpannerError(
                "UNAVAILABLE", f"{self.host.name} has no replica of group {group}", "unknown-group"
            )
        return hosted

    async def create(self, group: int, members: tuple[Member, ...], preferred: str = "") -> None:
        """Hosts a replica of a group, durably; no effect where it does.

        Raises:
            SpannerError: ALREADY_EXISTS: with other members.
        """
        async with self._changing:
            if group in self.groups:
                if self.groups[group].replica.members != members:
                    raise SpannerError("ALREADY_EXISTS", f"group {group} is here with other members")
                return
            described = Descriptor(members, preferred)
            await self.replicas.create(group, msgspec.msgpack.encode(described))
            await self._open(group, described)

    async def drop(self, group: int) -> None:
        """Hosts a group no more; no effect where it does not."""
        async with self._changing:
            if self.groups.pop(group, None) is not None:
                await self.replicas.drop(group)

    async def _open(self, group: int, described: Descriptor) -> None:
        mine = next(one for one in described.members if one.server == self.host.name)
        tablet = Tablet(orphans)
        transactions = Transactions(tablet, self.host, self._coordinators, self._settings.transactions)
        machine = transactions if mine.holds_data else None
        replica = await self.replicas.add(group, described.members, machine, described.preferred)
        transactions.attach(replica)
        self.groups[group] = Hosted(replica, tablet, transactions)

    def _known(self, group: int) -> tuple[Sequence[Member], str] | None:
        hosted = self.groups.get(group)
        return (hosted.replica.members, hosted.replica.leader) if hosted is not None else None
