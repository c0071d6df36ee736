"""Connections as TCP gives them: in order, whole, hanging across a cut, broken by a crash.

What one end sends arrives at the other in order or, when the connection breaks, not at all. While a path
is blocked, what was under way and what is sent waits with the sender, which tries again after TCP's
retransmission timeout, doubled each time: a connection hangs, and goes on some time after the
path has healed. After fifteen tries (some 15 minutes) it is given up.

A process that dies resets its connections, if the path works at that moment; otherwise the peer
knows nothing of it (a half-open connection) until something it sends reaches the host and is answered
by a reset.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush
from typing import TYPE_CHECKING, Any

from sim.world.network.flows import BULK, Flow
from sim.world.network.path import MESSAGE, RETRIES, RTO_MAX
from sim.world.timers import NORMAL, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.network.network import Network
    from sim.world.network.path import Path
    from sim.world.process import Process


def arrived(delivery: Delivery) -> None:
    """What happens when a message arrives."""
    to = delivery.to
    if to.open:
        delivery.arrive(*delivery.args)
    else:
        to._refuse(delivery)


ARRIVED = (arrived,)


_NOTHING: tuple[()] = ()  # most ends never have anything wait: a deque of one's own would be 600 bytes


class Endpoint:
    """One end of a connection.

    Attributes:
        process: its owner.
        peer: the other end.
        open: False once this side has closed it or learned that it is gone.
        on_broken: called once, with the reason, when this side learns that the connection is gone
            (not when it closes the connection itself).
        on_lost: called with the reason and the arguments of `arrive` of each message sent from this end
            that will never arrive.
        owner: what the layer above keeps here, for the other end to find.
    """

    __slots__ = (
        "_env",
        "_flow",
        "_last",
        "_network",
        "_path",
        "_queue",
        "_tries",
        "on_broken",
        "on_lost",
        "open",
        "owner",
        "peer",
        "process",
    )

    peer: Endpoint

    def __init__(self, network: Network, process: Process, path: Path) -> None:
        self._network = network
        self._env = network.env
        self._path = path
        self._last = 0  # when the message before arrives: none may overtake it
        # What cannot be sent now, because the path is blocked or a flow is under way (its head): a deque of
        # (size, arrive, args).
        self._queue: Any = _NOTHING
        self._flow: Flow | None = None
        self._tries = 0
        self.process = process
        self.open = True
        self.owner: Any = None
        self.on_broken: Callable[[str], None] = _ignore
        self.on_lost: Callable[[str, tuple[Any, ...]], None] = _ignore_lost

    def send(self, size: int, arrive: Callable[..., None], *args: Any) -> None:
        """Sends `size` bytes; `arrive(*args)` is called, as hardware, when the last is at the peer."""
        self.transmit(size, arrive, args, ARRIVED)

    def transmit(
        self,
        size: int,
        arrive: Callable[..., None],
        args: tuple[Any, ...],
        callbacks: tuple[Callable[[Delivery], None]],
    ) -> None:
        """Sends as `send` does; the callback may do what `arrived` does with the message in its own way."""
        path, env = self._path, self._env
        at: int = env._now
        path.traffic += MESSAGE + size
        if path.plain and not self._queue:
            at += path.latency
        elif self._queue or path.blocked or (size >= BULK and path.limited):
            self._wait(size, arrive, args)
            return
        else:
            at += path.delay(size, at)
        if at < self._last:
            at = self._last
        self._last = at
        # env.push, inlined: the hottest line of a network
        heappush(env._queue, (at, NORMAL, next(env._eid), Delivery(self.peer, size, arrive, args, callbacks)))

    def _wait(self, size: int, arrive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self._queue:
            self._queue = deque()
        self._queue.append((size, arrive, args))
        if len(self._queue) == 1:
            self._advance()

    def close(self) -> None:
        """Closes this side; the peer learns of it after all that was sent."""
        if self.open:
            self.open = False
            self.send(0, _learn, self.peer, "closed by peer")
            if not self._queue:
                self._network.forget(self)

    def abort(self) -> None:
        """Closes this side at once; what still waits to be sent is lost, and the peer sees a reset."""
        if self.open:
            self.open = False
            self._network.forget(self)
            self._reset("connection aborted")

    def vanish(self) -> None:
        """Closes this side because nobody knows of it any more; the peer learns of it, if the path works.

        Nothing else depends on it, not even a draw of chance: when an object is found to be garbage must not
        change a run. (Unless something still waits to be sent, which is sent first.)
        """
        if self._queue:
            self.close()
        elif self.open:
            self.open = False
            self._network.forget(self)
            if not self._path.blocked:
                self._deliver(
                    self._network.env._now + self._path.latency, 0, _learn, (self.peer, "closed by peer")
                )

    # What the network does

    def die(self) -> None:
        """The process is dead: the peer sees a reset, if the path works."""
        self.open = False
        self._reset("the sender crashed")

    def pull_back(self, deliveries: list[Delivery]) -> None:
        """The path was cut with these under way: they are lost, and will be sent again."""
        self._last = 0
        if self.process.dead:
            for delivery in deliveries:
                self._lost("the sender crashed", delivery.arrive, delivery.args)
            return
        waiting = bool(self._queue)
        self._queue = deque([*((d.size, d.arrive, d.args) for d in deliveries), *self._queue])
        if not waiting:
            self._advance()

    def interrupt(self) -> None:
        """The path was cut: a flow stops where it is."""
        if self._flow is not None:
            flow, self._flow = self._flow, None
            _, arrive, args = self._queue[0]
            self._queue[0] = (max(1, round(self._network.flows.stop(flow))), arrive, args)
            self._stall()

    def _advance(self) -> None:
        """Sends what waits, as far as the path allows."""
        queue, path, network = self._queue, self._path, self._network
        while queue and self._flow is None:
            if path.blocked:
                self._stall()
                return
            size, arrive, args = queue[0]
            if size >= BULK and path.limited:
                self._flow = network.flows.start(path.limited, size, path.cap, self._flowed)
                return
            queue.popleft()
            now = network.env._now
            self._deliver(now + path.delay(size, now), size, arrive, args)
        if not queue and not self.open:
            network.forget(self)  # closed, and all is sent

    def _flowed(self) -> None:
        """The head of the queue has been sent to its last byte."""
        self._flow = None
        size, arrive, args = self._queue.popleft()
        self._deliver(self._network.env._now + self._path.latency, size, arrive, args)
        self._advance()

    def _deliver(self, at: int, size: int, arrive: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._last = max(at, self._last)
        self._network.env.push(self._last, Delivery(self.peer, size, arrive, args, ARRIVED))

    def _stall(self) -> None:
        self._tries = 0
        self._network.after(self._path.rto, self._retry)

    def _retry(self) -> None:
        if not self._queue:
            return
        if not self._path.blocked:
            self._advance()
            return
        self._tries += 1
        if self._tries > RETRIES:
            self._learn("connection timed out")
            self._drop("connection timed out")
        else:
            self._network.after(min(self._path.rto << self._tries, RTO_MAX), self._retry)

    def _refuse(self, delivery: Delivery) -> None:
        """Something came for an end that is closed: the kernel answers with a reset."""
        sender = self.peer
        sender._lost("the receiver was gone", delivery.arrive, delivery.args)
        if sender.open and not self._path.blocked:
            self._deliver(self._network.env._now + self._path.latency, 0, _learn, (sender, _RESET))

    def _reset(self, why: str) -> None:
        self._drop(why)
        if not self._path.blocked:
            self._deliver(self._network.env._now + self._path.latency, 0, _learn, (self.peer, _RESET))

    def _drop(self, why: str) -> None:
        if self._flow is not None:
            self._network.flows.stop(self._flow)
            self._flow = None
        queue, self._queue = self._queue, _NOTHING
        for _, arrive, args in queue:
            self._lost(why, arrive, args)

    def _lost(self, why: str, arrive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if arrive not in _INTERNAL:
            self.on_lost(why, args)

    def _learn(self, reason: str) -> None:
        if self.open:
            self.open = False
            self._network.forget(self)
            self._drop(reason)
            self.on_broken(reason)

    def __repr__(self) -> str:
        state = "open" if self.open else "closed"
        return f"<endpoint of {self.process.name} to {self._path.target}, {state}>"


_RESET = "connection reset by peer"


def _learn(endpoint: Endpoint, reason: str) -> None:
    """What the arrival of a FIN or a reset does."""
    endpoint._learn(reason)


def established(done: Callable[[Endpoint | None, str], None], endpoint: Endpoint) -> None:
    """What the arrival of a SYN-ACK does."""
    done(endpoint, "")


_INTERNAL = (_learn, established)


def _ignore(reason: str) -> None:
    pass


def _ignore_lost(reason: str, args: tuple[Any, ...]) -> None:
    pass
