"""Tasks and futures whose places in sets do not depend on their addresses.

asyncio keeps tasks and futures in sets, and hands such sets to its users (`asyncio.wait`,
`all_tasks`). Python hashes them by address, so the order in which a set is iterated would differ
from run to run. Here they are hashed by the order in which those of their loop were first hashed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.world.process import Process


def by_order(future: Any) -> int:
    """Hashes a future by the order in which those of its loop were first hashed, not by its address."""
    try:
        return future.order  # type: ignore[no-any-return]
    except AttributeError:
        orders = getattr(future.get_loop(), "orders", None)
        if orders is None:  # not in a simulation
            return object.__hash__(future)
        future.order = next(orders)
        return future.order  # type: ignore[no-any-return]


class Task(asyncio.Task[Any]):
    """A task that knows its process, and whose place in a set does not depend on its address.

    Attributes:
        label: what the trace calls it: the name it was given, or else that of the task that started it.
            Names that asyncio makes up are not used: how many tasks it starts behind the scenes (in
            `wait_for`, say) differs from one Python to another, and traces must not.
    """

    __slots__ = ("label", "order", "process")

    label: str
    order: int
    process: Process | None

    __hash__ = by_order

    def set_name(self, value: object) -> None:
        """Gives it a name."""
        super().set_name(value)
        self.label = self.get_name()


def label_of(task: asyncio.Task[Any] | None) -> str:
    """Returns what the trace calls a task; "" when it has no name."""
    return getattr(task, "label", "")


class Future(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address."""

    __slots__ = ("order",)

    order: int

    __hash__ = by_order


# What `gather` returns is a class of asyncio's own. Outside a simulation it hashes as ever.
asyncio.tasks._GatheringFuture.__hash__ = by_order  # type: ignore[attr-defined]
