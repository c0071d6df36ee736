"""What map, combine and reduce may give back, made one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def outputs_of(given: Any) -> Iterable[Any]:
    """Returns the outputs of a call of combine or reduce.

    An iterator or a list holds them, None is none, all else is one.
    """
    if isinstance(given, Iterator | list):
        return given
    return () if given is None else (given,)
