"""The engine "grpc": a job on a cluster of real processes, its own or one that `dsim up mapreduce` has
started.

Its own cluster lies in a temporary folder and is a master and some workers, on the machine's files. Whatever
ends the job (an error, Ctrl-C, the death of this process), no process stays, no folder, and of the output
nothing but what a failed job says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from services.cluster import Cluster, ClusterError
from services.mapreduce import client
from services.mapreduce.engines.prepare import prepare
from services.mapreduce.job import JobFailed, SpecError, reader_of
from services.mapreduce.message import job_message, result_of
from services.real.shared_folder import SharedFolder
from services.real.storage import FolderStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from protos import mapreduce_pb2 as pb
    from services.mapreduce.job import Result, Spec

MASTER = "master"
FILES = "folder:/"
"""The file system of a local cluster: the machine's, by absolute paths."""

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
    async with _running(cluster, count, status_port, after_down) as (running, up):
        prepared = await prepare(spec, SharedFolder("/"))  # while the nodes start
        job = job_message(prepared.spec)
        await up
        try:
            last = await client.run(running.client(_USER), MASTER, job, progress)
        except ValueError as exc:
            raise SpecError(str(exc)) from None
        except client.JobFailed as exc:
            log = "\n".join(getattr(exc, "__notes__", ())).splitlines()
            raise JobFailed(str(exc), log) from None
    parts = [info.path for info in await SharedFolder("/").list(spec.output)]
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
) -> AsyncIterator[tuple[Cluster, Awaitable[None]]]:
    """Yields a cluster, and what to wait for until it is up; leaves things as they were."""
    if folder is not None:
        try:
            cluster = Cluster.open(folder)
        except ClusterError as exc:
            raise SpecError(str(exc)) from None
        if MASTER not in cluster.alive():
            raise SpecError(f'there is no MapReduce master in the cluster in "{folder}"')
        try:
            yield cluster, asyncio.sleep(0)
        finally:
            cluster.client(_USER).close()
        return
    temporary = Path(tempfile.mkdtemp(prefix="dsim-mr-"))
    try:
        cluster = Cluster.create(temporary)
        try:
            settings = {} if status_port is None else {"status_port": status_port}
            up = asyncio.create_task(start(cluster, workers, **settings))
            try:
                yield cluster, up
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        except ClusterError as exc:
            raise JobFailed(f"the cluster does not start: {exc}") from None
        finally:
            await asyncio.shield(cluster.down())
            if after_down is not None:
                after_down(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


async def start(cluster: Cluster, workers: int, **settings: int) -> None:
    """Starts a master and workers, all at once.

    Args:
        cluster: where.
        workers: how many.
        settings: of the master.

    Raises:
        ClusterError: one of them does not start.
    """
    nodes = [
        cluster.start(MASTER, "services.mapreduce.master:serve", {"files": FILES, **settings}),
        *(
            cluster.start(f"worker{n}", "services.mapreduce.worker:serve", {"master": MASTER, "files": FILES})
            for n in range(1, workers + 1)
        ),
    ]
    started = await asyncio.gather(*nodes, return_exceptions=True)
    for problem in started:
        if problem is not None:
            raise problem
