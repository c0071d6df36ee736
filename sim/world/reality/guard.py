"""Puts the answers in place while a simulation runs, and takes them back after."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from sim.world import logs, sets
from sim.world.reality import blocking, chance, clocks, endings, files, machine, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_running = 0
_collecting = False  # whether garbage was collected automatically before the first run


_LIBRARIES = {"grpc.aio": "grpc", "aiohappyeyeballs": "aiohappyeyeballs"}
"""Modules whose functions are replaced, with the packages that hold them; not every machine has them."""


class _Names:
    """The functions to be replaced, and the modules that hold them under whatever name.

    Looking through every module takes milliseconds, so the places found are kept, and only
    modules loaded since are looked through again.
    """

    def __init__(self) -> None:
        self._stand_ins: dict[int, tuple[Any, Any]] = {}
        self._places: dict[tuple[int, str], tuple[dict[str, Any], str, Any, Any]] = {}
        self._seen: dict[str, int] = {}
        self._loaded: tuple[Any, ...] = ()
        self._libraries: list[str] = []

    def install(self) -> None:
        libraries = [name for name in _LIBRARIES if name in sys.modules]
        if not self._stand_ins or self._libraries != libraries:
            self._libraries = libraries
            known = {id(real) for real, _ in self._stand_ins.values()}
            if not known:
                pairs = [
                    *clocks.functions(),
                    *chance.functions(),
                    *machine.functions(),
                    *files.functions(),
                    *endings.functions(),
                    *programs.functions(),
                ]
            else:
                pairs = [pair for pair in programs.functions() if id(pair[0]) not in known]
            self._stand_ins.update({id(real): (real, stand_in) for real, stand_in in pairs})
            self._seen.clear()
        self._look()
        for namespace, name, real, stand_in in self._places.values():
            if namespace.get(name) is real:
                namespace[name] = stand_in

    def remove(self) -> None:
        for namespace, name, real, stand_in in self._places.values():
            if namespace.get(name) is stand_in:
                namespace[name] = real

    def _look(self) -> None:
        stand_ins, seen, modules = self._stand_ins, self._seen, sys.modules
        loaded = (len(modules), next(reversed(modules)), len(stand_ins))
        names = ["__main__"] if loaded == self._loaded else list(modules)
        self._loaded = loaded
        for module_name in names:
            namespace = getattr(modules.get(module_name), "__dict__", None)
            if (
                namespace is None
                or (seen.get(module_name) == id(namespace) and module_name != "__main__")
                or _ours(module_name)
            ):
                continue
            seen[module_name] = id(namespace)
            for name, value in list(namespace.items()):
                found = stand_ins.get(id(value))
                if found is not None:
                    self._places[id(namespace), name] = (namespace, name, *found)


def _ours(module_name: str) -> bool:
    return module_name.startswith("sim.world.reality")


class _Methods:
    """Methods of classes, some of which Python lets nobody change.

    `datetime` is written in C; its class dictionary is reached through the garbage collector,
    which sees the dictionary behind the read-only view. Replacing the class itself, as others do,
    would break pickling, `type(x) is datetime` and every module that had imported it.
    """

    def __init__(self) -> None:
        self._real: list[tuple[type, str, Any]] = []

    def install(self) -> None:
        for cls, name, stand_in in [
            *clocks.methods(),
            *chance.methods(),
            *blocking.methods(),
            *logs.methods(),
        ]:
            self._real.append((cls, name, cls.__dict__[name]))
            _set(cls, name, stand_in)

    def remove(self) -> None:
        while self._real:
            _set(*self._real.pop())


def _set(cls: type, name: str, value: Any) -> None:
    try:
        setattr(cls, name, value)
    except TypeError:
        gc.get_referents(cls.__dict__)[0][name] = value
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


_names = _Names()
_methods = _Methods()


@contextmanager
def guarded() -> Iterator[None]:
    """Holds while a loop runs. Garbage is not collected automatically meanwhile."""
    global _running, _collecting
    with _lock:
        _running += 1
        if _running == 1:
            _collecting = gc.isenabled()
            gc.disable()
            _methods.install()
            sets.order()
        files.watch(_running)
        _names.install()
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            files.watch(_running)
            if _running == 0:
                _names.remove()
                _methods.remove()
                if _collecting:
                    gc.enable()


@cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def adopting() -> None:
    """Prepares for adopted programs: libraries are loaded, so that their functions can be replaced."""
    for module, package in _LIBRARIES.items():
        if module not in sys.modules and _installed(package):
            importlib.import_module(module)
    with _lock:
        if _running:
            _names.install()
