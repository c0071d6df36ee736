"""Bugs that are planted in sound code, to see that tests find them."""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def plant(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, old: str, new: str) -> None:
    """Changes a piece of the source of a function, or of a method or property, while a test runs.

    Args:
        monkeypatch: pytest's; undoes it.
        where: a module or a class.
        name: what it calls the function.
        old: occurs once in its source.
        new: takes its place.
    """
    found = inspect.getattr_static(where, name)
    function = found.fget if isinstance(found, property) else found
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {name}"
    module = sys.modules[function.__module__]
    made: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(old, new)
    exec(compile(code, f"<{name} with a bug>", "exec"), module.__dict__, made)
    monkeypatch.setattr(where, name, made[function.__name__])
