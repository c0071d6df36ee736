"""What a worker has a child do before there is any task: import the modules of tasks, once for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.place import place_of
from services.mapreduce.tasks.reduce import run_reduce

if TYPE_CHECKING:
    from services.child import Inside

__all__ = ["place_of", "ready", "run_map", "run_reduce"]


def ready(inside: Inside) -> None:
    """Does nothing; that it can be called is what matters."""
