"""Worker processes of a real host: what `Host.compute` runs, off the loop and on the other cores.

They are started when first needed and die with the host, however that dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeVar

from services.real.processes import die_with_parent
from services.real.programs import load_program

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class WorkerPool:
    """The worker processes of one host.

    Args:
        programs: "path.py:function" programs to load in each worker, whose functions can then be run there.
        size: how many processes; None for one a core.
    """

    def __init__(self, programs: tuple[str, ...] = (), size: int | None = None) -> None:
        self._programs = programs
        self._size = size or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        """Runs `fn(*args)` in a worker process; its exception is raised here.

        Raises:
            BrokenProcessPool: a worker died; what the others were doing is lost with it.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._size, multiprocessing.get_context("spawn"), _begin, (os.getpid(), self._programs)
            )
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, fn, *args)
        except BrokenProcessPool:  # a worker was killed; the next call gets new ones
            if pool is self._pool:
                self.close()
            raise

    def pids(self) -> list[int]:
        """Returns the process numbers of the workers."""
        return list(getattr(self._pool, "_processes", None) or ())

    def close(self) -> None:
        """Ends the workers; work under way is given up."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        workers = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()


def _begin(parent: int, programs: tuple[str, ...]) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for program in programs:
        load_program(program)
