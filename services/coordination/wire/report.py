"""What an operator may ask of a server, as plain values. Four-letter words and pages are ways to print it.

Names are those of Apache's admin server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from services.coordination.configuration import Configuration, Member
    from services.coordination.front import ConnectionFigures, Front

Sizes: TypeAlias = Callable[[], Awaitable[tuple[int, int]]]
Descriptors: TypeAlias = Callable[[], tuple[int, int]]

STATES = {"leader", "follower", "observer", "standalone", "read-only"}
"""States of a server in which it serves somebody."""


OPERATIONS = {
    "Ping": "PING",
    "Create": "CREA",
    "Delete": "DELE",
    "SetData": "SETD",
    "SetAcl": "SETA",
    "Check": "CHEC",
    "Multi": "MULT",
    "MultiRead": "MLTR",
    "CloseSession": "CLOS",
    "Reconfigure": "RECO",
    "GetData": "GETD",
    "Exists": "EXIS",
    "GetChildren": "GETC",
    "GetAcl": "GETA",
    "GetEphemerals": "GETE",
    "GetAllChildrenNumber": "GACN",
    "WhoAmI": "WHOA",
    "Sync": "SYNC",
    "Authenticate": "AUTH",
    "AddWatch": "ADDW",
    "SetWatches": "SETW",
    "CheckWatches": "CHKW",
    "RemoveWatches": "REMW",
}
"""What Apache calls operations, by the class of the request."""


def operation(connection: ConnectionFigures) -> str:
    """Returns Apache's name for a connection's last operation."""
    return OPERATIONS.get(connection.last_operation, "NA")


async def _no_sizes() -> tuple[int, int]:
    return 0, 0


class Report:
    """What there is to say.

    Args:
        front: the server.
        configuration: what is set, by the names of `zoo.cfg`, in order.
        initial: the text of the configuration.
        environment: what runs here, by Apache's names.
        sizes: returns the bytes of snapshots and of logs on the disk.
        descriptors: returns how many files and connections the process has open, and may have.
        ensemble: returns who is in it; None for a server on its own, which is not called a leader.
    """

    def __init__(
        self,
        front: Front,
        configuration: Mapping[str, Any],
        *,
        initial: str = "",
        environment: Mapping[str, str] | None = None,
        sizes: Sizes = _no_sizes,
        descriptors: Descriptors | None = None,
        ensemble: Callable[[], Configuration] | None = None,
    ) -> None:
        self._front = front
        self.configuration = configuration
        self.initial = initial
        self.environment = {"zookeeper.version": self.version, **(environment or {})}
        self.sizes = sizes
        self._descriptors = descriptors
        self._ensemble = ensemble
        self.addresses: Callable[[], dict[int, str]] = dict

    @property
    def serving(self) -> bool:
        """Whether the server has a leader, or serves reads without one."""
        return self.state in STATES

    @property
    def state(self) -> str:
        """What the server is: `zk_server_state`."""
        state = str(self._front.figures().get("zk_server_state", ""))
        return "standalone" if state == "leader" and self._ensemble is None else state

    @property
    def version(self) -> str:
        """The release whose contract this is: clients look at it to see what a server can do."""
        return str(self._front.figures().get("zk_version", ""))

    def voting(self) -> list[Member]:
        """Returns the members that vote."""
        members = self._ensemble().members if self._ensemble is not None else ()
        return [member for member in members if member.role == "participant"]

    def leader(self) -> Member | None:
        """Returns who leads, as far as this server knows."""
        leader = self._front.figures().get("zk_leader", 0)
        return self._ensemble().member(leader) if self._ensemble is not None else None

    def monitor(self) -> dict[str, Any]:
        """Returns the figures, by the names of `mntr`."""
        figures = {**self._front.figures(), "zk_server_state": self.state}
        if self._descriptors is not None:
            names = ("zk_open_file_descriptor_count", "zk_max_file_descriptor_count")
            figures |= zip(names, self._descriptors(), strict=True)
        return figures

    def stats(self) -> dict[str, Any]:
        """Returns what `srvr` tells."""
        figures = self._front.figures()
        return {
            "packets_sent": figures.get("zk_packets_sent", 0),
            "packets_received": figures.get("zk_packets_received", 0),
            "server_state": self.state,
            "last_processed_zxid": figures.get("zk_last_zxid", 0),
            "outstanding_requests": figures.get("zk_outstanding_requests", 0),
            "min_latency": figures.get("zk_min_latency", 0),
            "avg_latency": float(figures.get("zk_avg_latency", 0)),
            "max_latency": figures.get("zk_max_latency", 0),
            "num_alive_client_connections": figures.get("zk_num_alive_connections", 0),
            "uptime": figures.get("zk_uptime", 0),
            "node_count": figures.get("zk_znode_count", 0),
        }

    def connections(self) -> list[ConnectionFigures]:
        """Returns the connections, in order of their sessions."""
        return sorted(self._front.connections(), key=lambda connection: connection.session)

    def address(self, connection: ConnectionFigures) -> str:
        """Returns "address:port" of a connection, as far as it is known."""
        return self.addresses().get(connection.session, connection.address)

    def expiry(self) -> dict[int, list[int]]:
        """Returns sessions by the ms in which they expire, where the server knows."""
        found: dict[int, list[int]] = {}
        for session in self._front.sessions():
            found.setdefault(session.expires, []).append(session.session)
        return dict(sorted(found.items()))

    def ephemerals(self) -> dict[int, list[str]]:
        """Returns the ephemerals of each session that has any."""
        return {
            session.session: sorted(session.ephemerals)
            for session in sorted(self._front.sessions(), key=lambda session: session.session)
            if session.ephemerals
        }

    def watches_by_path(self) -> dict[str, list[int]]:
        """Returns who watches each path."""
        return {path: sorted(sessions) for path, sessions in sorted(self._front.watches().items())}

    def watches_by_session(self) -> dict[int, list[str]]:
        """Returns what each session watches."""
        found: dict[int, list[str]] = {}
        for path, sessions in self.watches_by_path().items():
            for session in sessions:
                found.setdefault(session, []).append(path)
        return dict(sorted(found.items()))

    def digests(self) -> list[tuple[int, str]]:
        """Returns digests of the tree, the latest last."""
        return list(self._front.digests())
