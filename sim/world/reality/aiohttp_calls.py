"""What aiohttp's clients connect with: they do not let the loop make the socket.

aiohappyeyeballs makes one, connects it and hands it to `loop.create_connection(sock=)`. In an adopted
program it hands over one that is not connected yet, and the loop does that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sim.world.pair import SimSocket
from sim.world.reality.leak import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

_start_connection: Any = import_module("aiohappyeyeballs").start_connection


async def start_connection(addr_infos: Sequence[tuple[Any, ...]], **options: Any) -> Any:
    """Returns a socket for `loop.create_connection` (`aiohappyeyeballs.start_connection`)."""
    process = inside()
    if process is None or not process.adopted:
        return await _start_connection(addr_infos, **options)
    return SimSocket(("0.0.0.0", 0), addr_infos[0][-1][:2])


def functions() -> list[tuple[Any, Any]]:
    """Returns the function and what stands in for it."""
    return [(_start_connection, start_connection)]
