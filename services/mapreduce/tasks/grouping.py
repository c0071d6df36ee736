"""What map, combine and reduce may give back, made one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


def outputs_of(given: Any) -> Iterable[Any]:
    """Returns the outputs of a call of combine or reduce.

    An iterator or a list holds them, None is none, all else is one.
    """
    if type(given) is list or hasattr(given, "__next__"):
        return cast("Iterable[Any]", given)
    return () if given is None else (given,)
