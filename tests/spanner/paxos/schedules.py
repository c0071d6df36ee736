"""Random schedules: `python -m tests.spanner.paxos.schedules FIRST COUNT` runs many, and says which fail.

Each draws its group, how wrong clocks are, and which faults it has, then what happens, step by step; at the
end all is healed, and all must come to one log, and to rest.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from services.spanner.paxos import InvariantBroken, Settings
from tests.spanner.paxos.cluster import EPSILON, MS, SECOND, Cluster, Server
from tests.spanner.paxos.witness import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = (
    "crash",
    "crash between outputs",
    "cut",
    "isolate",
    "lose",
    "double",
    "pause",
    "slow",
    "checkpoint",
    "abdicate",
    "time",
    "power",
    "clock",
)

RW, RO, WITNESS = "read-write", "read-only", "witness"
GROUPS = (
    (RW,),
    (RW, RW),
    (RW, RW, RW),
    (RW, RW, RW),
    (RW, RW, WITNESS),
    (RW, RW, WITNESS, RO),
    (RW, RW, RW, RO),
    (RW, RW, RW, RW, RW),
    (RW, RW, RW, WITNESS, WITNESS),
    (RW, RW, RW, RW, WITNESS, RO, RO),
)


def fault(cluster: Cluster, kind: str) -> None:
    """Lets something go wrong."""
    choose = cluster.choose
    names = list(cluster.servers)
    server = cluster.servers[names[choose(len(names))]]
    if kind == "crash":
        down = [each for each in cluster.servers.values() if each.paxos is None]
        if down and choose(3):
            cluster.start(down[choose(len(down))])
        elif server.paxos:
            cluster.crash(server)
    elif kind == "crash between outputs":
        cluster.crash_in = choose(8)
    elif kind == "cut":
        if cluster.cut and choose(3):
            cluster.cut.clear()
        else:
            cluster.cut.add((server.name, names[choose(len(names))]))
    elif kind == "isolate":
        for leader in cluster.leaders():
            for other in names:
                cluster.cut |= {(leader.name, other), (other, leader.name)}
            for _ in range(choose(4)):
                if leader.paxos:
                    cluster.propose(leader)
    elif kind == "lose":
        cluster.network = [each for each in cluster.network if choose(2)]
    elif kind == "double":
        for _ in range(choose(4)):
            if cluster.network:
                cluster.network.append(cluster.network[choose(len(cluster.network))])
    elif kind in ("pause", "slow"):
        troubled = cluster.paused if kind == "pause" else cluster.slow
        if troubled and choose(3):
            troubled.clear()
        else:
            troubled.add(server.name)
    elif kind == "checkpoint":
        for each in cluster.up():
            if choose(3):
                cluster.checkpoint(each)
    elif kind == "abdicate":
        for each in cluster.up():
            if each.term or choose(8) == 0:
                cluster.abdicate(each, "" if choose(2) else names[choose(len(names))])
    elif kind == "time":
        cluster.now += choose(12) * SECOND
    elif kind == "power":
        for each in cluster.up():
            cluster.crash(each)
        for each in cluster.servers.values():
            if choose(4):
                cluster.start(each)
    elif kind == "clock":
        for each in cluster.servers.values():
            cluster.bend(each)


def use(cluster: Cluster, server: Server) -> None:
    """Lets somebody want something."""
    choose = cluster.choose
    kind = choose(10)
    if kind < 6:
        leaders = cluster.leaders()
        if leaders:
            for _ in range(1 + choose(5)):
                ahead = (-1, 0, 0, 5 * MS, 3 * SECOND, 9 * SECOND)[choose(6) if choose(5) == 0 else choose(3)]
                if leaders[0].paxos:
                    cluster.propose(leaders[0], ahead)
        elif server.paxos:
            cluster.lead(server)
    elif kind < 8 and server.paxos:
        cluster.lead(server)
    elif server.paxos and server.member.holds_data:
        cluster.input(server, "safe", cluster.now + (choose(40) - 20) * MS)


def run(choose: Callable[[int], int], steps: int = 0, log: list[str] | None = None) -> Cluster:
    """Runs one schedule; of so many steps, when that is not 0.

    Raises:
        Violation, InvariantBroken: a property does not hold.
    """
    kinds = GROUPS[choose(len(GROUPS))]
    preferred = "s1" if choose(2) else ""
    # Few entries in a message: what is accepted ends where it hurts. Clocks far off: rules about them matter.
    settings = Settings(batch=(1, 2, 256)[choose(3)], window=(3, 4096)[choose(2)])
    epsilon = (EPSILON, EPSILON, 400 * MS)[choose(3)]
    cluster = Cluster(kinds, choose, preferred, settings, epsilon)
    cluster.log = log
    faults = [kind for kind in FAULTS if choose(2)]
    often = (1, 2, 5, 10)[choose(4)]
    cluster.in_order = choose(2) == 0
    pace = (MS // 10, MS, 20 * MS)[choose(3)]
    calm = choose(2)
    steps = steps or (200, 400, 800, 2000)[choose(4)]
    without = 0
    for _ in range(steps):
        kind = choose(100)
        without = 0 if cluster.leaders() else without + 1
        if calm and without > 150:
            without = 0
            cluster.heal()
        if kind < often and faults:
            if not (calm and without):
                fault(cluster, faults[choose(len(faults))])
        elif kind < often + 10:
            names = list(cluster.servers)
            use(cluster, cluster.servers[names[choose(len(names))]])
        elif kind == 99:
            cluster.advance()
        elif possible := cluster.steps():
            cluster.now += choose(pace)
            cluster.advance(1)
            if possible := cluster.steps():
                cluster.take(possible)
        else:
            cluster.advance(5 * SECOND)
    cluster.settle()
    return cluster


def seeded(seed: int) -> Callable[[int], int]:
    """Returns a schedule's choices."""
    draw = random.Random(seed).random
    return lambda below: int(draw() * below)


def main(first: int, count: int) -> int:
    """Runs schedules of seeds `first` and on; returns how many failed."""
    failed, began, chosen, reigns = 0, time.perf_counter(), 0, 0
    counts: dict[str, int] = {}
    for seed in range(first, first + count):
        try:
            cluster = run(seeded(seed))
            chosen += len(cluster.witness.chosen)
            reigns += len(cluster.witness.reigns)
            for kind, number in cluster.counts.items():
                counts[kind] = counts.get(kind, 0) + number
        except (Violation, InvariantBroken) as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    took = time.perf_counter() - began
    print(
        f"{count} schedules in {took:.1f} s, {failed} failed; a schedule chose {chosen / count:.1f} "
        f"entries in {reigns / count:.1f} reigns; {counts}"
    )
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]))))
