"""A short life of an ensemble, with a crash at each of its steps: enumerated, not sampled.

Elections, proposals, a reconfiguration and a snapshot; then at step after step, each server in turn dies,
with none or some of what it was writing on its disk, and comes back. Every property holds, and all come to
one history. `python -m tests.coordination.zab.test_enumerated` lets two crashes meet, at all pairs of
steps.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.coordination.zab.ensemble import Ensemble, Server, configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SERVERS = (1, 2, 3, 4)
AFTER = 25  # steps that a dead server stays away


class Life:
    """One run; a choice is always the first, so that runs differ in nothing but the crashes."""

    def __init__(self, crashes: Iterable[tuple[int, int, int]] = ()) -> None:
        """Makes one with crashes: at which step, of which server, and how many writes are found done."""
        self.pick = 0
        self.ensemble = Ensemble(configuration([1, 2, 3]), [4], lambda below: min(self.pick, below - 1))
        self.crashes = list(crashes)
        self.down: dict[int, int] = {}  # servers, and when they come back
        self.script: list[Callable[[Server], object]] = [
            self.proposals,
            self.proposals,
            lambda leader: self.ensemble.propose(leader, configuration([2, 3, 4])),
            self.proposals,
            lambda leader: [self.ensemble.keep_snapshot(server) for server in self.ensemble.up()],
            self.proposals,
        ]

    def proposals(self, leader: Server) -> None:
        """Two at once."""
        for _ in range(2):
            self.ensemble.propose(leader)

    def run(self) -> int:
        """Lives; returns how many steps it took to the end of the script."""
        ensemble = self.ensemble
        for server in ensemble.servers.values():
            ensemble.start(server)
        step = 0
        while self.script or self.down:
            for at, number, kept in self.crashes:
                if at == step and ensemble.servers[number].peer is not None:
                    self.pick = kept
                    ensemble.crash(ensemble.servers[number])
                    self.pick = 0
                    self.down[number] = step + AFTER
            for number, until in list(self.down.items()):
                if step >= until:
                    del self.down[number]
                    ensemble.start(ensemble.servers[number])
            leaders = [server for server in ensemble.up() if server.ready]
            if steps := ensemble.steps():
                ensemble.take(steps)
            elif leaders and self.script:
                self.script.pop(0)(leaders[0])
            else:
                ensemble.advance()
            step += 1
        ensemble.settle()
        return step


LENGTH = Life().run()


@pytest.mark.parametrize("number", SERVERS)
@pytest.mark.parametrize("kept", [0, 2])
def test_a_crash_at_any_step_breaks_nothing(number: int, kept: int) -> None:
    for step in range(LENGTH):
        try:
            Life([(step, number, kept)]).run()
        except AssertionError as error:
            error.add_note(f"crash of {number} at step {step}, {kept} writes done")
            raise


def test_a_power_cut_at_any_step_breaks_nothing() -> None:
    for step in range(LENGTH):
        Life([(step, number, step % 3) for number in SERVERS]).run()


def main(stride: int) -> None:
    """Lets two crashes meet: all pairs of every `stride`-th step."""
    runs = 0
    for first in range(0, LENGTH, stride):
        for second in range(first, LENGTH + AFTER, stride):
            for one in SERVERS:
                for other in SERVERS:
                    kept = (first + second) % 3
                    runs += 1
                    try:
                        Life([(first, one, kept), (second, other, kept)]).run()
                    except AssertionError as error:
                        print(f"{one} at {first}, {other} at {second}, {kept} writes done: {error}")
    print(f"{runs} runs")


if __name__ == "__main__":
    main(int(sys.argv[1]))
