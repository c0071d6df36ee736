"""The seam between atomic broadcast and the database: what each may ask of the other (ZooKeeper, figure 4).

Zab orders transactions that it does not understand. The state machine above it turns requests into
transactions when it leads, applies them as they are delivered, and serves clients while it is told that it
may. Nothing here waits: a call returns at once, and what takes time is told by a later call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from services.coordination.configuration import Configuration

Phase: TypeAlias = Literal["looking", "following", "leading", "observing"]


class Broadcast(Protocol):
    """Zab, as the state machine sees it (implemented by `peer/`)."""

    @property
    def server(self) -> int:
        """This server's id."""
        ...

    @property
    def phase(self) -> Phase:
        """What this server is now; "leading" and "following" only once phase 2 is over."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch that this server is in (f.a)."""
        ...

    @property
    def leader(self) -> int | None:
        """Whom it follows (itself, when it leads)."""
        ...

    @property
    def configuration(self) -> Configuration:
        """The ensemble, as of the last transaction delivered here."""
        ...

    @property
    def next_zxid(self) -> int:
        """What the next proposal will be numbered. Only while leading."""
        ...

    @property
    def synchronized(self) -> Collection[int]:
        """The servers that are in sync with this leader, itself too. Only while leading."""
        ...

    def propose(self, transaction: bytes, reconfigure: Configuration | None = None) -> int:
        """Broadcasts a transaction and returns its zxid (`abcast`). Only between `ready` and `looking`.

        Args:
            transaction: what to order.
            reconfigure: the configuration that holds from its delivery on.

        Raises:
            NotLeading: this server does not lead, or no longer.
        """
        ...

    def send(self, to: int, message: Any) -> None:
        """Sends what rides along (`Forward`, `SyncRequest`, `Synced`, ...), in order with Zab's own messages.

        A message to a server with which there is no live iteration is dropped: whoever waits for an answer
        learns of it by `looking`, or by the end of that server's iteration (`lost`).
        """
        ...


class NotLeading(Exception):
    """`propose` where there is no established leader."""


class StateMachine(Protocol):
    """The database, as Zab sees it (implemented by `server/`)."""

    def deliver(self, zxid: int, transaction: bytes) -> None:
        """Applies a committed transaction (`abdeliver`): in zxid order, each once in the life of a process.

        After a restart, transactions that a snapshot holds already may come again (4.2, 4.3): applying
        must be idempotent.
        """
        ...

    def ready(self, epoch: int) -> None:
        """Tells that this server leads `epoch` and may propose: all of earlier epochs has been delivered."""
        ...

    def following(self, leader: int) -> None:
        """Tells that this server, perhaps an observer, has all that was committed, and may serve clients."""
        ...

    def looking(self, why: str) -> None:
        """Tells that there is no leader (any more): what was forwarded or proposed may or may not survive."""
        ...

    def heard(self, sender: int, message: Any) -> None:
        """Gets what rides along, in the order of sending."""
        ...

    def lost(self, server: int) -> None:
        """Tells a leader that a learner's iteration has ended."""
        ...

    def touched(self) -> list[int]:
        """Returns the sessions heard from since the last call: a learner's `Pong` carries them."""
        ...

    def snapshot(self) -> Iterator[bytes]:
        """Yields the state in pieces, none of them empty, each taken at one instant (4.3: fuzzy).

        Deliveries may happen between two pieces.
        """
        ...

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        """Puts what `snapshot` yielded in the place of the state.

        Raises:
            ValueError: it is damaged.
        """
        ...
