"""What an operator may set of the server. Defaults are Apache's, where it has the setting."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

SyncMode: TypeAlias = Literal["quorum", "leader"]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and choices of one server.

    Attributes:
        tick: seconds; the unit of heartbeats, and of how finely silence is measured.
        min_session_timeout, max_session_timeout: ms; 0 for 2 and 20 ticks. What a client asks for is
            brought into this range.
        outstanding: requests that this server has taken and not answered (5.1: 2,000); more wait at the door.
        outstanding_per_connection: the same, of one client.
        connections: of clients; 0 for any number.
        connections_per_address: of clients at one network address; 0 for any number.
        watches: that clients may have set at this server, all together; 0 for any number. A read with a watch
            too many is refused (THROTTLED).
        max_buffer: bytes of a request (`jute.maxbuffer`).
        batch: bytes of answers that travel together to a client, unless a single one is larger; and of
            messages to another server, and one more. 1: each travels alone.
        unread: bytes of answers that a client may leave unread before its connection is closed.
        handshake: seconds in which a client must have said who it is.
        sync: "quorum" orders a transaction after each `sync` (many share one), so that a read after it is
            linearizable; "leader" waits for what was pending at the leader (4.4), which is cheaper and
            wrong when the leader has just been deposed without knowing it (ZOOKEEPER-1675).
        read_only: whether a server without a quorum answers reads of clients that ask for it.
        reconfigure: whether the ensemble may be changed by clients.
        extended_types: whether znodes may have a time to live.
        enforce_quota: whether what would exceed a quota is refused, or only warned of.
        super_digest: "super:" and the hash of user and password, of who may do everything; "" for nobody.
        skip_acl: whether access control is off.
        container_interval: seconds between two looks for empty containers and znodes past their time to live.
        digest_every: a note with the digest of the tree goes to the trace each so many transactions; 0 for
            none.
    """

    tick: float = 2.0
    min_session_timeout: int = 0
    max_session_timeout: int = 0
    outstanding: int = 1000
    outstanding_per_connection: int = 1000
    connections: int = 0
    connections_per_address: int = 60
    watches: int = 5_000_000
    max_buffer: int = 0xFFFFF
    batch: int = 1 << 20
    unread: int = 16 << 20
    handshake: float = 10.0
    sync: SyncMode = "quorum"
    read_only: bool = False
    reconfigure: bool = False
    extended_types: bool = True
    enforce_quota: bool = True
    super_digest: str = ""
    skip_acl: bool = False
    container_interval: float = 60.0
    digest_every: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
            ValueError: naming the setting, and what it may be.
        """
        for name in ("tick", "handshake", "container_interval"):
            if not 0 < getattr(self, name) < 1e6:
                raise ValueError(f"{name} is {getattr(self, name)}, must be seconds above 0")
        for name in ("outstanding", "outstanding_per_connection", "max_buffer", "batch", "unread"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be 1 or more")
        least, most = self.session_timeouts
        if not 0 < least <= most < 1 << 31:
            raise ValueError(f"session time-outs from {least} to {most} ms are no range")

    @property
    def session_timeouts(self) -> tuple[int, int]:
        """The least and the most that a session's time-out can be, in ms."""
        tick = round(self.tick * 1000)
        return self.min_session_timeout or 2 * tick, self.max_session_timeout or 20 * tick

    def negotiate(self, timeout: int) -> int:
        """Returns the time-out that a client gets, in ms, which asks for `timeout`."""
        least, most = self.session_timeouts
        return min(max(timeout, least), most)
