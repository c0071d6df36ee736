"""What the placement driver decides, of universes that are written down here."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import Create, Drop, Limits, Move, Option, Size, Universe, decide
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.system import GroupRow

SERVERS = {"s1": "z1", "s2": "z2", "s3": "z3", "s4": "z1", "s5": "z2", "s6": "z3"}
MEMBERS = (Member("s1", "z1"), Member("s2", "z2"), Member("s3", "z3"))
LIMITS = Limits(largest=100, smallest=50)


def of(fragments: dict[tuple[bytes, bytes], int], sizes: dict[int, int], *empty: int) -> Universe:
    groups = [*dict.fromkeys([*fragments.values(), *empty])]
    return Universe(
        FragmentMap(Fragment(KeyRange(*range_), group) for range_, group in fragments.items()),
        {number: GroupRow(number, MEMBERS) for number in groups},
        {number: Size(size, b"m") for number, size in sizes.items()},
        SERVERS,
    )


def test_a_universe_that_is_well_is_left_alone() -> None:
    assert decide(of({(b"a", b"z"): 1}, {1: 100}), LIMITS) is None


def test_a_large_group_is_split_in_the_middle_by_a_new_group_first() -> None:
    universe = of({(b"a", b"z"): 1}, {1: 101})
    made = decide(universe, LIMITS)
    assert isinstance(made, Create)
    assert Option.of(made.members) == Option.of(MEMBERS)
    assert [one.server for one in made.members] == ["s4", "s5", "s6"]  # they have nothing yet
    universe = replace(universe, groups={**universe.groups, 2: GroupRow(2, made.members)})
    moved = decide(universe, LIMITS)
    assert isinstance(moved, Move)
    assert (moved.range, moved.to) == (KeyRange(b"m", b"z"), 2)


def test_a_large_row_is_not_split() -> None:
    universe = of({(b"a", b"z"): 1}, {1: 101})
    assert decide(replace(universe, sizes={1: Size(101)}), LIMITS) is None


def test_small_groups_become_one_and_what_has_nothing_goes() -> None:
    universe = of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 10, 2: 20})
    assert decide(universe, LIMITS) == Move(KeyRange(b"m", b"z"), 1, "groups 1 and 2 are small")
    assert decide(of({(b"a", b"z"): 1}, {1: 30}, 2), LIMITS) == Drop(2, "it has nothing")


def test_small_groups_that_together_are_not_small_stay() -> None:
    assert decide(of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 30, 2: 20}), LIMITS) is None


def test_a_group_whose_leader_says_nothing_is_left_alone() -> None:
    assert decide(of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 10}), LIMITS) is None


def test_an_option_gets_a_group_of_its_kind_for_its_range_only() -> None:
    universe = of({(b"a", b"z"): 1}, {1: 60})
    option = Option.parse("z1 z2 z3:witness z3:read-only")
    universe = replace(universe, options=[(KeyRange(b"c", b"d"), option)])
    made = decide(universe, LIMITS)
    assert isinstance(made, Create)
    assert Option.of(made.members) == option
    universe = replace(universe, groups={**universe.groups, 2: GroupRow(2, made.members)})
    moved = decide(universe, LIMITS)
    assert isinstance(moved, Move)
    assert (moved.range, moved.to) == (KeyRange(b"c", b"d"), 2)


def test_an_option_for_which_servers_are_missing_waits() -> None:
    universe = of({(b"a", b"z"): 1}, {1: 60})
    option = Option.parse("z1:3")
    assert decide(replace(universe, options=[(KeyRange(b"a", b"z"), option)]), LIMITS) is None


@pytest.mark.parametrize(
    ("told", "what"),
    [("z1:leader", "z1:leader"), ("z1:witness", "read-write"), ("z1:0", "z1:0"), ("", "read-write")],
)
def test_options_that_are_none_are_refused_in_one_line(told: str, what: str) -> None:
    with pytest.raises(SpannerError, match=what) as refused:
        Option.parse(told)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert "\n" not in refused.value.detail
