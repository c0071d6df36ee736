"""What the doors see of the server (`front.Front`): the way in, and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.coordination.front import ConnectionFigures, SessionFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.coordination.configuration import Configuration
    from services.coordination.front import Connection, Deliver, Hello
    from services.coordination.server.server import Server

VERSION = "3.8.0-dsim"  # whose contract this is
STATES = {"looking": "leaderelection", "leading": "leader", "following": "follower", "observing": "observer"}
"""What Apache calls the phases."""


class Frontend:
    """The server, for its doors.

    Args:
        server: it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._started = server.clock()

    async def connect(
        self, hello: Hello, address: str, deliver: Deliver, closed: Callable[[str], None]
    ) -> Connection:
        """Opens a session, or goes on with one.

        Raises:
            Unavailable, SessionOver: as `front.Front.connect` says.
        """
        return await self._server.admission.connect(hello, address, deliver, closed)

    def configuration(self) -> Configuration:
        """Returns the ensemble, as of the last transaction delivered here."""
        return self._server.tree.configuration

    def figures(self) -> Mapping[str, Any]:
        """Returns what `mntr`, `stat` and the metrics tell, by Apache's names."""
        server, counted, tree = self._server, self._server.figures_of, self._server.tree
        read_only = server.settings.read_only and not server.serving
        state = "read-only" if read_only else STATES[server.broadcast.phase]
        figures: dict[str, Any] = {
            "zk_version": VERSION,
            "zk_server_id": server.broadcast.server,
            "zk_server_state": state,
            "zk_peer_state": f"{state} - broadcast" if server.serving else state,
            "zk_uptime": round((server.clock() - self._started) * 1000),
            "zk_min_latency": round(counted.latency_min * 1000, 3),
            "zk_avg_latency": round(counted.latency_sum / (counted.requests or 1) * 1000, 4),
            "zk_max_latency": round(counted.latency_max * 1000, 3),
            "zk_packets_received": counted.received,
            "zk_packets_sent": counted.sent,
            "zk_num_alive_connections": len(server.connections),
            "zk_outstanding_requests": server.throttle.outstanding,
            "zk_outstanding_limit": server.settings.outstanding,
            "zk_znode_count": len(tree),
            "zk_watch_count": len(server.watches),
            "zk_ephemerals_count": sum(map(len, tree.ephemerals.values())),
            "zk_approximate_data_size": tree.data_size,
            "zk_global_sessions": len(tree.sessions),
            "zk_sessions_opened": counted.opened,
            "zk_connection_rejected": counted.refused,
            "zk_stale_sessions_expired": counted.expired,
            "zk_last_zxid": tree.zxid,
            "zk_tree_digest": f"{tree.digest:016x}",
            "zk_epoch": server.broadcast.epoch,
            "zk_leader": server.broadcast.leader or 0,
        }
        if server.leading is not None:
            synchronized = server.broadcast.synchronized
            ensemble = server.broadcast.configuration
            me = server.broadcast.server
            figures |= {
                "zk_leader_uptime": round(server.leading.uptime() * 1000),
                "zk_learners": len(synchronized) - (me in synchronized),
                "zk_synced_followers": sum(n in synchronized for n in ensemble.participants if n != me),
                "zk_synced_observers": sum(n in synchronized for n in ensemble.observers),
                "zk_pending_syncs": server.leading.pending_syncs,
                "zk_proposed_zxid": server.leading.proposed,
            }
        return figures

    def connections(self) -> list[ConnectionFigures]:
        """Returns what `cons` tells."""
        epoch = self._server.host.clock.time() - self._server.clock()
        return [connection.figures(epoch) for connection in self._server.connections.values()]

    def sessions(self) -> list[SessionFigures]:
        """Returns the sessions that this server knows of, with their ephemerals (`dump`)."""
        tree, leading = self._server.tree, self._server.leading
        return [
            SessionFigures(
                session,
                known.timeout,
                -1 if leading is None else leading.expiry.left(session),
                tuple(tree.ephemerals.get(session, ())),
            )
            for session, known in tree.sessions.items()
        ]

    def watches(self) -> Mapping[str, Sequence[int]]:
        """Returns the paths that clients of this server watch, and the sessions that do."""
        return self._server.watches.by_path()

    def digests(self) -> list[tuple[int, str]]:
        """Returns zxids and digests of the tree right after them, the latest last (`hash`)."""
        return list(self._server.digests)

    def reset(self) -> None:
        """Counts requests and latencies anew (`srst`)."""
        self._server.figures_of.reset()
