"""Pickling the user's code by value: cloudpickle, and what it does not know.

Modules that are neither installed nor part of this package go with what is used of them, for workers cannot
import them: what `python job.py` runs as `__main__`, a file loaded by its path, a notebook's cell, a module
beside it.
"""

from __future__ import annotations

import inspect
import io
import sys
import sysconfig
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cloudpickle
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_CACHE = "__msgspec_cache__"
_PLAIN = ("__module__", "__doc__", "__qualname__", "__annotations__", "__slots__", "__weakref__", "__dict__")


def dumps(value: Any) -> bytes:
    """Returns a pickle of something of the user's.

    Raises:
        Exception: what it refers to cannot be pickled.
    """
    with _named(_foreign()):
        file = io.BytesIO()
        _Pickler(file).dump(value)
        return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Knows Structs, and what msgspec leaves in a dataclass."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            if _CACHE in obj.__dict__:  # made anew when it is needed
                delattr(obj, _CACHE)
            if isinstance(obj, msgspec.StructMeta) and _by_value(obj):
                return _make_struct, _parts(cast("type[msgspec.Struct]", obj))
        return super().reducer_override(obj)


def _by_value(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return (
        module is None
        or kind.__module__ == "__main__"
        or kind.__module__ in cloudpickle.list_registry_pickle_by_value()
        or getattr(module, kind.__qualname__, None) is not kind
    )


def _parts(kind: type[msgspec.Struct]) -> tuple[Any, ...]:
    """Returns what a Struct class is made from: its name, bases, own fields and methods, settings."""
    own = inspect.get_annotations(kind)
    fields = [
        (field.name, field.type, _default(field))
        for field in msgspec.structs.fields(kind)
        if field.name in own
    ]
    slots = {*kind.__struct_fields__, *_PLAIN}
    methods = {
        name: value
        for name, value in kind.__dict__.items()
        if name not in slots and not name.startswith(("__struct", "__match", "__rich_repr", "__msgspec"))
    }
    config = {
        name: getattr(kind.__struct_config__, name) for name in dir(kind.__struct_config__) if name[0] != "_"
    }
    return kind.__name__, fields, kind.__bases__, methods, kind.__module__, config


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.NODEFAULT


def _make_struct(
    name: str,
    fields: list[Any],
    bases: tuple[type, ...],
    methods: dict[str, Any],
    module: str,
    config: dict[str, Any],
) -> type:
    known = ("frozen", "eq", "order", "array_like", "gc", "weakref", "dict", "cache_hash", "tag", "tag_field",
             "forbid_unknown_fields", "omit_defaults", "repr_omit_defaults", "kw_only")  # fmt: skip
    return msgspec.defstruct(
        name,
        [field[:2] if field[2] is msgspec.NODEFAULT else field for field in fields],
        bases=bases,
        namespace=methods,
        module=module,
        **{key: value for key, value in config.items() if key in known},
    )


def _foreign() -> list[ModuleType]:
    """Returns the modules that are neither installed nor this package's."""
    return [
        module
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and name != "__main__"
        and getattr(module, "__name__", "") == name
        and not _workers_have(name, file)
    ]


@cache
def _workers_have(name: str, file: str) -> bool:
    """Whether a module is installed or of this package. Links are followed only where that matters: there are
    thousands of modules."""
    if file.startswith(_installed()):
        return True
    path = Path(file).resolve()
    if str(path).startswith(_installed()):
        return True
    own = Path(__file__).resolve().parents[2]
    return path.is_relative_to(own) and path.relative_to(own).parts[0] == name.partition(".")[0]


@cache
def _installed() -> tuple[str, ...]:
    """Returns how the paths of what is installed begin."""
    folders = [Path(path) for path in (*sysconfig.get_paths().values(), sys.base_prefix)]
    return tuple(f"{path}/" for folder in folders for path in (folder, folder.resolve()))


@contextmanager
def _named(modules: list[ModuleType]) -> Iterator[None]:
    """Within, cloudpickle takes these modules by value."""
    before = cloudpickle.list_registry_pickle_by_value()
    fresh = [module for module in modules if module.__name__ not in before]
    for module in fresh:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in fresh:
            cloudpickle.unregister_pickle_by_value(module)
