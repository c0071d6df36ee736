"""The engine "grpc": a job on a cluster of real processes, its own or one that `dsim up mapreduce` has
started.

Its own cluster lies in a temporary folder and is a master and some workers, on the machine's files. Nodes
that die are started again, a few times, as the cluster scheduler of 5.5 does. Whatever ends the job (an
error, Ctrl-C, the death of this process), no process stays, no folder, and of the output nothing but what a
failed job says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from services.cluster import Cluster, ClusterError
from services.mapreduce import client
from services.mapreduce.engines.prepare import prepare
from services.mapreduce.engines.scratch import scratch
from services.mapreduce.job import JobFailed, SpecError, parts_of, reader_of
from services.mapreduce.message import job_message, result_of
from services.real.shared_folder import SharedFolder
from services.real.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from protos import mapreduce_pb2 as pb
    from services.mapreduce.job import Result, Spec

MASTER = "master"
FILES = "folder:/"
"""The file system of a local cluster: the machine's, by absolute paths."""

RESTARTS = 3
"""So often a node that died is started again, while a job runs on a cluster of its own."""

_LOOK_EVERY = 0.5  # seconds
_UP_WITHIN = 30.0  # seconds
_USER = f"user-{os.getpid()}"


async def run(
    spec: Spec,
    *,
    workers: int | None = None,
    progress: Callable[[pb.Progress], None] | None = None,
    cluster: Path | str | None = None,
    status_port: int | None = None,
    after_down: Callable[[Path], None] | None = None,
) -> Result:
    """Runs a job to its end.

    Args:
        spec: what to run.
        workers: how many, each with one map and one reduce at a time; None: one a core.
        progress: called with each report of the master.
        cluster: the folder of a cluster that is up; None: one for this job.
        status_port: of the status page; None: any that is free.
        after_down: called with the cluster's folder when its processes have ended, before it goes.

    Raises:
        SpecError: the specification cannot be run, or the cluster not be used.
        JobFailed: the job ended without a result.
    """
    began = time.monotonic()
    spec = absolute(spec)
    count = (os.cpu_count() or 1) if workers is None else workers
    async with _running(cluster, count, status_port, after_down) as (running, starts):
        prepared = await prepare(spec, SharedFolder("/"))  # while the nodes start
        job = job_message(prepared.spec)
        if starts:
            await starts[0]  # the master's; it plans while the workers start
        try:
            last = await _unless(starts, client.run(running.client(_USER), MASTER, job, progress))
        except ValueError as exc:
            raise SpecError(str(exc)) from None
        except client.JobFailed as exc:
            log = "\n".join(getattr(exc, "__notes__", ())).splitlines()
            raise JobFailed(str(exc), log) from None
    parts = await parts_of(spec.output, SharedFolder("/"))
    files = FolderStorage("/")
    return result_of(last, spec.output, parts, time.monotonic() - began, reader_of(spec, files))


def absolute(spec: Spec) -> Spec:
    """Returns the specification with absolute paths: workers may have other working folders."""
    return replace(
        spec, inputs=[os.path.abspath(path) for path in spec.paths], output=os.path.abspath(spec.output)
    )


@contextlib.asynccontextmanager
async def _running(
    folder: Path | str | None,
    workers: int,
    status_port: int | None,
    after_down: Callable[[Path], None] | None,
) -> AsyncIterator[tuple[Cluster, list[asyncio.Task[None]]]]:
    """Yields a cluster, and the starts of its nodes, which are under way; leaves things as they were."""
    if folder is not None:
        try:
            cluster = Cluster.open(folder)
        except ClusterError as exc:
            raise SpecError(str(exc)) from None
        if MASTER not in cluster.alive():
            raise SpecError(f'there is no MapReduce master in the cluster in "{folder}"')
        try:
            yield cluster, []
        finally:
            cluster.client(_USER).close()
        return
    with scratch() as temporary:
        folder = temporary / "cluster"
        cluster = Cluster.create(folder)
        try:
            settings = {} if status_port is None else {"status_port": status_port}
            starts = [asyncio.create_task(node) for node in nodes(cluster, workers, **settings)]
            keeper = asyncio.create_task(_keep(cluster, starts), name="keep nodes")
            try:
                yield cluster, starts
            finally:
                for node in (keeper, *starts):
                    node.cancel()
                await asyncio.gather(keeper, *starts, return_exceptions=True)
        except ClusterError as exc:
            raise JobFailed(f"the cluster does not start: {exc}") from None
        finally:
            await asyncio.shield(cluster.down())
            if after_down is not None:
                after_down(folder)


async def _keep(cluster: Cluster, starts: Sequence[asyncio.Task[None]]) -> None:
    """Starts nodes again that die."""
    lives: dict[str, int] = {}
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        if not all(start.done() for start in starts):
            continue  # a node that does not even start ends the job
        for name in cluster.hosts():
            if cluster.fell(name) and lives.setdefault(name, 0) < RESTARTS:
                lives[name] += 1
                with contextlib.suppress(ClusterError):
                    await cluster.restart(name)


def nodes(cluster: Cluster, workers: int, **settings: int) -> list[Coroutine[Any, Any, None]]:
    """Returns the starts of a master and of workers, to be awaited together.

    Args:
        cluster: where.
        workers: how many.
        settings: of the master.
    """
    return [
        cluster.start(MASTER, "services.mapreduce.master:serve", {"files": FILES, **settings}),
        *(
            cluster.start(f"worker{n}", "services.mapreduce.worker:serve", {"master": MASTER, "files": FILES})
            for n in range(1, workers + 1)
        ),
    ]


async def _unless(starts: Sequence[asyncio.Task[None]], job: Coroutine[Any, Any, pb.Progress]) -> pb.Progress:
    """Returns what a job does, unless a node does not start meanwhile: then the job is cancelled.

    Raises:
        ClusterError: a node did not start.
    """
    running = asyncio.create_task(job)
    waiting: set[asyncio.Task[Any]] = {running, *starts}
    try:
        while not running.done():
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for start in starts:
                if start in ended:
                    start.result()
        return running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
