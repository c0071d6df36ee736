"""`make demo`: the same MapReduce in the simulated world and on real processes, both under attack."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

RUNS = Path("runs")


def fresh_folder() -> Path:
    """Returns `runs/demo`, or `runs/demo-2` and so on: an earlier demo is not overwritten."""
    names = itertools.chain(["demo"], (f"demo-{n}" for n in itertools.count(2)))
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def run(title: str, *arguments: str, out: Path) -> dict[str, object]:
    """Runs `dsim run ...` as a user would, and returns its summary."""
    print(f"\n== {title}\n$ dsim run {' '.join(arguments)}", flush=True)
    dsim = Path(sys.executable).with_name("dsim")
    status = subprocess.run([dsim, "run", *arguments, "--out", out], check=False).returncode
    summary = out / "summary.json"
    if not summary.exists():
        sys.exit(status or 3)
    found: dict[str, object] = json.loads(summary.read_bytes())
    return found


def main() -> int:
    """Runs both, and ends with what to look at and what to try."""
    out = fresh_folder()
    simulated = run(
        "Simulated: 8 workers, of which two die, one is slow, and one link is cut",
        "mapreduce/worker-crash",
        out=out / "simulated",
    )
    real = run(
        "Real: a file server, a master and 3 workers, one process each; one worker is killed",
        "mapreduce/standard-library",
        "--world",
        "grpc",
        out=out / "real",
    )
    pictures = ", ".join(str(path) for path in sorted(out.glob("*/*.png")))
    print(
        f"\nRun:      a word count in simulation, and one over Python's standard library on real processes"
        f"\nVerdicts: simulated {simulated['verdict']}, real {real['verdict']}"
        f"\nPictures: {pictures}"
        f"\nTry next: .venv/bin/dsim sweep basics/lost-write --seeds 0:200"
    )
    return 0 if simulated["verdict"] == real["verdict"] == "pass" else 1


if __name__ == "__main__":
    sys.exit(main())
