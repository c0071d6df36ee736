"""Sessions in buckets: never expired before their time-out has passed in silence that somebody attended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.coordination.server.expiry import AttendedTime, Expiry

TICK = 2.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def until_expired(expiry, clock, session, tick=TICK, most=1000):
    for _ in range(most):
        clock.now += tick
        if session in expiry.due():
            return clock.now
    raise AssertionError("it never expires")


def test_a_silent_session_expires_within_two_ticks_of_its_time_out():
    clock = Clock()
    expiry = Expiry(clock, TICK)
    expiry.add(1, 5000)
    at = until_expired(expiry, clock, 1)
    assert 5.0 <= at - 100.0 <= 5.0 + 2 * TICK
    assert 1 not in expiry


def test_a_session_that_is_heard_from_stays():
    clock = Clock()
    expiry = Expiry(clock, TICK)
    expiry.add(1, 5000)
    for _ in range(100):
        clock.now += TICK
        assert expiry.touch(1)
        assert expiry.due() == []


def test_an_unknown_session_cannot_be_heard_from():
    assert not Expiry(Clock(), TICK).touch(7)


def test_a_session_that_was_removed_does_not_expire():
    clock = Clock()
    expiry = Expiry(clock, TICK)
    expiry.add(1, 4000)
    expiry.remove(1)
    for _ in range(10):
        clock.now += TICK
        assert expiry.due() == []


def test_time_in_which_nobody_looked_does_not_count():
    """A paused leader has not listened: whatever its clients sent meanwhile is still unread."""
    clock = Clock()
    expiry = Expiry(clock, TICK)
    expiry.add(1, 10_000)
    clock.now += 3600
    assert expiry.due() == []
    assert until_expired(expiry, clock, 1) - clock.now <= 10.0


def test_attended_time_never_runs_ahead_of_the_clock_or_back():
    clock = Clock()
    time = AttendedTime(clock, 4.0)
    clock.now += 3
    assert time.now() == 3
    assert time.look() == 3
    clock.now += 9
    assert time.now() == time.look() == 7


@given(
    timeout=st.integers(1, 60_000),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0.01, 3.0)), max_size=60),
)
def test_never_before_its_time_out_of_silence(timeout, steps):
    clock = Clock()
    expiry = Expiry(clock, TICK)
    expiry.add(1, timeout)
    heard = clock.now
    for touched, later in steps:
        clock.now += later
        if touched and expiry.touch(1):
            heard = clock.now
        if 1 in expiry.due():
            assert clock.now - heard >= timeout / 1000 - 1e-9
            return
    assert 1 in expiry


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["add", "touch", "remove", "look"])), max_size=80)
)
def test_every_session_that_is_left_alone_expires_once(steps):
    clock = Clock()
    expiry = Expiry(clock, TICK)
    live = set()
    for session, what in steps:
        clock.now += 0.5
        if what == "add":
            expiry.add(session, 4000)
            live.add(session)
        elif what == "touch":
            assert expiry.touch(session) == (session in live)
        elif what == "remove":
            expiry.remove(session)
            live.discard(session)
        else:
            live -= set(expiry.due())
    expired = []
    for _ in range(20):
        clock.now += TICK
        expired += expiry.due()
    assert sorted(expired) == sorted(live)
