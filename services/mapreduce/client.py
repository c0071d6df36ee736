"""The user's side of a job: submit it, watch it, read its output."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.mapreduce.master.state import JobFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.files.client import FileSystem
    from services.host import Host

_RETRY = 0.3  # seconds


async def run(
    host: Host, master: str, job: pb.Job, progress: Callable[[pb.Progress], None] | None = None
) -> pb.Progress:
    """Runs a job and returns its last progress report when all M + R tasks are completed.

    Args:
        host: the caller's door.
        master: the master's host.
        job: the specification.
        progress: called with each report.

    Raises:
        JobFailed: a task failed too often, or the master was restarted and has forgotten the job.
        ValueError: the specification was refused.
    """
    stub = rpc.MasterStub(host.connect(master))
    try:
        started = await stub.Submit(job, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        if error.code() in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.ALREADY_EXISTS,
            grpc.StatusCode.NOT_FOUND,
        ):
            raise ValueError(error.details()) from None
        raise
    while True:
        try:
            async for report in stub.Watch(started):
                if progress is not None:
                    progress(report)
                if report.state == pb.Progress.FAILED:
                    raise JobFailed(report.error)
                if report.state == pb.Progress.DONE:
                    return report
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise JobFailed(error.details()) from None
        await asyncio.sleep(_RETRY)


async def read_output(files: FileSystem, output: str) -> list[tuple[str, str]]:
    """Returns the (key, value) lines of all output files, in the order of the partitions."""
    pairs = []
    for path, _ in await files.list(output):
        text = (await files.read(path)).decode("utf-8", "surrogateescape")
        pairs += [tuple(line.split("\t", 1)) for line in text.split("\n") if line]
    return pairs  # type: ignore[return-value]
