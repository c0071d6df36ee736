import math
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from sim import InvalidInput, World, scenario


@scenario(checks=("fine",))
async def story(
    world: World,
    *,
    hosts: Annotated[int, Meta(ge=1, le=9)] = 3,
    rate: float = 0.5,
    fast: bool = False,
    mode: Literal["calm", "rough"] = "calm",
    name: str = "a",
    sizes: list[int] = [],  # noqa: B006
    until: float | None = None,
) -> None:
    """One line that says what one sees.

    And more.
    """


def test_the_docstrings_first_line_is_the_description() -> None:
    assert story.description == "One line that says what one sees."


def test_defaults_hold_where_nothing_is_set() -> None:
    assert story.arguments({}) == {
        "hosts": 3,
        "rate": 0.5,
        "fast": False,
        "mode": "calm",
        "name": "a",
        "sizes": [],
        "until": None,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hosts=5", 5),
        ("rate=2", 2.0),
        ("fast=true", True),
        ("fast=0", False),
        ("mode=rough", "rough"),
        ("name=5", "5"),
        ("sizes=[1,2]", [1, 2]),
        ("until=3.5", 3.5),
        ("until=null", None),
    ],
)
def test_values_are_read_by_the_type_of_the_parameter(text: str, value: object) -> None:
    name, given = text.split("=")
    found = story.arguments({name: given})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("hosts", "many", "parameter hosts=many: expected int"),
        ("hosts", "0", "parameter hosts=0: expected int >= 1"),
        ("hosts", "10", "parameter hosts=10: expected int <= 9"),
        ("hosts", 2.5, "parameter hosts=2.5: expected int"),
        ("rate", "x", "parameter rate=x: expected float"),
        ("fast", "maybe", "parameter fast=maybe: expected bool"),
        ("mode", "wild", "parameter mode=wild: expected calm or rough"),
        ("sizes", "[1,x", "parameter sizes=[1,x: expected JSON; JSON is malformed"),
        ("sizes", '[1,"x"]', 'parameter sizes=[1,"x"]: expected int, got str - at $[1]'),
        ("rate", "nan", "parameter rate=nan: expected a finite number"),
        ("rate", "inf", "parameter rate=inf: expected a finite number"),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_named(name: str, given: object, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        story.arguments({name: given})
    assert str(caught.value).startswith(said)


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"no parameter 'host'; did you mean hosts\?.*it has: hosts, rate"):
        story.arguments({"host": 1})


def test_what_is_not_a_scenario_is_refused_when_it_is_defined() -> None:
    with pytest.raises(TypeError, match="needs a default"):

        @scenario(checks=("fine",))
        async def one(world: World, *, hosts: int) -> None:
            """One."""

    with pytest.raises(TypeError, match="no docstring"):

        @scenario(checks=("fine",))
        async def two(world: World) -> None:
            pass

    with pytest.raises(TypeError, match="must be an `async def`"):

        @scenario(checks=("fine",))  # type: ignore[arg-type]
        def three(world: World) -> None:
            """Three."""

    with pytest.raises(TypeError, match="must take the world"):

        @scenario(checks=("fine",))
        async def four() -> None:
            """Four."""

    with pytest.raises(TypeError, match=r"checks must be a tuple of names: checks=\('fine',\)"):

        @scenario(checks="fine")
        async def letters(world: World) -> None:
            """Letters."""

    with pytest.raises(TypeError, match="limit_s=-5 must be more than 0 seconds"):

        @scenario(checks=("fine",), limit_s=-5)
        async def late(world: World) -> None:
            """Late."""

    with pytest.raises(TypeError, match=r"parameter what = <object object.*unsupported"):

        @scenario(checks=("fine",))
        async def kept(world: World, *, what: object = object()) -> None:
            """Kept."""

    with pytest.raises(TypeError, match="parameter wait = inf: must be finite"):

        @scenario(checks=("fine",))
        async def endless(world: World, *, wait: float = math.inf) -> None:
            """Endless."""

    with pytest.raises(TypeError, match="declares no checks"):

        @scenario(checks=())
        async def five(world: World) -> None:
            """Five."""

    with pytest.raises(TypeError, match="parameter hosts = 'x'"):

        @scenario(checks=("fine",))
        async def six(world: World, *, hosts: int = "x") -> None:  # type: ignore[assignment]
            """Six."""
