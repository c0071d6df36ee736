"""A universe is founded in one way: which programs there are, and what a plan must have."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from services.spanner.group import Member
from services.spanner.placement.founding import Plan, hexadecimal, parts
from services.spanner.schema import EMPTY
from services.spanner.spanserver.settings import Founding

ZONES = {"s1": "z1", "s2": "z2", "s3": "z3", "s4": "z1"}


def plan(*owned: tuple[tuple[str, str], ...]) -> Plan:
    members = (Member("s4", "z1"), Member("s2", "z2"), Member("s3", "z3"))
    groups = tuple(Founding(number, members, ranges) for number, ranges in enumerate(owned, 1))
    return Plan(zones=ZONES, groups=groups, prefix="a-")


def test_each_role_of_the_paper_has_its_programs() -> None:
    low, high = parts([b"\x20"])
    programs = plan(hexadecimal(low), hexadecimal(high)).programs()
    kinds = Counter(one.program.rsplit(".", 1)[1] for one in programs)
    assert kinds == {"master:serve": 3, "spanserver:serve": 4, "zonemaster:serve": 3, "universe:serve": 1}
    told = {one.name: one.parameters for one in programs}
    assert [group["group"] for group in told["s1"]["groups"]] == [0]
    assert [group["group"] for group in told["s2"]["groups"]] == [0, 1, 2]
    assert [group["group"] for group in told["s4"]["groups"]] == [1, 2]
    assert told["s2"]["locations"] == ["a-zone-z2", "a-zone-z1", "a-zone-z3"]
    assert told["a-zone-z1"]["spanservers"] == ["s1", "s4"]
    for one in programs:
        assert json.loads(json.dumps(one.parameters)) == one.parameters, one.name


@pytest.mark.parametrize(
    "cut",
    [parts([b"\x20"])[:1], [*parts([b"\x20"]), parts([b"\x20"])[1]], parts([b"\x20", b"\x30"])[::2]],
    ids=["the end is nobody's", "twice", "a gap"],
)
def test_groups_have_each_key_of_the_user_once(cut: list[object]) -> None:
    with pytest.raises(ValueError, match="each key"):
        plan(*(hexadecimal(one) for one in cut)).programs()  # type: ignore[arg-type]


def test_the_first_schema_has_the_system_tables() -> None:
    whole = plan(hexadecimal(*parts([])))
    with pytest.raises(ValueError, match="system tables"):
        Plan(zones=ZONES, groups=whole.groups, schema=EMPTY).programs()
