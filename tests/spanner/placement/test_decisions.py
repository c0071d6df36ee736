"""What the placement driver decides, of universes that are written down here."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import Create, Drop, Limits, Move, Size, Universe, decide
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.options import Option
from services.spanner.placement.patience import Patience
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
        cold=frozenset(sizes),
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
    assert decide(universe, LIMITS) == Move(KeyRange(b"m", b"z"), 1, "groups 1 and 2 are small and cold")
    assert decide(of({(b"a", b"z"): 1}, {1: 30}, 2), LIMITS) == Drop(2, "it has nothing")


def test_small_groups_that_together_are_not_small_stay() -> None:
    assert decide(of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 30, 2: 20}), LIMITS) is None


def test_small_groups_that_are_asked_for_something_stay() -> None:
    universe = of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 10, 2: 20})
    assert decide(replace(universe, cold=frozenset({1})), LIMITS) is None
    warm = {1: Size(10, load=0.6), 2: Size(20, load=0.6)}
    assert decide(replace(universe, sizes=warm), LIMITS) is None


def test_only_neighbours_become_one_and_not_the_last_groups() -> None:
    universe = of({(b"a", b"f"): 1, (b"f", b"m"): 3, (b"m", b"z"): 2}, {1: 10, 2: 20, 3: 90})
    assert decide(universe, LIMITS) is None
    universe = of({(b"a", b"m"): 1, (b"m", b"z"): 2}, {1: 10, 2: 20})
    assert decide(universe, replace(LIMITS, least=2)) is None
    assert decide(of({(b"a", b"z"): 1}, {1: 30}, 2), replace(LIMITS, least=2)) is None


def hot(load: float, key: bytes = b"k") -> Universe:
    universe = of({(b"a", b"z"): 1}, {1: 60})
    sizes = {1: Size(60, load=load, hot=key, leader="s1")}
    loads = {"s1": load, "s2": 0.0, "s3": 0.0, "s4": 1.0, "s5": 0.0, "s6": 0.0}
    return replace(universe, sizes=sizes, loads=loads, hot=frozenset({1}), cold=frozenset())


def test_a_group_that_has_been_hot_is_split_where_half_of_its_requests_are() -> None:
    universe = hot(500.0)
    assert decide(replace(universe, hot=frozenset()), LIMITS) is None  # not for long enough yet
    made = decide(universe, LIMITS)
    assert isinstance(made, Create)
    assert made.members[0].server in ("s5", "s6")  # who leads is asked for nothing so far
    universe = replace(universe, groups={**universe.groups, 2: GroupRow(2, made.members)})
    moved = decide(universe, LIMITS)
    assert isinstance(moved, Move)
    assert (moved.range, moved.to) == (KeyRange(b"k", b"z"), 2)


def test_one_hot_key_is_not_split() -> None:
    assert decide(hot(500.0, b""), LIMITS) is None


def test_half_of_a_busy_server_goes_to_a_group_that_an_idle_one_leads() -> None:
    members = (Member("s5", "z2"), Member("s4", "z1"), Member("s6", "z3"))
    universe = hot(500.0)
    universe = replace(
        universe,
        fragments=FragmentMap(
            [Fragment(KeyRange(b"a", b"p"), 1), Fragment(KeyRange(b"p", b"z"), 2)],
        ),
        groups={1: universe.groups[1], 2: GroupRow(2, members)},
        sizes={**universe.sizes, 2: Size(60, leader="s5")},
        hot=frozenset(),
    )
    assert decide(universe, LIMITS) is None
    moved = decide(replace(universe, uneven=frozenset({"s1"})), LIMITS)
    assert isinstance(moved, Move)
    assert (moved.range, moved.to) == (KeyRange(b"k", b"p"), 2)
    even = {**universe.loads, "s5": 400.0, "s2": 400.0, "s3": 400.0, "s4": 400.0, "s6": 400.0}
    assert decide(replace(universe, uneven=frozenset({"s1"}), loads=even), LIMITS) is None


def test_a_replica_on_a_server_that_is_gone_is_replaced_in_its_zone_by_one_of_its_kind() -> None:
    members = (Member("s1", "z1"), Member("s2", "z2"), Member("s3", "z3", "witness"))
    universe = replace(of({(b"a", b"z"): 1}, {1: 60}), groups={1: GroupRow(1, members)})
    servers = {name: zone for name, zone in SERVERS.items() if name != "s3"}
    universe = replace(universe, servers=servers)
    assert decide(universe, LIMITS) is None  # it has not been silent for long
    universe = replace(universe, gone=frozenset({"s3"}))
    made = decide(universe, LIMITS)
    assert isinstance(made, Create)
    assert [one for one in made.members if one.zone == "z3"] == [Member("s6", "z3", "witness")]
    universe = replace(universe, groups={**universe.groups, 2: GroupRow(2, made.members)})
    assert isinstance(decide(universe, LIMITS), Move)
    universe = replace(universe, fragments=FragmentMap([Fragment(KeyRange(b"a", b"z"), 2)]))
    assert decide(universe, LIMITS) == Drop(1, "it has nothing")


def test_a_server_that_is_gone_from_a_zone_without_another_is_waited_for() -> None:
    universe = of({(b"a", b"z"): 1}, {1: 60})
    servers = {"s1": "z1", "s2": "z2", "s4": "z1"}
    assert decide(replace(universe, servers=servers, gone=frozenset({"s3"})), LIMITS) is None


@pytest.mark.parametrize("told", [{"hottest": 3.0, "coldest": 1.0}, {"largest": 100, "smallest": 60}])
def test_limits_that_would_move_to_and_fro_are_refused(told: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="just"):
        Limits(**told)  # type: ignore[arg-type]


def test_only_what_lasts_is_seen() -> None:
    patience = Patience()
    patience.look(0.0, [("hot", 1), ("hot", 2)])
    patience.look(5.0, [("hot", 1)])
    patience.look(6.0, [("hot", 1), ("hot", 2)])
    assert patience.held("hot", 10.0, 10.0) == [1]
    patience.forget("hot")
    assert patience.held("hot", 20.0, 10.0) == []


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
