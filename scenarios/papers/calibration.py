"""The one calibration: from the hardware's description and Figure 2 (grep), and nothing else.

What Figure 2 tells:

- **the rate of a machine**: 31,508 MB/s at the peak, from 1,764 workers (5.2);
- **how workers come**: the rate of the first 43 s over that of a machine is how many are at work;
- **how unequal machines are**: after the last map has begun, what is left is on the slow ones. The tasks of a
  machine with slowness s read at `fastest / s`, where P(slower than s) = s ** -index (Pareto). One index fits
  the bytes that are left at 73.5, 83.5 and 93.5 s, which span a factor of ten;
- **the start-up**: the job takes 150 s in all (5.2), and the curve ends at 107.7 s.

Why machines are unequal the paper tells in 3.6 (disks whose correctable errors slow reading from 30 to 1
MB/s, other jobs), not how unequal. That it is the disk's reading which is slow, for its own tasks and for
what it serves to others, and not its writing, is an assumption: all that Figure 2 can show is reading.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
from msgspec import Struct

from scenarios.papers.figures import Curve, curve
from scenarios.papers.hardware import MIB, SPLIT

WORKERS = 1764  # at the peak (5.2)
MAPS = 15_000
TOTAL_S = 150.0  # 5.2


class Calibration(Struct, frozen=True):
    """What Figure 2 tells of the cluster.

    Attributes:
        startup_s: from the user's call to t = 0 of the figures.
        rate_Bps: of an average machine.
        fastest_Bps: of the fastest one, reading.
        index: of the Pareto distribution of slowness.
        arrivals: (seconds of the figure, share of workers that are there), linear in between.
    """

    startup_s: float
    rate_Bps: float
    fastest_Bps: float
    index: float
    arrivals: list[tuple[float, float]]

    def read_rates(self, machines: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Returns bytes a second that each of so many machines reads: the quantiles, slowest last."""
        return self.fastest_Bps / _slowness(self.index, machines)

    def arrival(self, share: float) -> float:
        """Returns when so large a share of the workers is there, in seconds of the figure."""
        times, shares = zip(*self.arrivals, strict=True)
        return float(np.interp(share, shares, times))


@cache
def calibrate() -> Calibration:
    """Returns the calibration."""
    grep = curve("mr_fig2_grep")
    rate = max(value for _, value in grep) * MIB / WORKERS
    index = _fit_index(grep, rate)
    return Calibration(
        startup_s=TOTAL_S - grep[-1][0],
        rate_Bps=rate,
        fastest_Bps=_fastest(rate, index),
        index=index,
        arrivals=_arrivals(grep, rate),
    )


def _slowness(index: float, machines: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (1 - (np.arange(machines) + 0.5) / machines) ** (-1 / index)


def _fastest(rate: float, index: float) -> float:
    """Returns the fastest machine's rate, so that the mean is `rate`."""
    return float(rate / np.mean(1 / _slowness(index, WORKERS)))


def _left(grep: Curve, at: float) -> float:
    """Returns bytes that are read after a time."""
    return sum(rate * (end - begin) * MIB for (begin, _), (end, rate) in pairwise(grep) if begin >= at - 0.01)


def _modelled_left(rates: np.ndarray[tuple[int], np.dtype[np.float64]], after_s: float) -> float:
    """Returns bytes left when the last map began so long ago: each machine was somewhere in one then."""
    rest = np.maximum(SPLIT - rates * after_s, 0)
    return float(np.sum(rest * rest) / (2 * SPLIT))


def _fit_index(grep: Curve, rate: float) -> float:
    """Finds the index under which most nearly so many bytes are left as in the figure's tail."""
    times = [time for time, _ in grep if 60 < time < 100]
    observed = [_left(grep, time) for time in times]
    best = (math.inf, 0.0)
    for step in range(150, 400):
        index = step / 100
        rates = _fastest(rate, index) / _slowness(index, WORKERS)
        began = times[0] - _when_left(rates, observed[0])
        error = sum(
            math.log(max(_modelled_left(rates, time - began), 1.0) / left) ** 2
            for time, left in zip(times[1:], observed[1:], strict=True)
        )
        best = min(best, (error, index))
    return best[1]


def _when_left(rates: np.ndarray[tuple[int], np.dtype[np.float64]], left: float) -> float:
    low, high = 0.0, 60.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _modelled_left(rates, middle) > left else (low, middle)
    return low


def _arrivals(grep: Curve, rate: float) -> list[tuple[float, float]]:
    """Returns how many workers are there over time: linear between the figure's points, up to all of them."""
    knots = [(grep[0][0], 0.0)]
    for (begin, _), (end, value) in pairwise(grep):
        mean = value * MIB / rate / WORKERS
        before = knots[-1][1]
        after = 2 * mean - before
        if after >= 1:  # all are there before the end of this stretch
            full = begin + 2 * (end - begin) * (1 - mean) / (1 - before)
            return [*knots, (min(full, end), 1.0)]
        knots.append((end, max(after, before)))
    raise ValueError("the curve never reaches its peak")
