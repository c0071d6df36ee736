"""Random schedules: `python -m tests.coordination.zab.schedules FIRST COUNT` runs many, and says which fail.

Each run draws its ensemble and which faults it has, then what happens, step by step; at the end everything is
healed, and all must come to one history.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from services.coordination.zab.invariants import InvariantBroken
from tests.coordination.zab.ensemble import Ensemble, Server, configuration
from tests.coordination.zab.witness import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = (
    "crash",
    "crash between outputs",
    "cut",
    "isolate",
    "break",
    "pause",
    "slow",
    "snapshot",
    "reconfigure",
    "time",
    "power",
)


def reconfigure(ensemble: Ensemble, leader: Server) -> None:
    """Proposes another ensemble: one server joins, leaves, or changes its role, or all change."""
    choose, peer = ensemble.choose, leader.peer
    assert peer is not None
    now = peer.configuration
    voting, observing = set(now.participants), set(now.observers)
    for _ in range(1 if choose(4) else 3):
        server = sorted(ensemble.servers)[choose(len(ensemble.servers))]
        role = choose(3)
        voting.discard(server)
        observing.discard(server)
        if role == 0:
            voting.add(server)
        elif role == 1:
            observing.add(server)
    if voting:
        new = configuration(sorted(voting), sorted(observing))
        if peer.quorum_of(new):
            ensemble.propose(leader, new)


def fault(ensemble: Ensemble, kind: str) -> None:
    """Lets something go wrong."""
    choose = ensemble.choose
    numbers = sorted(ensemble.servers)
    server = ensemble.servers[numbers[choose(len(numbers))]]
    if kind == "crash":
        down = [each for each in ensemble.servers.values() if each.peer is None]
        if down and choose(3):
            ensemble.start(down[choose(len(down))])
        elif server.peer:
            ensemble.crash(server)
    elif kind == "crash between outputs":
        ensemble.crash_in = choose(8)
    elif kind == "cut":
        if ensemble.cut and choose(3):
            ensemble.cut.clear()
        else:
            ensemble.cut.add((server.number, numbers[choose(len(numbers))]))
    elif kind == "isolate":
        for leader in ensemble.up():
            if leader.ready:
                for other in numbers:
                    ensemble.cut |= {(leader.number, other), (other, leader.number)}
                for _ in range(choose(4)):
                    ensemble.propose(leader)
                for iteration in list(ensemble.open):
                    if leader.number in iteration.queues and choose(2):
                        ensemble.break_off(iteration)
    elif kind in ("pause", "slow"):
        troubled = ensemble.paused if kind == "pause" else ensemble.slow
        if troubled and choose(3):
            troubled.clear()
        else:
            troubled.add(server.number)
    elif kind == "break":
        if ensemble.open:
            ensemble.break_off(ensemble.open[choose(len(ensemble.open))])
    elif kind == "snapshot":
        for each in ensemble.up():
            if choose(3):
                ensemble.keep_snapshot(each)
    elif kind == "reconfigure":
        for leader in ensemble.up():
            if leader.ready:
                reconfigure(ensemble, leader)
    elif kind == "time":
        ensemble.now += choose(30) / 10
    elif kind == "power":
        for each in ensemble.up():
            ensemble.crash(each)
        for each in ensemble.servers.values():
            if choose(4):
                ensemble.start(each)


def run(choose: Callable[[int], int], steps: int = 0, log: list[str] | None = None) -> Ensemble:
    """Runs one schedule; of so many steps, when that is not 0.

    Raises:
        Violation, InvariantBroken: a property does not hold.
    """
    participants = [1, 2, 3, 4, 5][: (1, 2, 3, 3, 3, 4, 5)[choose(7)]]
    observers = [6, 7][: choose(3)]
    ensemble = Ensemble(configuration(participants, observers), [8, 9][: choose(3)], choose)
    ensemble.log = log
    faults = [kind for kind in FAULTS if choose(2)]
    often = (1, 2, 5, 10)[choose(4)]
    oracle = (0, 0, 3, 10)[choose(4)]
    calm = choose(2)  # a fault waits for a leader, and what stands still for long is healed
    steps = steps or (300, 600, 1000, 3000)[choose(4)]
    for server in ensemble.servers.values():
        ensemble.start(server)
    without = 0
    for _ in range(steps):
        kind = choose(100)
        without = 0 if any(server.ready for server in ensemble.up()) else without + 1
        if calm and without > 100:
            without = 0
            ensemble.heal()
        if kind < often and faults:
            if not (calm and without):
                fault(ensemble, faults[choose(len(faults))])
        elif kind < often + oracle:
            server = ensemble.servers[sorted(ensemble.servers)[choose(len(ensemble.servers))]]
            if server.peer:
                voters = server.peer._own.voters
                ensemble.nominate(server, voters[choose(len(voters))])
        elif kind < often + oracle + 10:
            for server in ensemble.up():
                if server.ready:
                    ensemble.propose(server)
        elif kind == 99:
            ensemble.advance()
        elif possible := ensemble.steps():
            ensemble.take(possible)
        else:
            ensemble.advance()
    ensemble.crash_in = -1
    ensemble.settle()
    return ensemble


def seeded(seed: int) -> Callable[[int], int]:
    """Returns a schedule's choices."""
    draw = random.Random(seed).random
    return lambda below: int(draw() * below)


def main(first: int, count: int) -> int:
    """Runs schedules of seeds `first` and on; returns how many failed."""
    failed, began, order, epochs = 0, time.perf_counter(), 0, 0
    for seed in range(first, first + count):
        try:
            ensemble = run(seeded(seed))
            order += len(ensemble.witness.order)
            epochs += len(ensemble.witness.primaries)
        except (Violation, InvariantBroken) as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    took = time.perf_counter() - began
    print(
        f"{count} schedules in {took:.1f} s, {failed} failed; a schedule delivered {order / count:.1f} "
        f"transactions in {epochs / count:.1f} epochs"
    )
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), int(sys.argv[2]))))
