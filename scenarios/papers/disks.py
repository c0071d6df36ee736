"""How the disks of all machines share their time among what wants them: max-min fair, all at once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def share(wanted: Array, budget: Array) -> Array:
    """Gives each machine's time to its activities, max-min fair: what one does not need goes to the others.

    Args:
        wanted: seconds, a row an activity, a column a machine.
        budget: seconds of each machine.

    Returns:
        Seconds given, shaped as `wanted`.
    """
    activities = len(wanted)
    ranked = np.sort(wanted, axis=0)
    level = np.full(len(budget), np.inf)
    used = np.zeros(len(budget))
    for place in range(activities):
        even = (budget - used) / (activities - place)
        short = (ranked[place] > even) & np.isinf(level)
        level[short] = even[short]
        used += ranked[place]
    given: Array = np.minimum(wanted, level)
    return given
