"""Finding scenarios: by name among those that come with the project, or by path.

The name of a packaged scenario is its file, below the package `scenarios`, with dashes:
`scenarios/mapreduce/worker_crash.py` is `mapreduce/worker-crash`. Any other file is given by its
path, and by `path:function` when it holds several.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from sim.scenario.definition import Scenario
from sim.scenario.errors import InvalidInput, near

if TYPE_CHECKING:
    from types import ModuleType


_LOADING = threading.RLock()
_OURS = ("protos", "services", "sim", "scenarios")  # names of packages that a user's folder may have as well


def names() -> list[str]:
    """Returns the names of the packaged scenarios, sorted."""
    return sorted(_files())


def find(what: str | Path) -> Scenario:
    """Returns a scenario.

    Args:
        what: a name as in `names()`, a path to a .py file, or `path:function`.

    Raises:
        InvalidInput: there is none, there are several, or its file is broken.
    """
    text = str(what)
    path, _, function = text.partition(".py:")
    if function:
        return _choose(load_file(Path(path + ".py")), function)
    if text.endswith(".py"):
        return _choose(load_file(Path(text)), "")
    files = _files()
    if text not in files:
        hint = near(text, files) or "; `dsim list` shows them all"
        raise InvalidInput(f"there is no scenario {text!r}{hint}")
    return _choose(_load(_module_name(text), files[text]), "")


def _files() -> dict[str, Path]:
    import scenarios

    found = {}
    for root in scenarios.__path__:
        for file in Path(root).glob("*/*.py"):
            if not file.name.startswith("_") and "@scenario(" in file.read_text(errors="replace"):
                found[f"{file.parent.name}/{file.stem}".replace("_", "-")] = file
    return found


def _module_name(name: str) -> str:
    return "scenarios." + name.replace("/", ".").replace("-", "_")


def load_file(file: Path, kind: str = "scenario") -> ModuleType:
    """Returns the module that a user's file makes; its folder can be imported from, as for `python file.py`.

    Raises:
        InvalidInput: there is no such file, or it is broken: says where.
    """
    if not file.is_file():
        raise InvalidInput(f"there is no {kind} file {file}")
    file = file.resolve()
    for name, packaged in _files().items():
        if packaged.resolve() == file:
            return _load(_module_name(name), file)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = file.stem
    known = sys.modules.get(module)
    if known is not None and getattr(known, "__file__", None) != str(file):
        module = f"scenario_{file.stem}"  # it has the name of something else: `random.py`, `test.py`
    return _load(module, file)


def _load(module: str, file: Path) -> ModuleType:
    with _LOADING:  # one that another thread has only half loaded must not be taken for whole
        return _loaded(module, file)


def _loaded(module: str, file: Path) -> ModuleType:
    known = sys.modules.get(module)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    try:
        if module.startswith("scenarios."):
            return importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        spec.loader.exec_module(made)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # `sys.exit()` at the top of a file is its fault, too
        sys.modules.pop(module, None)
        raise InvalidInput(_broken(file, exc)) from None
    return made


def _broken(file: Path, exc: BaseException) -> str:
    """Returns what is wrong with a file, with the line of its own where it went wrong."""
    problem = f"{type(exc).__name__}: {exc}"
    if isinstance(exc, SyntaxError) and exc.filename == str(file):
        line, text, problem = exc.lineno, exc.text, f"{type(exc).__name__}: {exc.msg}"
    else:
        own = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == str(file)]
        line, text = (own[-1].lineno, own[-1].line) if own else (None, None)
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        package = exc.name.partition(".")[0]
        if package in _OURS and (file.parent / package).is_dir():
            problem += (
                f" (dsim has a package {package!r} of its own: call the one beside this file something else)"
            )
    where = f"{file}, line {line}" if line is not None else str(file)
    message = f"cannot load {where}: {problem}"
    return f"{message}\n    {text.strip()}" if text and text.strip() else message


def _choose(module: ModuleType, function: str) -> Scenario:
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Scenario) and value.__module__ == module.__name__
    }
    if function:
        if function not in own:
            raise InvalidInput(
                f"{module.__file__} has no scenario {function!r}{near(function, own)}"
                f" (it has: {', '.join(own) or 'none'})"
            )
        return own[function]
    if not own:
        raise InvalidInput(
            f"{module.__file__} holds no scenario: decorate an `async def` with @scenario(...)"
        )
    if len(own) > 1:
        several = " or ".join(f"{module.__file__}:{name}" for name in own)
        raise InvalidInput(f"{module.__file__} holds {len(own)} scenarios: name one of them, {several}")
    return next(iter(own.values()))
