"""The door's rules for messages: what is cut, delayed or lost between this host and each peer.

The control service puts a whole state of rules in place at once (`Door.set`). A message is held by
whoever sends it, before gRPC sees it, and what is cut does not fail but waits, as on TCP: until the
link carries again, the deadline passes or the call is over. The receiver holds too what a peer let through
that does not know the rule yet. As long as no rule is set a message costs one look at `Link.rule`.

What gRPC's core does of its own accord passes a cut: a cancellation reaches the server, as does the end of
a client that was killed, and a connection is made (but carries no call).
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import control_pb2

_RETRANSMISSION = 0.2  # seconds until TCP sends a lost segment again, doubled for each further loss
_LONGEST = 6.4


_MARGIN = 0.01
"""Seconds that a held call outstays its deadline, so that the core, whose timer this is not, has ended it."""


def _never() -> bool:
    return False


class Rule(Struct, frozen=True):
    """What holds for one link."""

    cut_out: bool = False
    cut_in: bool = False
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0

    def draw_delay(self) -> float:
        """Returns for how many seconds a message is on its way."""
        delay = self.delay + (random.uniform(0.0, self.jitter) if self.jitter else 0.0)
        again = _RETRANSMISSION
        while self.loss and random.random() < self.loss and again <= _LONGEST:
            delay += again
            again *= 2
        return delay


class Link:
    """The way to one peer and back.

    Attributes:
        rule: what holds now; None when nothing does.
    """

    __slots__ = ("_waiting", "peer", "rule")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.rule: Rule | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}

    def set(self, rule: Rule | None) -> None:
        """Puts a rule in place; what waits looks again."""
        if rule != self.rule:
            self.rule = rule
            self.wake()

    def wake(self) -> None:
        """Has what waits look again whether it still must."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def cleared(self, remaining: float | None = None, over: Callable[[], bool] = _never) -> None:
        """Returns when the way to the peer is not cut, or there is nothing to wait for any more.

        Args:
            remaining: seconds to the deadline of the call.
            over: says, after a `wake`, whether the call has ended.
        """
        deadline = _deadline(remaining)
        while await self._closed(deadline, over, out=True):
            pass

    async def carried_out(self, remaining: float | None = None, over: Callable[[], bool] = _never) -> None:
        """Returns when a message to the peer has been carried; otherwise as `cleared`."""
        start = _now()
        await self.cleared(remaining, over)
        if (rule := self.rule) is not None and (delay := rule.draw_delay()):
            left = None if remaining is None else max(0.0, start + remaining + _MARGIN - _now())
            await asyncio.sleep(delay if left is None else min(delay, left))
            await self.cleared(None if remaining is None else max(0.0, start + remaining - _now()), over)

    async def carried_in(self, remaining: float | None = None, over: Callable[[], bool] = _never) -> None:
        """Returns when messages from the peer arrive, or there is nothing to wait for any more."""
        deadline = _deadline(remaining)
        while await self._closed(deadline, over, out=False):
            pass

    async def _closed(self, deadline: float | None, over: Callable[[], bool], *, out: bool) -> bool:
        """Waits for a change if the link is cut; says whether it was."""
        rule = self.rule
        if rule is None or not (rule.cut_out if out else rule.cut_in) or over():
            return False
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = None
        try:
            await asyncio.wait_for(waiting, None if deadline is None else deadline - _now())
        except TimeoutError:
            return False
        finally:
            del self._waiting[waiting]
        return True


class LostReplies:
    """Replies that are yet to be lost."""

    def __init__(self, number: int, method: str, count: int) -> None:
        self.number = number
        self.method = method
        self.count = count


class Door:
    """The links of one host, and the replies it is to lose.

    Args:
        name: of the host; what it says to itself is on no link.

    Attributes:
        losing: orders to lose replies that are not carried out yet.
        sent, received: messages that passed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._links: dict[str, Link] = {}
        self._rules: dict[str, Rule] = {}
        self._orders: set[int] = set()
        self.losing: list[LostReplies] = []
        self.sent = 0
        self.received = 0

    def link(self, peer: str) -> Link:
        """Returns the link to a peer."""
        link = self._links.get(peer)
        if link is None:
            link = self._links[peer] = Link(peer)
            link.set(self._rule_for(peer))
        return link

    def set(self, rules: control_pb2.Rules) -> None:
        """Puts a state of rules in the place of the one before."""
        self._rules = {
            link.peer: Rule(link.cut_out, link.cut_in, link.delay_s, link.jitter_s, link.loss)
            for link in rules.links
        }
        for link in self._links.values():
            link.set(self._rule_for(link.peer))
        for order in rules.lost_replies:
            if order.number not in self._orders:
                self._orders.add(order.number)
                self.losing.append(LostReplies(order.number, order.method, order.count))
        self.losing = [order for order in self.losing if order.number > rules.called_off]

    def loses_reply(self, method: str) -> bool:
        """Says whether this reply is to be lost, and counts it."""
        for order in self.losing:
            if order.method in ("", method, method.rpartition("/")[2]):
                order.count -= 1
                if order.count <= 0:
                    self.losing.remove(order)
                return True
        return False

    def _rule_for(self, peer: str) -> Rule | None:
        if peer == self._name:
            return None
        one, all_ = self._rules.get(peer), self._rules.get("")
        if one is None or all_ is None:
            return one or all_
        return Rule(
            one.cut_out or all_.cut_out,
            one.cut_in or all_.cut_in,
            one.delay + all_.delay,
            one.jitter + all_.jitter,
            1 - (1 - one.loss) * (1 - all_.loss),
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _deadline(remaining: float | None) -> float | None:
    return None if remaining is None else _now() + remaining + _MARGIN
