"""A simulated world with a fake universe in it."""

from __future__ import annotations

import asyncio
from typing import Any

from services.spanner.client import connect
from services.spanner.keys import END, FIRST, KeyRange
from services.spanner.schema import EMPTY, ColumnSpec, CreateTable, apply_change
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.spanner.client.fake import Universe, locate, serve

SCHEMA = apply_change(
    EMPTY,
    CreateTable("Accounts", (ColumnSpec("Id", "INT64"), ColumnSpec("Balance", "INT64")), primary_key=("Id",)),
)
COLUMNS = ("Id", "Balance")


def cut(number: int) -> bytes:
    """Returns where the account with that number begins."""
    return SCHEMA.table("Accounts").key([number])


class Rig:
    """Three servers; group 1 has accounts below 100, group 2 the others. `run` tells a story on `main`."""

    def __init__(self, *, seed=0, interleave=False):
        self.simulation = Simulation(seed, interleave=interleave, limit_s=600.0)
        self.faults = Faults(self.simulation)
        self.universe = Universe()
        self.universe.schema = SCHEMA
        self.one = self.universe.group(1, ["s1", "s2", "s3"], KeyRange(FIRST, cut(100)))
        self.two = self.universe.group(2, ["s2", "s3", "s1"], KeyRange(cut(100), END))
        for name in ("s1", "s2", "s3"):
            self.simulation.boot(name, serve, {"universe": self.universe})
        self.simulation.boot("location", locate, {"universe": self.universe})
        self.main = self.simulation.boot("main")
        self.errors: list[Any] = []

    def run(self, story, **how):
        """Runs `async def story(rig, database)`; nothing may fail where nobody waits for it."""

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda _, what: self.errors.append(what))
            await asyncio.sleep(0.01)
            async with connect(self.main, ["location"], **how) as database:
                return await story(self, database)

        result = self.simulation.run(main(), name="main")
        assert self.simulation.failures == []
        assert self.errors == []
        return result
