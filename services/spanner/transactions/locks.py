"""The lock table of a leader (2.1, 4.2.1): ranges of keys, shared or exclusive, wound-wait.

A transaction's place is its (age, id). Who asks for a lock that a conflicting one stands against waits;
but those younger ones that *hold* such a lock are wounded first (Rosenkrantz, Stearns, Lewis 1978).
Waiting requests are served
by the age of their transactions: a request waits for older ones that wait and conflict, never for younger
ones.

*No deadlock.* Whoever waits, waits for older ones, or for younger holders that were wounded. Those are
aborted, or prepared, or their outcome stands in the log; in none of these cases do they wait for locks of
this group, and prepared ones are wounded at their coordinator, across groups (`leading.py`). So a cycle
of waits would be one of ever older transactions: there is none.

*No starvation.* A transaction waits only for those that are older or that it has wounded, of which there
are finitely many, and it keeps its age when it is tried again, until it is the oldest.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from typing import TYPE_CHECKING

from services.spanner.transactions.overlaps import Overlaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.spanner.keys import KeyRange


class Holder:
    """Who can hold locks, and wait for them: a transaction.

    Attributes:
        order: its place in wound-wait: (age, id), smaller is older.
        locks: what it holds; True: exclusively.
        requests: what it waits for.
    """

    __slots__ = ("locks", "order", "requests")

    def __init__(self, age: int, id: str) -> None:
        self.order = (age, id)
        self.locks: dict[KeyRange, bool] = {}
        self.requests: list[Request] = []


class Request:
    """A holder-to-be that waits at a place.

    Attributes:
        granted: True once it holds the lock; False if it was called off with all of its transaction.
    """

    __slots__ = ("exclusive", "granted", "holder", "place")

    def __init__(self, holder: Holder, place: Place, exclusive: bool, granted: asyncio.Future[bool]) -> None:
        self.holder = holder
        self.place = place
        self.exclusive = exclusive
        self.granted = granted

    def __lt__(self, other: Request) -> bool:
        return self.holder.order < other.holder.order


class Place:
    """A range that somebody has locked, or waits to lock.

    Attributes:
        holders: True: exclusively.
        waiting: by age.
    """

    __slots__ = ("holders", "range", "waiting")

    def __init__(self, range: KeyRange) -> None:
        self.range = range
        self.holders: dict[Holder, bool] = {}
        self.waiting: list[Request] = []


class LockTable:
    """Locks on ranges of keys.

    Args:
        wound: called with a holder that an older transaction waits for, and with that one, each time that one
            begins to. Calls `release` at once, or sees to it that it comes to that.
    """

    def __init__(self, wound: Callable[[Holder, Holder], None]) -> None:
        self._wound = wound
        self._places: Overlaps[Place] = Overlaps()

    def acquire(self, holder: Holder, range: KeyRange, exclusive: bool) -> Request | None:
        """Takes a lock, or begins to wait for it.

        A shared lock becomes an exclusive one if that is asked for.

        Returns:
            None: it is held. Else the request that waits: await its `granted`, and call `withdraw` however
            that ends.
        """
        held = holder.locks.get(range)
        if held is not None and held >= exclusive:
            return None
        place = self._places.get(range)
        if place is None:
            place = Place(range)
            self._places.put(range, place)
        younger = self._against(holder, place, exclusive)
        if younger is None:
            self._grant(holder, place, exclusive)
            return None
        request = Request(holder, place, exclusive, asyncio.get_running_loop().create_future())
        insort(place.waiting, request)
        holder.requests.append(request)
        for victim in younger:
            self._wound(victim, holder)
        return None if request.granted.done() and request.granted.result() else request

    def restore(self, holder: Holder, range: KeyRange, exclusive: bool) -> None:
        """Gives a prepared transaction its lock again, under a new leader, before anybody else asks."""
        place = self._places.get(range)
        if place is None:
            place = Place(range)
            self._places.put(range, place)
        assert self._against(holder, place, exclusive) is None, f"two prepared transactions lock {range}"
        self._grant(holder, place, exclusive or holder.locks.get(range, False))

    def release(self, holder: Holder) -> None:
        """Frees all that a transaction holds, and calls off what it waits for."""
        touched: list[Place] = []
        for request in holder.requests:
            request.place.waiting.remove(request)
            if not request.granted.done():
                request.granted.set_result(False)
            touched.append(request.place)
        holder.requests.clear()
        for range in holder.locks:
            place = self._places.get(range)
            assert place is not None
            del place.holders[holder]
            touched.append(place)
        holder.locks.clear()
        self._serve(touched)

    def withdraw(self, request: Request) -> None:
        """Calls a request off; no effect on one that is granted, or was called off."""
        if request in request.holder.requests:
            request.holder.requests.remove(request)
            request.place.waiting.remove(request)
            self._serve([request.place])

    def places(self) -> Iterable[Place]:
        """Returns all places, for whoever looks on."""
        return iter(self._places)

    def _against(self, holder: Holder, place: Place, exclusive: bool) -> list[Holder] | None:
        """Returns None where nothing stands against a lock; else the younger holders that do."""
        order = holder.order
        blocked = False
        younger: list[Holder] = []
        for other in self._places.overlapping(place.range):
            for one, its in other.holders.items():
                if (exclusive or its) and one is not holder:
                    blocked = True
                    if one.order > order and one not in younger:
                        younger.append(one)
            if not blocked:
                for request in other.waiting:
                    if request.holder.order >= order:
                        break  # by age: the rest is younger, or itself
                    if exclusive or request.exclusive:
                        blocked = True
                        break
        return younger if blocked else None

    def _grant(self, holder: Holder, place: Place, exclusive: bool) -> None:
        place.holders[holder] = exclusive
        holder.locks[place.range] = exclusive

    def _serve(self, touched: list[Place]) -> None:
        """Grants what can be granted now that something is gone from these places."""
        places: dict[Place, None] = {}
        for place in touched:
            for other in self._places.overlapping(place.range):
                if other.waiting:
                    places[other] = None
        for place in places:
            # Who comes behind one that must wait must wait too: it conflicts with that one, or with what
            # stands against it. (Unless it holds that itself; but then it is younger, and wounded.) Only
            # what the same transaction asks for besides may be had, if it is less.
            waits: Holder | None = None
            for request in list(place.waiting):
                if waits is not None and request.holder is not waits:
                    break
                if self._against(request.holder, place, request.exclusive) is not None:
                    waits = request.holder
                    continue
                place.waiting.remove(request)
                request.holder.requests.remove(request)
                held = place.holders.get(request.holder, False)
                self._grant(request.holder, place, request.exclusive or held)
                if not request.granted.done():
                    request.granted.set_result(True)
        for place in touched:
            if not place.holders and not place.waiting and self._places.get(place.range) is place:
                self._places.remove(place.range)
