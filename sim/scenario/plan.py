"""All that decides a run, checked, and as a command line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sim.faults import Action
from sim.scenario.definition import Scenario
from sim.scenario.discover import find
from sim.scenario.errors import InvalidInput, near
from sim.scenario.folder import SCHEDULE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WORLDS = ("sim", "grpc")


class Plan(msgspec.Struct):
    """All that decides a run.

    Attributes:
        scenario: the story and what it declares.
        arguments: all its parameters.
        world: "sim" or "grpc".
        seed: decides everything in the simulated world, and the story's own choices in the real one.
        schedule: replaces the schedule of faults that the story plays.
        interleave: the seed also decides which ready task runs first.
        limit_s: real seconds that the run may take; None for the usual limit.
    """

    scenario: Scenario
    arguments: dict[str, Any]
    world: Literal["sim", "grpc"]
    seed: int
    schedule: list[Action] | None = None
    interleave: bool = False
    limit_s: float | None = None


def make_plan(
    scenario: Scenario | str | Path,
    params: Mapping[str, Any] | None,
    world: str,
    seed: int,
    schedule: Sequence[Action] | None,
    interleave: bool,
    limit_s: float | None,
) -> Plan:
    """Returns a plan; the arguments are those of `sim.run`.

    Raises:
        InvalidInput: one of them cannot be used.
    """
    found = scenario if isinstance(scenario, Scenario) else find(scenario)
    arguments = found.arguments(params or {})
    if world not in WORLDS:
        raise InvalidInput(
            f"there is no world {world!r}{near(world, WORLDS)} (there are: {', '.join(WORLDS)})"
        )
    if interleave and world != "sim":
        raise InvalidInput("only the simulated world can permute ready tasks: --interleave needs --world sim")
    if limit_s is not None and not limit_s > 0:
        raise InvalidInput(f"the limit must be more than 0 s of real time, not {limit_s:g}")
    return Plan(
        found,
        arguments,
        "sim" if world == "sim" else "grpc",
        seed,
        None if schedule is None else list(schedule),
        interleave,
        limit_s,
    )


def replay_command(plan: Plan, folder: Path | None) -> str:
    """Returns the command that runs the same again."""
    words = ["dsim", "run", plan.scenario.locator, "--seed", str(plan.seed)]
    if plan.world != "sim":
        words += ["--world", plan.world]
    if plan.interleave:
        words.append("--interleave")
    for name, value in plan.arguments.items():
        if value != plan.scenario.parameters[name].default:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words += ["--set", f"{name}={text}"]
    if plan.schedule is not None and folder is not None:
        words += ["--schedule", str(folder / SCHEDULE)]
    return shlex.join(words)
