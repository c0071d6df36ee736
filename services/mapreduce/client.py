"""The user's side of a job (3.1 step 7): submit it, watch it, cancel it, against any master.

Whatever is asked is asked again until the master answers: it may be restarted meanwhile, and goes on with
the job. The client chooses the job's id, so that a submission repeated after a lost reply starts nothing
twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.master.state import JobFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from services.host import Host

__all__ = ["JobCancelled", "JobFailed", "cancel", "run", "submit", "watch"]

T = TypeVar("T")

RETRY_S = 0.3
PATIENCE_S = 120.0
"""A master that has not answered for so long is given up."""

CALL_TIMEOUT_S = 20.0
"""Of one call: a cut link shows itself by this."""

PLANNING_S = 60.0
"""Of one submission: a large input takes time to plan."""

CANCEL_S = 3.0
"""A job whose client is cancelled (Ctrl-C) gets so long to be cancelled in turn."""

REFUSED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class JobCancelled(JobFailed):
    """Somebody has cancelled the job."""


async def submit(host: Host, master: str, job: pb.Job, *, patience_s: float = PATIENCE_S) -> str:
    """Submits a job, and returns its id (chosen here when it has none).

    Args:
        host: the caller's door.
        master: the master's host.
        job: the specification.
        patience_s: seconds without an answer after which the master is given up.

    Raises:
        ValueError: the specification was refused; says why in one line.
        JobFailed: the master does not answer.
    """
    if not job.id:
        job.id = f"job-{host.rng.getrandbits(40):010x}"
    stub = rpc.MasterStub(host.connect(master))
    try:
        answer = await _persist(
            lambda left: stub.Submit(job, timeout=min(left, PLANNING_S)), master, patience_s
        )
    except grpc.aio.AioRpcError as error:
        raise ValueError(error.details()) from None
    return answer.job


async def watch(
    host: Host, master: str, job: str, *, patience_s: float = PATIENCE_S
) -> AsyncIterator[pb.Progress]:
    """Yields a job's progress until it is over; over a restart of the master too.

    Raises:
        JobFailed: the master does not know the job, or does not answer.
    """
    stub = rpc.MasterStub(host.connect(master))
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while True:
        try:
            async for progress in stub.Watch(pb.JobId(job=job), timeout=CALL_TIMEOUT_S):
                heard = loop.time()
                yield progress
                if progress.state != pb.Progress.RUNNING:
                    return
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise JobFailed(error.details()) from None
        if loop.time() - heard > patience_s:
            raise JobFailed(_silent(master, patience_s))
        await asyncio.sleep(RETRY_S)


async def cancel(host: Host, master: str, job: str, *, patience_s: float = PATIENCE_S) -> None:
    """Cancels a job; returns when nothing is left of it. A job that is over stays as it is.

    Raises:
        JobFailed: the master does not know the job, or does not answer.
    """
    stub = rpc.MasterStub(host.connect(master))
    try:
        await _persist(
            lambda left: stub.Cancel(pb.JobId(job=job), timeout=min(left, CALL_TIMEOUT_S)), master, patience_s
        )
    except grpc.aio.AioRpcError as error:
        raise JobFailed(error.details()) from None


async def run(
    host: Host,
    master: str,
    job: pb.Job,
    progress: Callable[[pb.Progress], None] | None = None,
    *,
    patience_s: float = PATIENCE_S,
) -> pb.Progress:
    """Runs a job and returns its last report when all M + R tasks are completed.

    Cancelled itself, it cancels the job.

    Args:
        host: the caller's door.
        master: the master's host.
        job: the specification.
        progress: called with each report.
        patience_s: seconds without an answer after which the master is given up.

    Raises:
        ValueError: the specification was refused.
        JobFailed: in one line: which task failed too often, on which record, and where its log is; or that
            the master does not answer. Its note, when there is one, is the end of that log.
        JobCancelled: somebody has cancelled it.
    """
    try:
        name = await submit(host, master, job, patience_s=patience_s)
        async for report in watch(host, master, name, patience_s=patience_s):
            if progress is not None:
                progress(report)
            if report.state == pb.Progress.DONE:
                return report
            if report.state != pb.Progress.RUNNING:
                kind = JobCancelled if report.state == pb.Progress.CANCELLED else JobFailed
                failed = kind(report.error)
                if report.failed_log:
                    failed.add_note(report.failed_log.decode(errors="replace"))
                raise failed
    except asyncio.CancelledError:
        try:
            async with asyncio.timeout(CANCEL_S):
                await cancel(host, master, job.id, patience_s=CANCEL_S)
        except (JobFailed, TimeoutError):
            pass
        raise
    raise AssertionError("a watched job ends with a report that says how")


async def _persist(call: Callable[[float], Awaitable[T]], master: str, patience_s: float) -> T:
    """Makes an idempotent call until it is answered, or refused, or patience ends."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        try:
            return await call(deadline - loop.time())
        except grpc.aio.AioRpcError as error:
            if error.code() in REFUSED:
                raise
            if loop.time() + RETRY_S >= deadline:
                raise JobFailed(f"{_silent(master, patience_s)}: {error.details()}") from None
        await asyncio.sleep(RETRY_S)


def _silent(master: str, patience_s: float) -> str:
    return f"the master on {master} has not answered for {patience_s:g} s"
