"""Which masters a host asks, and what its intervals grow by."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.spanner.truetime.settings import PARTS, Master, chosen, growth, slack

MASTERS = tuple(Master(f"m{n}.z{zone}", f"z{zone}") for zone in range(1, 6) for n in range(1, 4))


def test_a_host_asks_all_masters_of_its_zone_and_fewer_of_others() -> None:
    for number in range(50):
        asked = chosen(MASTERS, "z2", 2, f"h{number}")
        assert [one.zone for one in asked].count("z2") == 3
        assert len(asked) == 5
        assert len({one.zone for one in asked[3:]}) == 2, "from two other zones"


def test_the_others_share_the_work() -> None:
    asked = Counter(one.name for n in range(600) for one in chosen(MASTERS, "z2", 2, f"h{n}")[3:])
    assert len(asked) == 12
    assert max(asked.values()) < 2.5 * min(asked.values())


def test_far_ones_never_outvote_the_near_ones_where_there_are_enough() -> None:
    for far in range(12):
        asked = chosen(MASTERS, "z2", far, "h")
        assert sum(one.zone == "z2" for one in asked) > len(asked) / 2


def test_a_zone_with_few_masters_asks_others_all_the_same() -> None:
    assert len(chosen(MASTERS, "nowhere", 3, "h")) == 3
    assert len(chosen([Master("m1", "z1"), Master("m2", "z2"), Master("m3", "z3")], "z1", 2, "h")) == 3


@given(st.integers(0, 10**14), st.integers(-1000, 1000))
def test_an_interval_grows_enough_for_every_crystal_within_its_bound(true_ns: int, thousandth: int) -> None:
    """What a crystal counts that is off by up to 200 µs a second stands for true time within the slack."""
    drift = 200e-6
    counted = round(true_ns * (1 + Fraction(drift) * thousandth / 1000))
    assert abs(counted - true_ns) <= slack(counted, growth(drift)) + 1


def test_growth_is_no_more_than_it_must_be() -> None:
    assert 200e-6 * PARTS < growth(200e-6) < 200.1e-6 * PARTS
    assert growth(0.0) == 0
