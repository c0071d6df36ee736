"""Chance: `random`, `secrets`, `os.urandom` and `uuid`.

All chance of an adopted program comes from its host's stream, so it follows from the seed, the
host's name and its incarnation. `random.seed` seeds that stream anew.
"""

from __future__ import annotations

import os
import random
import uuid
from typing import TYPE_CHECKING, Any

from sim.world.reality.leak import asked_by_import, asked_by_library, asked_for, inside, leak

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.process import Process

_DRAWS = "draws real chance"
_INSTEAD = "use host.rng, or adopt the program, and it draws from its host's"
_imports = random.Random(0)
"""What modules draw while they are imported: once in a process, so it must not be the host's."""

_FUNCTIONS = """
    betavariate binomialvariate choice choices expovariate gammavariate gauss getrandbits getstate
    lognormvariate normalvariate paretovariate randbytes randint random randrange sample seed setstate
    shuffle triangular uniform vonmisesvariate weibullvariate
"""


def _rng(process: Process, call: str) -> random.Random:
    """Returns the stream that answers.

    Raises:
        RealityLeak: none may.
    """
    if asked_by_import():
        return _imports
    machine = process.host
    if machine is None or not (process.adopted or asked_by_library()):
        raise leak(process, asked_for(call), _DRAWS, _INSTEAD)
    found: random.Random = machine.host.rng
    return found


def _draw(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    real = getattr(random, name)

    def draw(*args: Any, **kwargs: Any) -> Any:
        process = inside()
        if process is None:
            return real(*args, **kwargs)
        return getattr(_rng(process, f"random.{name}()"), name)(*args, **kwargs)

    draw.__name__ = draw.__qualname__ = name
    draw.__module__ = "random"
    draw.__doc__ = real.__doc__
    return real, draw


_urandom = os.urandom
_seed = random.Random.seed
_uuid1 = uuid.uuid1
_getnode = uuid.getnode


def urandom(size: int, /) -> bytes:
    """Returns random bytes (`os.urandom`)."""
    process = inside()
    if process is None:
        return _urandom(size)
    return _rng(process, "os.urandom()").randbytes(size)


def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    """Seeds a generator (`random.Random.seed`); without a seed, from the host's chance."""
    if a is None:
        process = inside()
        if process is not None:
            a = _rng(process, "random.Random()").getrandbits(256)
    _seed(self, a, version)


def getnode() -> int:
    """Returns a hardware address (`uuid.getnode`): of the host's name, so that it never changes."""
    process = inside()
    if process is None:
        return _getnode()
    _rng(process, "uuid.getnode()")
    return random.Random(process.name).getrandbits(48) | 1 << 40


def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
    """Returns a UUID of host and time (`uuid.uuid1`)."""
    process = inside()
    if process is None:
        return _uuid1(node, clock_seq)
    rng = _rng(process, "uuid.uuid1()")
    ticks = process.host.clock.time_ns() // 100 + 0x01B21DD213814000 + rng.randrange(10)
    sequence = rng.getrandbits(14) if clock_seq is None else clock_seq
    return uuid.UUID(
        fields=(
            ticks & 0xFFFFFFFF,
            ticks >> 32 & 0xFFFF,
            ticks >> 48 & 0x0FFF,
            sequence >> 8 & 0x3F,
            sequence & 0xFF,
            getnode() if node is None else node,
        ),
        version=1,
    )


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions and what stands in for each."""
    found: list[tuple[Any, Any]] = [_draw(name) for name in _FUNCTIONS.split() if hasattr(random, name)]
    found += [
        (_urandom, urandom),
        (_uuid1, uuid1),
        (_getnode, getnode),
    ]
    if hasattr(os, "getrandom"):
        found.append((os.getrandom, lambda size, flags=0: urandom(size)))
    return found


def methods() -> list[tuple[type, str, Any]]:
    """Returns the methods and what stands in for each."""
    return [(random.Random, "seed", seed)]
