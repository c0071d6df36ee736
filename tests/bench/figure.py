"""What a benchmark says: a number, what it is compared with, and what it should be."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Figure(NamedTuple):
    """One number.

    Attributes:
        what: was measured.
        value: came out.
        unit: "x" for a ratio to the reference.
        bound: whether the target is the most or the least it may be; "" when there is none.
        target: what it should be.
        reference: what was measured in the same run to compare with, or under which conditions.
    """

    what: str
    value: float
    unit: str
    bound: Literal["at most", "at least", ""]
    target: float
    reference: str

    @property
    def met(self) -> bool:
        """Says whether the target is met."""
        if not self.bound:
            return True
        return self.value <= self.target if self.bound == "at most" else self.value >= self.target

    def __str__(self) -> str:
        verdict = (
            "" if not self.bound else f"{self.bound} {self.target:g}: {'met' if self.met else 'MISSED'}; "
        )
        return f"{self.what}: {self.value:.2f} {self.unit} ({verdict}{self.reference})"


def show(figures: Callable[[bool], Iterator[Figure]]) -> None:
    """Prints figures as they come, each with the machine's load average after it.

    `--quick` measures less. Exits with 1 if a target is missed.
    """
    met = True
    for figure in figures("--quick" in sys.argv[1:]):
        print(f"{figure} [load {os.getloadavg()[0]:.1f}]", flush=True)
        met &= figure.met
    sys.exit(0 if met else 1)
