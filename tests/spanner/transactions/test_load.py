"""What a replica tells of what is asked of it."""

from __future__ import annotations

from services.spanner.keys import EVERYTHING, KeyRange
from services.spanner.transactions.load import KEPT, Load


def as_it_is(key: bytes) -> bytes:
    return key


def asked(*keys: bytes) -> Load:
    load = Load()
    for key in keys:
        load.note(key)
    return load


def test_the_rate_is_that_of_the_last_while() -> None:
    load = asked(*[b"k"] * 50)
    assert load.rate(10.0) == 5.0
    assert load.rate(10.5) == 5.0  # too soon for another
    assert load.rate(20.0) == 0.0


def test_half_of_the_requests_are_before_the_half() -> None:
    load = asked(*(bytes([number]) for number in range(100)))
    assert load.half((EVERYTHING,), as_it_is) == bytes([50])


def test_a_hot_key_among_others_is_cut_off_from_them() -> None:
    load = asked(*(b"a", b"b", b"c", b"d") * 8, *[b"h"] * 32)
    assert load.half((EVERYTHING,), as_it_is) == b"h"


def test_one_hot_key_has_no_half() -> None:
    assert asked(*[b"h"] * 50).half((EVERYTHING,), as_it_is) == b""
    assert asked(b"a", *[b"h"] * 50, b"z").half((EVERYTHING,), as_it_is) == b""


def test_few_requests_say_nothing() -> None:
    assert asked(b"a", b"b", b"c").half((EVERYTHING,), as_it_is) == b""


def test_what_was_moved_away_does_not_count() -> None:
    load = asked(*(bytes([number]) for number in range(100)))
    assert load.half((KeyRange(b"", bytes([20])),), as_it_is) == bytes([10])


def test_only_the_last_requests_are_remembered() -> None:
    load = asked(*(bytes([number]) for number in range(100)), *[b"x"] * KEPT)
    assert load.half((EVERYTHING,), as_it_is) == b""


def test_it_is_cut_between_directories() -> None:
    load = asked(*(bytes([number]) for number in range(100)))
    assert load.half((EVERYTHING,), lambda key: bytes([key[0] // 10 * 10])) == bytes([50])
