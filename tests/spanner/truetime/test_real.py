"""TrueTime on real processes: three masters, one that lies, and hosts that stay right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.real.clock import SkewedClock
from sim import run

MS = 1_000_000  # ns


def test_masters_on_real_processes_one_of_which_lies(tmp_path: Path) -> None:
    """The hosts that ask them are right all the time, and name the liar; commits stay in order."""
    told = run(
        "spanner/liar-outvoted",
        {"poll_s": 0.4, "clients": 1, "drift": 0.002, "polls": 5, "lie_s": 0.2},
        world="grpc",
        out=tmp_path / "run",
    )
    assert told.passed, told


class Heard:
    """What a clock says of its claims."""

    def __init__(self, clock: SkewedClock) -> None:
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.samples: list[tuple[int, int]] = []
        clock.note = lambda name, fields: self.notes.append((name, fields))
        clock.sample = lambda bound, middle: self.samples.append((bound, middle))


def test_a_real_host_compares_its_claims_with_the_machine_s_clock() -> None:
    clock = SkewedClock()
    heard = Heard(clock)
    now = clock.time_ns()
    clock.claim(now - 1, now + 1, traced=True)
    assert heard.samples == [(1, 0)]
    clock.claim(now + 2, now + 5)
    clock.claim(now + 9, now + 10)
    clock.claim(now, now)
    assert heard.notes == [
        ("truetime-violated", {"by_ns": 2, "side": "earliest", "width_ns": 3}),
        ("truetime-contained", {"worst_ns": 9}),
    ]
    assert (clock.claims, clock.violations) == (4, 2)
