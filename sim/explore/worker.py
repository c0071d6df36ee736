"""A worker process: makes one run after another, as it is told on its standard input.

    python -m sim.explore.worker

A process, because a run may end it (a crash of the interpreter, a loop that nothing stops), and because
crashed simulations keep their frames for good: only the end of the process gives the memory back.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import SimpleQueue

import msgspec

from sim.explore.jobs import Job, Outcome

FAREWELL_S = 5.0  # for a run to take its world down when nobody waits for its outcome any more


def main() -> None:
    """Works until standard input ends."""
    # The answers have a way of their own: what a scenario prints must not get between them.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), name="dsim-listen", daemon=True).start()
    decode = msgspec.json.Decoder(Job).decode
    import sim.scenario.run  # noqa: F401 (this takes a while, and is not to count as part of a run)

    while line := lines.get():
        answers.write(b"\n")  # begun
        answers.write(msgspec.json.encode(perform(decode(line))) + b"\n")


def _listen(lines: SimpleQueue[bytes]) -> None:
    """Passes lines on. When they end, whoever wanted the outcome is gone: so goes this process."""
    for line in sys.stdin.buffer:
        lines.put(line)
    lines.put(b"")
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(FAREWELL_S)
    os._exit(1)


def perform(job: Job) -> Outcome:
    """Makes a run."""
    from sim.scenario.errors import InvalidInput
    from sim.scenario.run import run

    try:
        summary = run(
            job.scenario,
            job.params,
            world=job.world,
            seed=job.seed,
            out=job.out or None,
            schedule=job.schedule,
            interleave=job.interleave,
            limit_s=job.limit_s,
        )
    except InvalidInput as exc:
        return Outcome(job.seed, "invalid", error=str(exc))
    if job.out and summary.passed and not job.keep:
        shutil.rmtree(job.out)
        summary.folder = ""
    return Outcome(
        job.seed,
        summary.verdict,
        {check.name: check.detail for check in summary.checks if not check.ok},
        summary.error,
        list(summary.failures),
        str(Path(summary.folder)) if summary.folder else "",
        summary.replay,
        summary.trace_sha256,
        summary.virtual_s,
        summary.wall_s,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        // (1024 * 1024 if sys.platform == "darwin" else 1024),
    )


if __name__ == "__main__":
    status = 0
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        # At once: an orderly end would first close what crashed hosts were doing, one by one.
        sys.stderr.flush()
        os._exit(status)
