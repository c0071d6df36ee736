"""A leader's duties towards the ensemble, besides Zab's, for as long as it leads an epoch.

It turns requests into transactions (4.1), orders syncs (4.4), knows at which server each session is, and
ends what nobody keeps alive: sessions, empty containers, znodes past their time to live.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from protos import coordination_pb2 as pb
from services.coordination.api import CloseSession, Code, CreateSession, Identity, Reconfigure, Update
from services.coordination.broadcast import NotLeading
from services.coordination.server.expiry import Expiry
from services.coordination.state.expiry import due
from services.coordination.state.prepare import Preparer
from services.coordination.state.transactions import ErrorTxn, Transaction, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.coordination.broadcast import Broadcast
    from services.coordination.server.settings import Settings
    from services.coordination.state.limits import Limits
    from services.coordination.state.tree import Tree
    from services.host import Host

_decode = msgspec.msgpack.Decoder(Update).decode

MOST_REMOVED = 1000  # containers and old znodes that one look removes: deletes must not crowd out requests


class Leading:
    """One epoch's leadership.

    Args:
        host: the wall clock, and the trace.
        broadcast: to propose.
        tree: this server's replica, which has all of earlier epochs.
        settings, limits: the operator's.
        clock: seconds, never going back.
        touched: gets the sessions of this server's own clients that were heard from.
        local: takes what is meant for this server itself, as `Broadcast.send` takes it for others.
    """

    def __init__(
        self,
        host: Host,
        broadcast: Broadcast,
        tree: Tree,
        settings: Settings,
        limits: Limits,
        clock: Callable[[], float],
        touched: dict[int, None],
        local: Callable[[Any], None],
    ) -> None:
        self._host = host
        self._broadcast = broadcast
        self._tree = tree
        self._settings = settings
        self._local = local
        self._preparer = Preparer(tree, limits)
        self._epoch = broadcast.epoch
        self._proposed = tree.zxid
        self._owners: dict[int, int] = {}
        self._syncs: list[tuple[int, int]] = []  # server, number; wait for the next proposal
        self._touched = touched
        self._since = clock()
        self._clock = clock
        self.expiry = Expiry(clock, settings.tick)
        for session, known in tree.sessions.items():
            self.expiry.add(session, known.timeout)  # each gets its full time-out (4.4)
        self.over = False

    # Requests

    def heard(self, sender: int, message: Any) -> None:
        """Gets what a learner sends along."""
        match message:
            case pb.Forward():
                self._forwarded(sender, message)
            case pb.Pong():
                self._touched.update(dict.fromkeys(message.sessions))
            case pb.SyncRequest():
                self.synchronize(sender, message.number)
            case pb.Revalidate():
                self.revalidate(sender, message.session, message.number)

    def _forwarded(self, sender: int, message: Any) -> None:
        try:
            request = _decode(message.request)
        except (msgspec.MsgspecError, ValueError):
            self._send(
                sender, pb.Refused(session=message.session, cxid=message.cxid, code=Code.MARSHALLING_ERROR)
            )
            return
        identities = tuple(Identity(who.scheme, who.id) for who in message.identities)
        self.take(sender, message.session, message.cxid, request, identities)

    def take(
        self, origin: int, session: int, tag: int, request: Update, identities: Sequence[Identity]
    ) -> None:
        """Turns a request into a transaction and proposes it (4.1).

        Args:
            origin: the server that the client is connected to.
            session, tag: whose request, and that server's number for it.
            request: what is wanted.
            identities: who the session is.
        """
        self._touched[session] = None
        if type(request) is CreateSession and session not in self._tree.sessions:
            self._owners[session] = origin
        self._order(origin, session, tag, request, identities)

    def revalidate(self, origin: int, session: int, number: int) -> None:
        """Lets a session go on at another server, if it lives: what its old one still sends is refused."""
        valid = session in self._tree.sessions and not self._preparer.closing(session)
        if valid:
            self._touched[session] = None
            before = self._owners.get(session)
            self._owners[session] = origin
            self._preparer.own(session, origin)
            if before is not None and before != origin:
                self._send(before, pb.Revalidated(session=session, valid=False))
        self._send(origin, pb.Revalidated(session=session, number=number, valid=valid, zxid=self._proposed))

    def synchronize(self, origin: int, number: int) -> None:
        """Answers a sync with the zxid for which its server waits (4.4)."""
        if self._settings.sync == "leader":
            self._send(origin, pb.Synced(number=number, zxid=self._proposed))
            return
        # Only what is proposed from now on proves, when it is committed, that this server leads now. Either
        # a request comes by in this turn of the loop, or an empty transaction serves all syncs of the turn.
        if not self._syncs:
            asyncio.get_running_loop().call_soon(self._order_syncs)
        self._syncs.append((origin, number))

    # What is told

    def delivered(self, zxid: int, session: int) -> None:
        """Tells that a transaction of that session has been applied to the tree."""
        self._preparer.delivered(zxid)
        known = self._tree.sessions.get(session)
        if known is None:
            self.expiry.remove(session)
            self._owners.pop(session, None)
        elif session not in self.expiry:
            self.expiry.add(session, known.timeout)

    # Endings

    def expire(self) -> int:
        """Ends the sessions that were silent for their time-out; returns how many. Once a tick.

        What was heard since the last tick counts as heard now: that errs on the side of the session, and
        makes a sign of life cost next to nothing.
        """
        self.expiry.touch_all(self._touched)
        self._touched.clear()
        expired = self.expiry.due()
        for session in expired:
            self._host.trace("session expires", session=f"{session:x}")
            origin = self._owners.get(session, self._broadcast.server)
            self._order(origin, session, 0, CloseSession(), ())
        return len(expired)

    def remove_due(self) -> int:
        """Removes empty containers and znodes past their time to live; returns how many."""
        now, count = self._now(), 0
        for path in list(islice(due(self._tree, now), MOST_REMOVED)):
            zxid = self._next()
            if not zxid:
                break
            transaction = self._preparer.remove_expired(path, time=now, zxid=zxid)
            if transaction is not None:
                self._propose(transaction)
                count += 1
        return count

    def uptime(self) -> float:
        """Returns the seconds since it leads."""
        return self._clock() - self._since

    @property
    def proposed(self) -> int:
        """The last zxid that was proposed."""
        return self._proposed

    @property
    def pending_syncs(self) -> int:
        """How many syncs wait for the next proposal."""
        return len(self._syncs)

    def _order(
        self, origin: int, session: int, tag: int, request: Update, identities: Sequence[Identity]
    ) -> None:
        zxid = self._next()
        if zxid:
            self._propose(
                self._preparer.prepare(
                    request,
                    session=session,
                    cxid=tag,
                    server=origin,
                    identities=identities,
                    time=self._now(),
                    zxid=zxid,
                    synced=self._broadcast.synchronized if type(request) is Reconfigure else None,
                )
            )

    def _order_syncs(self) -> None:
        if self._syncs and self._next():
            self._propose(Transaction(0, 0, self._now(), ErrorTxn(Code.OK)))

    def _next(self) -> int:
        """Returns what the next proposal will be numbered, 0 if there will be none.

        What this server is may have changed already, and be told only after deliveries that take time:
        whoever waits for an answer then hears of it by `looking`.
        """
        if self.over or self._broadcast.epoch != self._epoch:
            return 0
        try:
            return self._broadcast.next_zxid
        except NotLeading:
            return 0

    def _propose(self, transaction: Transaction) -> None:
        try:
            self._proposed = self._broadcast.propose(encode(transaction), transaction.configuration)
        except ValueError:  # the change of the ensemble before this one is delivered, and not settled yet
            refused = ErrorTxn(Code.RECONFIG_IN_PROGRESS)
            self._proposed = self._broadcast.propose(encode(replace(transaction, change=refused)))
        if self._syncs:
            for origin, number in self._syncs:
                self._send(origin, pb.Synced(number=number, zxid=self._proposed))
            self._syncs.clear()

    def _send(self, to: int, message: Any) -> None:
        if to == self._broadcast.server:
            self._local(message)
        else:
            self._broadcast.send(to, message)

    def _now(self) -> int:
        return self._host.clock.time_ns() // 1_000_000
