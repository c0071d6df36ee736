"""The input as a file system without bytes: 1,000 files in 64 MB blocks, three replicas each (3.4, 5.2).

Address `scenarios.papers.modelled_files:factory`. Opening the files takes what the paper calls start-up
("opening 1000 files in GFS and getting the information needed for the locality optimization", 5.2).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from weakref import WeakKeyDictionary

from services.files.api import FileInfo

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from services.child import Storage
    from services.files.api import Range
    from services.host import Host
    from sim.world.simulation import Simulation

INPUT = "input"
REPLICAS = 3

Held: TypeAlias = "list[dict[str, int]]"  # within the class, `list` is the method

_INPUTS: WeakKeyDictionary[Simulation, Input] = WeakKeyDictionary()


class Input:
    """What there is to read, and where.

    Args:
        simulation: in which world.
        files: how many.
        size: bytes of each.
        block: bytes of each block of it.
        machines, racks: who holds them: a block's replicas lie in at least two racks, as GFS has it.
        open_s: seconds that opening all of them takes.
        chance: where replicas lie.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        files: int,
        size: int,
        block: int,
        machines: Sequence[str],
        racks: Sequence[str],
        open_s: float,
        chance: random.Random,
    ) -> None:
        self.files = [FileInfo(f"{INPUT}/{number:05}", size) for number in range(files)]
        self.open_s = open_s
        self.block = block
        self._held: dict[tuple[str, int], tuple[str, ...]] = {}
        for file in self.files:
            for offset in range(0, size, block):
                self._held[file.path, offset // block] = _replicas(machines, racks, chance)
        _INPUTS[simulation] = self

    def holders(self, path: str, offset: int) -> tuple[str, ...]:
        """Returns the machines that hold a block."""
        return self._held[path, offset // self.block]


def _replicas(machines: Sequence[str], racks: Sequence[str], chance: random.Random) -> tuple[str, ...]:
    count = len(machines)
    chosen = [chance.randrange(count)]
    several = len(set(racks)) > 1
    while len(chosen) < min(REPLICAS, count):
        other = chance.randrange(count)
        if other in chosen or (several and len(chosen) == 1 and racks[other] == racks[chosen[0]]):
            continue
        chosen.append(other)
    return tuple(machines[number] for number in chosen)


def input_of(host: Host) -> Input:
    """Returns the input in a simulated host's world."""
    simulation: Any = host.machine.simulation  # type: ignore[attr-defined]
    return _INPUTS[simulation]


class ModelledFiles:
    """`services.files.api.FileSystem` on an `Input`: names, sizes and positions, but no bytes."""

    def __init__(self, host: Host) -> None:
        self._input = input_of(host)

    async def list(self, path: str) -> list[FileInfo]:
        """Returns the input files, opened."""
        if path != INPUT:
            raise FileNotFoundError(path)
        await asyncio.sleep(self._input.open_s)
        return self._input.files

    async def exists(self, path: str) -> bool:
        """Only the input exists."""
        return path == INPUT

    async def locate(self, ranges: Sequence[Range]) -> Held:
        """Returns the holders of each range's block."""
        return [dict.fromkeys(self._input.holders(piece.path, piece.offset), piece.size) for piece in ranges]

    async def write(self, path: str, data: bytes, replicas: int = 0) -> None:
        """Takes what is written, and keeps none of it."""

    async def create(self, path: str, exclusive: bool = False) -> None:
        """Any folder can be made."""

    async def remove(self, path: str) -> None:
        """Nothing is there."""

    async def commit(self, source: str, target: str) -> bool:
        """Of two executions of a task the master takes one."""
        return True

    async def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """There are no bytes."""
        _no_bytes()

    async def view(self, ranges: Sequence[Range], tail: int = 1 << 16) -> Storage:
        """There are no bytes."""
        _no_bytes()

    async def publish(self, view: Storage, replicas: int = 0) -> None:
        """There are no bytes."""
        _no_bytes()


def _no_bytes() -> NoReturn:
    raise OSError("modelled files have no bytes: use the data plane scenarios.papers.modelled:ModelledData")


def factory(host: Host) -> ModelledFiles:
    """Returns the file system of a host's world."""
    return ModelledFiles(host)
