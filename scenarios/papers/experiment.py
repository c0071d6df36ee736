"""One job of the paper's size on the paper's cluster: the same master and workers, data only charged for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import mapreduce_pb2 as pb
from scenarios.papers.calibration import calibrate
from scenarios.papers.cluster import Cluster
from scenarios.papers.hardware import PAPER, SPLIT
from scenarios.papers.modelled import books_of
from scenarios.papers.modelled_files import INPUT, Input
from scenarios.papers.watch import Watch
from services.mapreduce import client, master, worker
from sim.faults import Crash
from sim.scenario.errors import InvalidInput

if TYPE_CHECKING:
    from sim import World
    from sim.world.simulation import Simulation

SPLITS_OF_A_FILE = 15  # 1,000 input files (5.2), M = 15,000
PING_S = 30.0
"""Open in the paper. Two thousand workers, each asked so often, are most of the messages of a run."""

LOCATIONS_S = 5.0
PING_TIMEOUT_S = 60.0
BACKUP_AFTER_S = 60.0
"""Open in the paper. Hadoop lets a task run a minute before it gets a second execution (SPECULATIVE_LAG)."""

FILES = "scenarios.papers.modelled_files:factory"
DATA = "scenarios.papers.modelled:ModelledData"


class Job(Struct, frozen=True):
    """What the job does with data; see `modelled`."""

    intermediate: float
    output: float
    copies: int


class Outcome(Struct):
    """What came of it.

    Attributes:
        origin: t = 0 of the figures, in seconds of the run.
        total_s: from the user's call to its return.
        samples: see `Cluster.samples`.
    """

    origin: float
    total_s: float
    report: pb.Progress
    samples: list[tuple[float, float, float, float]]
    watch: Watch
    maps: int


def hardware(simulation: Simulation) -> None:
    """Racks of 80 machines below one root; messages are left out of the trace."""
    from sim.world.network import racks

    simulation.network.use(
        racks(
            24,
            latency_s=200e-6,
            core_latency_s=100e-6,
            bandwidth_Bps=PAPER.nic_Bps,
            core_bandwidth_Bps=PAPER.root_Bps / 24,
        )
    )
    calibrate()  # reads a file, as no simulated host may
    simulation.__dict__["watch"] = Watch(simulation)


async def perform(
    world: World,
    job: Job,
    *,
    machines: int,
    maps: int,
    reduces: int,
    backup: bool = True,
    kill: int = 0,
    kill_at: float = 260.0,
) -> Outcome:
    """Runs a job.

    Args:
        world: a simulated one.
        job: what it does with data.
        machines: how many.
        maps, reduces: M, rounded up to whole files, and R.
        backup: with backup tasks (3.6).
        kill: so many worker processes are killed, and started again at once by the cluster scheduler (5.5).
        kill_at: when, in seconds of the figures.

    Raises:
        InvalidInput: this is not a simulated world, or there are not so many workers to kill.
    """
    if world.kind != "sim":
        raise InvalidInput("the papers' machines are modelled: run this in the simulated world (--world sim)")
    if kill >= machines:
        raise InvalidInput(f"kill={kill}: there are {machines} workers, and one must be left")
    simulation: Simulation = world.simulation  # type: ignore[attr-defined]
    found = calibrate()
    names = [f"m{number:04}" for number in range(machines)]
    place = [f"rack{number // PAPER.rack + 1}" for number in range(machines)]
    rates = found.read_rates(machines)
    world.stream("machines").shuffle(order := list(range(machines)))
    cluster = Cluster(simulation, names, rates[order], found.rate_Bps, world.stream("replicas"))
    files = -(-maps // SPLITS_OF_A_FILE)
    Input(
        simulation,
        files=files,
        size=round(SPLIT) * SPLITS_OF_A_FILE,
        block=round(SPLIT),
        machines=names,
        racks=place,
        open_s=found.startup_s,
        chance=world.stream("input"),
    )
    watch: Watch = simulation.__dict__["watch"]
    watch.ignored = lambda host, name, attempt: (
        books_of(cluster).planes[cluster.index[host]].forgo(name, attempt)
    )
    cluster.start()
    await world.start(
        "master",
        master.serve,
        files=FILES,
        ping_interval_s=PING_S,
        ping_timeout_s=PING_TIMEOUT_S,
        locations_interval_s=LOCATIONS_S,
        progress_interval_s=PING_S,
        backups={"least_s": BACKUP_AFTER_S, "rest": True},
    )
    world.spawn(_workers_come(world, names, place), name="scheduler")
    if kill:
        victims = world.stream("victims").sample(names, kill)
        world.spawn(_kill(world, victims, found.startup_s + kill_at), name="killer")
    report = await client.run(
        world.client("user"),
        "master",
        pb.Job(
            code=pb.Code(name="modelled", title="modelled"),
            inputs=[INPUT],
            output="output",
            reduces=reduces,
            split_bytes=round(SPLIT),
            no_backups=not backup,
            settings={
                "intermediate": repr(job.intermediate),
                "output": repr(job.output),
                "copies": str(job.copies),
                "maps": str(files * SPLITS_OF_A_FILE),
            },
        ),
    )
    total = world.now()
    cluster.sample()
    cluster.stop()
    return Outcome(found.startup_s, total, report, cluster.samples, watch, files * SPLITS_OF_A_FILE)


async def _workers_come(world: World, names: list[str], place: list[str]) -> None:
    """The cluster scheduler starts the program on one machine after the other, as Figure 2 has it."""
    found = calibrate()
    order = list(range(len(names)))
    world.stream("arrivals").shuffle(order)
    for rank, number in enumerate(order):
        at = found.startup_s + found.arrival((rank + 0.5) / len(names))
        if at > world.now():
            await asyncio.sleep(at - world.now())
        await world.start(
            names[number],
            worker.serve,
            files=FILES,
            data=DATA,
            rack=place[number],
            ping_timeout_s=2 * PING_TIMEOUT_S,
        )


async def _kill(world: World, victims: list[str], at: float) -> None:
    await asyncio.sleep(at - world.now())
    for name in victims:
        await world.lift(await world.inject(Crash(host=name)))
        await asyncio.sleep(0)  # each is a step of its own: no step is to hold up the run for long
