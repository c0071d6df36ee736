"""Where chunks are, and where they should be: the master's view of its chunkservers, without I/O.

None of this is durable: chunkservers say what they have when they start, and whenever the master does not
know them. Placement spreads the replicas of a chunk over racks, then over hosts; the first lies on the
writer's own host when that has a chunkserver. Of ten candidates, drawn by lot, the emptiest is taken: nearly
as even as looking at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from protos import files_pb2 as pb


class Server(Struct, eq=False):
    """A chunkserver.

    Attributes:
        address: "host" or "host:port".
        heard: loop time of its last heartbeat.
        reported: it has said all that it has.
        remove: chunks that it is to remove, until it says that they are gone.
        corrupt: chunks that it has, but damaged.
        copy: chunks that it is to get from others, until it has them.
    """

    address: str
    host: str
    rack: str
    incarnation: int
    heard: float
    number: int = -1
    used_bytes: int = 0
    chunks: dict[int, None] = field(default_factory=dict)
    reported: bool = False
    remove: dict[int, None] = field(default_factory=dict)
    corrupt: dict[int, None] = field(default_factory=dict)
    copy: dict[int, None] = field(default_factory=dict)


class Replicas:
    """Which chunkservers are alive, and what they hold.

    Attributes:
        servers: those alive, by address.
        where: addresses that hold a chunk.
    """

    def __init__(self, rng: random.Random) -> None:
        self.servers: dict[str, Server] = {}
        self.where: dict[int, dict[str, None]] = {}
        self._rng = rng
        self._racks: dict[str, str] = {}  # of hosts

    def heard(self, beat: pb.Beat, now: float) -> Server | None:
        """Takes a sign of life; None when it is an old one that was late."""
        server = self.servers.get(beat.server)
        if server is not None:
            if (beat.incarnation, beat.number) <= (server.incarnation, server.number):
                return None
            if beat.incarnation == server.incarnation:
                server.heard, server.number, server.used_bytes = now, beat.number, beat.used_bytes
                return server
            self.lose(server)
        server = Server(
            beat.server, beat.host, beat.rack, beat.incarnation, now, beat.number, beat.used_bytes
        )
        self.servers[server.address] = server
        self._racks[server.host] = server.rack
        return server

    def lose(self, server: Server) -> list[int]:
        """Forgets a chunkserver; returns the chunks that it held."""
        del self.servers[server.address]
        held = list(server.chunks)
        for chunk in held:
            self.drop(chunk, server)
        return held

    def add(self, chunk: int, address: str) -> None:
        """A chunkserver has a chunk."""
        server = self.servers.get(address)
        if server is not None:
            server.chunks[chunk] = None
            self.where.setdefault(chunk, {})[address] = None

    def drop(self, chunk: int, server: Server) -> None:
        """A chunkserver has a chunk no longer, or is not to be asked for it."""
        server.chunks.pop(chunk, None)
        holders = self.where.get(chunk)
        if holders is not None:
            holders.pop(server.address, None)
            if not holders:
                del self.where[chunk]

    def orphan(self, chunk: int) -> None:
        """Has whoever holds it remove a chunk that no file has."""
        for address in list(self.where.get(chunk, ())):
            server = self.servers[address]
            self.drop(chunk, server)
            server.remove[chunk] = None

    def nearest(self, chunk: int, host: str) -> list[str]:
        """Returns who holds a chunk: on the host itself, then in its rack, then the others, by lot."""
        rack = self._racks.get(host, "")
        held = [self.servers[address] for address in self.where.get(chunk, ())]
        self._rng.shuffle(held)
        held.sort(key=lambda s: (s.host != host, not rack or s.rack != rack))
        return [server.address for server in held]

    def place(
        self, count: int, host: str = "", avoid: Iterable[str] = (), beside: Sequence[str] = ()
    ) -> list[str]:
        """Chooses chunkservers for a chunk; fewer than `count` when there are no more.

        Args:
            count: how many.
            host: who writes.
            avoid: chunkservers that are not to be chosen.
            beside: those that hold the chunk already.
        """
        avoid = dict.fromkeys([*avoid, *beside])
        free = [server for server in self.servers.values() if server.address not in avoid]
        taken = [self.servers[address] for address in beside if address in self.servers]
        hosts = dict.fromkeys(server.host for server in taken)
        racks = dict.fromkeys(server.rack for server in taken)
        chosen: list[str] = []
        while len(chosen) < count:
            free = [server for server in free if server.host not in hosts]
            if not free:
                break
            local = [server for server in free if server.host == host] if not hosts else []
            elsewhere = [server for server in free if server.rack not in racks]
            some = local or elsewhere or free
            # The emptier of two: what has been placed since the last heartbeats is in no `used_bytes`
            # yet, so the emptiest of all would get everything (Mitzenmacher, The Power of Two Choices).
            some = self._rng.sample(some, min(2, len(some)))
            best = min(some, key=lambda server: server.used_bytes)
            chosen.append(best.address)
            hosts[best.host] = racks[best.rack] = None
        return chosen

    def surplus(self, chunk: int, wanted: int) -> list[Server]:
        """Returns who is to give up a chunk that has replicas too many: first where a rack holds several."""
        held = [self.servers[address] for address in self.where.get(chunk, ())]
        out: list[Server] = []
        while len(held) > wanted:
            racks = [server.rack for server in held]
            worst = max(held, key=lambda s: (racks.count(s.rack), s.used_bytes))
            held.remove(worst)
            out.append(worst)
        return out
