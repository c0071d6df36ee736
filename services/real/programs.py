"""Programs by name: "package.module:function" or "path/to/file.py:function"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class ProgramError(ValueError):
    """A name by which no program can be found, in one line."""


def load_program(name: str) -> Callable[..., Awaitable[Any]]:
    """Returns the function of that name.

    Raises:
        ProgramError: the name is malformed, or there is no such module, file or function.
    """
    where, colon, function = name.rpartition(":")
    if not colon or not where or not function:
        raise ProgramError(
            f'program "{name}" is neither "package.module:function" nor "path/to/file.py:function"'
        )
    if where.endswith(".py"):
        module = _load_file(Path(where))
    else:
        try:
            module = importlib.import_module(where)
        except ModuleNotFoundError as exc:
            if exc.name is None or not (where == exc.name or where.startswith(exc.name + ".")):
                raise  # the module is there; something that it imports is not
            raise ProgramError(f'program "{name}": there is no module "{exc.name}"') from None
    program: Any = module
    for part in function.split("."):
        if not hasattr(program, part):
            raise ProgramError(f'program "{name}": {where} has no "{function}"')
        program = getattr(program, part)
    if not callable(program):
        raise ProgramError(f'program "{name}" is not a function')
    found: Callable[..., Awaitable[Any]] = program
    return found


def program_name(program: Callable[..., Any] | str) -> str:
    """Returns the name under which another process finds a program.

    Raises:
        ValueError: none does, because it is not a module-level function.
    """
    if isinstance(program, str):
        return program
    qualname = getattr(program, "__qualname__", "")
    module = sys.modules.get(getattr(program, "__module__", None) or "")
    if not qualname or "<" in qualname or module is None:
        raise ValueError(
            f"{program!r} cannot be started in a process of its own: not a module-level function"
        )
    file = getattr(module, "__file__", None)
    try:
        spec = importlib.util.find_spec(module.__name__)
    except (ValueError, ImportError):  # __main__, or loaded by path under a name of its own
        spec = None
    if spec is not None and (file is None or spec.origin == file) and module.__name__ != "__main__":
        return f"{module.__name__}:{qualname}"
    if file is None:
        raise ValueError(f"{qualname} cannot be started in a process of its own: its module has no file")
    return f"{Path(file).resolve()}:{qualname}"


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise ProgramError(f'program file "{path}" does not exist')
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    name = (
        path.stem if known is None and importlib.util.find_spec(path.stem) is None else f"{path.stem}__file"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # under this name its functions are pickled for worker processes
    spec.loader.exec_module(module)
    return module
