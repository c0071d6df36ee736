"""asyncio's own objects in sets.

Servers keep what they push to in sets: the queues of their subscribers, stream writers, protocols. Python
hashes such objects by address, so the order in which a set of them is iterated would differ from run to
run. Inside a simulation they are hashed by the order in which those of their loop were first hashed, as
tasks are (`tasks`). For a program's own classes nothing can be done: it has to use a dict, or give them
a `__hash__`.
"""

from __future__ import annotations

import asyncio
from typing import Any

_CLASSES: tuple[Any, ...] = (
    asyncio.Queue,
    asyncio.Lock,
    asyncio.Event,
    asyncio.Condition,
    asyncio.Semaphore,
    asyncio.Barrier,
    asyncio.StreamReader,
    asyncio.StreamWriter,
    asyncio.Server,
    asyncio.TaskGroup,
    asyncio.BaseProtocol,
)


def by_first_hash(thing: Any) -> int:
    """Hashes an object by its turn among those first hashed on the running loop; by address outside."""
    try:
        return thing._dsim_order  # type: ignore[no-any-return]
    except AttributeError:
        orders = getattr(asyncio._get_running_loop(), "orders", None)
        order: int = object.__hash__(thing) if orders is None else next(orders)
        try:
            thing._dsim_order = order  # for good: what is in a set must not change its hash
        except AttributeError:  # a protocol with slots
            return object.__hash__(thing)
        return order


def order() -> None:
    """Has asyncio's objects hashed so, for good: outside a simulation the hash is what it always was."""
    for cls in _CLASSES:
        cls.__hash__ = by_first_hash
