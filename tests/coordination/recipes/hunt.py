"""Recipes in bad weather over many seeds, against the real service in the simulated world.

    python -m tests.coordination.recipes.hunt 0:100
    python -m tests.coordination.recipes.hunt 0:100 lock queue --servers 5 --intensity 5 --all-down

Each seed has weather of its own, and every second one explores interleavings too. Prints a line a run; exit
status 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from tests.coordination.recipes.real import RealRig
from tests.coordination.recipes.stories import STORIES


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("seeds", help="A:B")
    arguments.add_argument("stories", nargs="*", metavar="story", help=", ".join(STORIES))
    arguments.add_argument("--servers", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=20.0, help="of bad weather, virtual")
    arguments.add_argument("--intensity", type=float, default=2.0)
    arguments.add_argument("--all-down", action="store_true", help="all servers may be down at once")
    told = arguments.parse_args()
    first, last = map(int, told.seeds.split(":"))
    broken = 0
    for seed in range(first, last):
        for name in told.stories or STORIES:
            rig = RealRig(told.servers, seed=seed, interleave=seed % 2 == 1)
            rig.seconds, rig.intensity = told.seconds, told.intensity
            if told.all_down:
                rig.may_be_down = told.servers
            try:
                done, expired = rig.run(STORIES[name])
                print(f"{name}, seed {seed}: {done} times, {expired} sessions expired", flush=True)
            except Exception as exc:
                broken += 1
                print(f"{name}, seed {seed}: BROKEN", flush=True)
                traceback.print_exception(exc)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
