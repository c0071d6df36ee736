"""What a scenario is: the decorator, its parameters, its checks.

A scenario is a value: `@scenario(...)` turns an `async def story(world, *, name=default, ...)` into a
`Scenario`, which can still be called like the function that it was.
"""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Protocol,
    TypeAlias,
    get_args,
    get_origin,
    runtime_checkable,
)

import msgspec

from sim.scenario.errors import InvalidInput, near, shown

if TYPE_CHECKING:
    from protos.history import Operation
    from protos.trace import TraceEvent
    from sim.scenario.api import World

Story: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

_NOTHING = inspect.Parameter("nothing", inspect.Parameter.KEYWORD_ONLY)
VIRTUAL_LIMIT_S = 3600.0  # a story that needs more than an hour of its own time says so


@runtime_checkable
class Check(Protocol):
    """A check over the whole history, made when the run has ended (a checker of `sim.check`)."""

    @property
    def name(self) -> str:
        """Its name, unique among the checks of a scenario."""
        ...

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict, and in words what it rests on."""
        ...


class Watcher(Protocol):
    """What a `TraceCheck` is in one run."""

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace, in the order in which they were written."""
        ...

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict, and in words what it rests on. Called once, when the run has ended."""
        ...


@runtime_checkable
class TraceCheck(Protocol):
    """A check over the whole trace, which it sees as it is written: it keeps only what it needs."""

    @property
    def name(self) -> str:
        """Its name, unique among the checks of a scenario."""
        ...

    def begin(self) -> Watcher:
        """A run begins."""
        ...


class Parameter(msgspec.Struct, frozen=True):
    """A keyword parameter of a scenario.

    Attributes:
        name: as in the function and in `--set NAME=VALUE`.
        type: what `msgspec` converts to: int, float, str, bool, `Literal[...]`, a union with None, a list,
            or `Annotated[int, Meta(ge=1)]` for a range.
        default: its value when nobody sets it.
    """

    name: str
    type: Any
    default: Any

    def convert(self, value: Any) -> Any:
        """Returns the value that `value` (as given on a command line, or from Python) stands for.

        Raises:
            InvalidInput: it is of another type, or out of range.
        """
        try:
            found = msgspec.convert(value, self.type, strict=not isinstance(value, str))
            if not isinstance(found, float) or math.isfinite(found):
                return found
            problem = "expected a finite number"  # JSON, in which a run keeps its parameters, has no other
        except msgspec.ValidationError as exc:
            problem = str(exc)
        if isinstance(value, str) and value[:1] in ("[", "{"):  # a list or mapping is written as JSON
            try:
                return msgspec.convert(msgspec.json.decode(value), self.type)
            except msgspec.ValidationError as exc:
                problem = str(exc)
            except msgspec.DecodeError as exc:
                problem = f"expected JSON; {exc}"
        problem = problem[:1].lower() + problem[1:].replace("`", "")
        if get_origin(self.type) is Literal:
            problem = f"expected {' or '.join(map(str, get_args(self.type)))}"
        raise InvalidInput(f"parameter {self.name}={value}: {problem}")


class Scenario:
    """A story about a world, ready to be run.

    Attributes:
        name: as `dsim list` shows it, e.g. "basics/ping".
        description: the first line of the docstring.
        checks: the names of its checks, in the order of declaration.
        history_checks: those of them that are made over the history after the run.
        trace_checks: those that watch the trace.
        plots: the kinds of pictures that a run draws.
        hardware: called with the `Simulation` before the story begins, to lay out its network, disks
            and processors; a real world ignores it.
        limit_s: virtual seconds after which the run is ended.
        real_limit_s: real seconds after which a simulated run is ended when nobody sets a limit;
            None: ten minutes.
        parameters: by name.
        file: where it is defined.
    """

    def __init__(
        self,
        story: Story,
        checks: Sequence[str | Check | TraceCheck],
        plots: Sequence[str],
        hardware: Callable[[Any], None] | None,
        limit_s: float,
        real_limit_s: float | None = None,
    ) -> None:
        from sim.view import KINDS

        if isinstance(checks, str):
            raise TypeError(
                f"scenario {story.__name__}: checks must be a tuple of names: checks=({checks!r},)"
            )
        if not limit_s > 0:
            raise TypeError(f"scenario {story.__name__}: limit_s={limit_s:g} must be more than 0 seconds")
        self.story = story
        self.__name__ = story.__name__
        self.__doc__ = story.__doc__
        self.__module__ = story.__module__
        self.file = Path(inspect.getfile(story))
        self.name = _name(story.__module__, self.file, story.__name__)
        self.description = _first_line(story)
        self.checks = tuple(check if isinstance(check, str) else check.name for check in checks)
        self.history_checks = tuple(check for check in checks if isinstance(check, Check))
        self.trace_checks = tuple(check for check in checks if isinstance(check, TraceCheck))
        self.plots = tuple(plots)
        self.hardware = hardware
        self.limit_s = limit_s
        self.real_limit_s = real_limit_s
        self.parameters = _parameters(story)
        for kind in self.plots:
            if kind not in KINDS:
                raise TypeError(
                    f"scenario {story.__name__}: there is no kind of picture {kind!r}{near(kind, KINDS)} "
                    f"(there are: {', '.join(KINDS)})"
                )
        if not self.checks:
            raise TypeError(f"scenario {story.__name__} declares no checks: say what must hold")
        if len(set(self.checks)) != len(self.checks):
            raise TypeError(f"scenario {story.__name__} declares a check twice: {', '.join(self.checks)}")

    def __call__(self, world: World, **parameters: Any) -> Coroutine[Any, Any, None]:
        """Starts the story in a world that is there already."""
        return self.story(world, **parameters)

    def main(self) -> NoReturn:
        """Runs the scenario as `dsim run` does, with the options on the command line of this process.

        For the end of its file, so that `python that_file.py` runs it:

            if __name__ == "__main__":
                story.main()
        """
        from sim.cli import main

        main(["run", f"{self.file}:{self.__name__}", *sys.argv[1:]])

    def __repr__(self) -> str:
        return f"<scenario {self.name}>"

    @property
    def packaged(self) -> bool:
        """Says whether it came with the project, so that its name alone finds it."""
        return self.__module__.startswith("scenarios.")

    @property
    def locator(self) -> str:
        """What to give `dsim run` to find it again: its name, or its file and function."""
        return self.name if self.packaged else f"{shown(self.file)}:{self.__name__}"

    @property
    def source(self) -> str:
        """The same, from whatever folder."""
        return self.name if self.packaged else f"{self.file.resolve()}:{self.__name__}"

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all parameters with their values, in the order of definition.

        Args:
            given: values by name; strings are read as on a command line.

        Raises:
            InvalidInput: an unknown name, or a value of the wrong type or out of range.
        """
        for name in given:
            if name not in self.parameters:
                valid = ", ".join(self.parameters) or "none"
                raise InvalidInput(
                    f"{self.name} has no parameter {name!r}{near(name, self.parameters)} (it has: {valid})"
                )
        return {
            name: parameter.convert(given[name]) if name in given else copy.deepcopy(parameter.default)
            for name, parameter in self.parameters.items()
        }


def scenario(
    *,
    checks: Sequence[str | Check | TraceCheck],
    plots: Sequence[str] = ("spacetime",),
    hardware: Callable[[Any], None] | None = None,
    limit_s: float = VIRTUAL_LIMIT_S,
    real_limit_s: float | None = None,
) -> Callable[[Story], Scenario]:
    """Makes a scenario of an `async def`.

    Args:
        checks: what must hold: names that the story reports with `world.check`, and objects
            with a `name` that judge the history when the run has ended (`Check`), or watch the trace
            (`TraceCheck`). One that is never reached counts as failed.
        plots: the kinds of pictures that a run draws.
        hardware: called with the `Simulation` before the story begins.
        limit_s: virtual seconds after which the run is ended.
        real_limit_s: real seconds after which a simulated run is ended when nobody sets a limit;
            None: ten minutes, which is too little for a very large run on a busy machine.

    Raises:
        TypeError: the function is not a scenario: not `async def`, no docstring, or a parameter
            without a default.
    """

    def decorate(story: Story) -> Scenario:
        return Scenario(story, checks, plots, hardware, limit_s, real_limit_s)

    return decorate


def _first_line(story: Story) -> str:
    lines = (inspect.getdoc(story) or "").strip().splitlines()
    if not lines:
        raise TypeError(f"scenario {story.__name__} has no docstring: its first line says what one will see")
    return lines[0]


def _parameters(story: Story) -> dict[str, Parameter]:
    if not inspect.iscoroutinefunction(story):
        raise TypeError(f"scenario {story.__name__} must be an `async def`")
    world, *rest = inspect.signature(story).parameters.values() or [_NOTHING]
    if world.kind not in (world.POSITIONAL_ONLY, world.POSITIONAL_OR_KEYWORD):
        raise TypeError(f"scenario {story.__name__} must take the world as its first argument")
    found = {}
    for parameter in rest:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"scenario {story.__name__}: *{parameter.name} hides what can be set; name it")
        if parameter.default is parameter.empty:
            raise TypeError(f"scenario {story.__name__}: parameter {parameter.name} needs a default")
        kind = _type(story, parameter)
        try:
            msgspec.convert(parameter.default, kind)
            msgspec.json.encode(parameter.default)  # as the run folder keeps it
            if isinstance(parameter.default, float) and not math.isfinite(parameter.default):
                raise TypeError("must be finite")
        except (msgspec.ValidationError, TypeError) as exc:
            raise TypeError(
                f"scenario {story.__name__}: parameter {parameter.name} = {parameter.default!r}: {exc}"
            ) from None
        found[parameter.name] = Parameter(parameter.name, kind, parameter.default)
    return found


def _type(story: Story, parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return type(parameter.default)
    if not isinstance(annotation, str):
        return annotation
    # One by one, not `get_type_hints`: `World` is often imported for the type checker only.
    try:
        return eval(annotation, getattr(story, "__globals__", {}))
    except Exception as exc:
        raise TypeError(
            f"scenario {story.__name__}: the type of parameter {parameter.name}, {annotation}, "
            f"must be known when the file is loaded ({exc})"
        ) from None


def _name(module: str, file: Path, function: str) -> str:
    if module.startswith("scenarios."):
        return module.removeprefix("scenarios.").replace(".", "/").replace("_", "-")
    stem, own = file.stem.replace("_", "-"), function.replace("_", "-")
    return stem if stem == own else f"{stem}/{own}"
