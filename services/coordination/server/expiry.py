"""When sessions expire, as the leader counts (4.4): never before their time-out has passed in silence.

Sessions wait in buckets, one for each tick: to hear from a session moves it to a later bucket, and once a
tick one bucket falls due. So a touch costs the same however many sessions there are.

Time counts only while the leader attends. One that was paused, or starved of its processor, has not listened:
what clients said in the meantime still waits in its buffers. The silence was its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class AttendedTime:
    """A clock that goes on by at most `most` from one look to the next.

    Args:
        clock: seconds, never going back.
        most: seconds.
    """

    def __init__(self, clock: Callable[[], float], most: float) -> None:
        self._clock = clock
        self._most = most
        self._looked = clock()
        self._counted = 0.0

    def now(self) -> float:
        """Returns the seconds attended so far."""
        return self._counted + min(self._clock() - self._looked, self._most)

    def look(self) -> float:
        """Attends, and returns the seconds attended so far."""
        self._counted = self.now()
        self._looked = self._clock()
        return self._counted


class Expiry:
    """The sessions that live, and when they must be heard from next.

    Args:
        clock: seconds, never going back.
        interval: seconds between two looks (`due`); the fineness of the count.
    """

    def __init__(self, clock: Callable[[], float], interval: float) -> None:
        self._interval = interval
        self._time = AttendedTime(clock, 2 * interval)
        self._sessions: dict[int, list[int]] = {}  # time-out in ms, and the bucket
        self._buckets: dict[int, dict[int, None]] = {}
        self._next = 1

    def __contains__(self, session: int) -> bool:
        """Says whether the session lives, by this count."""
        return session in self._sessions

    def add(self, session: int, timeout: int) -> None:
        """Begins to count for a session, with a full time-out in ms; one that is there is touched."""
        if session not in self._sessions:
            self._sessions[session] = [timeout, 0]
        self.touch(session)

    def touch(self, session: int) -> bool:
        """Hears from a session; False if there is none."""
        entry = self._sessions.get(session)
        if entry is None:
            return False
        timeout, bucket = entry
        # The bucket that falls due when at least the time-out has passed.
        later = int((self._time.now() + timeout / 1000) / self._interval) + 1
        if later != bucket:
            self._leave(session, bucket)
            entry[1] = later
            self._buckets.setdefault(later, {})[session] = None
        return True

    def touch_all(self, sessions: Iterable[int]) -> None:
        """Hears from many."""
        for session in sessions:
            self.touch(session)

    def remove(self, session: int) -> None:
        """Stops to count for a session."""
        entry = self._sessions.pop(session, None)
        if entry is not None:
            self._leave(session, entry[1])

    def due(self) -> list[int]:
        """Returns the sessions that were silent for their whole time-out, and forgets them.

        To be called once an interval: while it is not, time stands still.
        """
        bucket = int(self._time.look() / self._interval)
        expired: list[int] = []
        while self._next <= bucket:
            expired += self._buckets.pop(self._next, ())
            self._next += 1
        for session in expired:
            del self._sessions[session]
        return expired

    def left(self, session: int) -> int:
        """Returns the ms until a session falls due unless it is heard from; -1 when there is none."""
        entry = self._sessions.get(session)
        if entry is None:
            return -1
        return max(0, round((entry[1] * self._interval - self._time.now()) * 1000))

    def _leave(self, session: int, bucket: int) -> None:
        members = self._buckets.get(bucket)
        if members is not None:
            del members[session]
            if not members:
                del self._buckets[bucket]
