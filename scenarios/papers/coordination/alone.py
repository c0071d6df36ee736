"""Zab without clients: the leader makes the transactions, and their rate and latency are taken there."""

from __future__ import annotations

import asyncio
from statistics import mean
from typing import TYPE_CHECKING

from msgspec import Struct

from scenarios.papers.coordination import servers
from scenarios.papers.coordination.ensemble import PaperEnsemble, simulation_of

if TYPE_CHECKING:
    from scenarios.papers.coordination.calibration import Costs
    from sim import World
    from sim.world.disk import DiskModel

STEP_S = 0.002


class Outcome(Struct):
    """What the leader did, after it had warmed up.

    Attributes:
        rate: transactions a second.
        latency_s: from the making of one to its delivery, on average.
        busy: share of the leader's processor time that was used.
    """

    rate: float
    latency_s: float
    busy: float


async def broadcast(
    world: World,
    name: str,
    size: int,
    costs: Costs,
    *,
    transaction: int,
    outstanding: int,
    transactions: int,
    disk: DiskModel | None = None,
) -> Outcome:
    """Has an ensemble of its own broadcast for a while.

    Args:
        world: a simulated one.
        name: of the ensemble, before the number of each server.
        size: servers.
        costs: their machines.
        transaction: bytes of one.
        outstanding: proposed at once.
        transactions: how many are measured, after as many as are outstanding twice.
        disk: of the log; None for what `costs` say.
    """
    ensemble = PaperEnsemble(
        world,
        size,
        costs,
        prefix=name,
        disk=disk,
        program=servers.broadcast,
        size=transaction,
        outstanding=outstanding,
        wait_s=costs.wait_s,
    )
    simulation = simulation_of(world)
    told: dict[str, list[float]] = simulation.__dict__["told"]
    for number, one in enumerate(ensemble.names, 1):
        await ensemble.start_one(one, number, ensemble.members)
    warm = max(2 * outstanding, 3)
    while (leader := next((one for one in ensemble.names if len(told.get(one, ())) >= warm), None)) is None:
        await asyncio.sleep(STEP_S)
    cpu = simulation.machines[leader].cpu
    took, before, begin, busy = told[leader], len(told[leader]), world.now(), cpu.busy_ns
    while len(took) < before + transactions:
        await asyncio.sleep(STEP_S)
    seconds, count = world.now() - begin, len(took) - before
    outcome = Outcome(
        count / seconds, mean(took[before:]), (cpu.busy_ns - busy) / 1e9 / seconds / costs.cores
    )
    await ensemble.stop()
    told.clear()
    return outcome
