"""The end of a job (3.1 step 7): what it leaves in its output folder, done, failed or cancelled.

Done: `_SUCCESS`, written when all parts are there. Failed: no `_SUCCESS`, and in `_logs/` what the failing
execution has printed (no folder at all when there is neither that nor a part). Cancelled: nothing. In any
case `.temporary` goes, with what losers of races had written there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.state import Kind

if TYPE_CHECKING:
    from services.files.api import FileSystem
    from services.mapreduce.master.job import RunningJob
    from services.mapreduce.master.workers import Link

LOG_BYTES = 1 << 20
"""So much of the end of a failing execution's log is kept in the output folder."""

TOLD_BYTES = 4096
"""So much of it is told to the user."""

LOG_TIMEOUT_S = 10.0


async def leave_success(files: FileSystem, job: RunningJob) -> str:
    """Makes the output what a user may rely on. Returns why not, or "" when it is."""
    output = job.spec.output
    try:
        await files.write(f"{output}/_SUCCESS", b"")
    except OSError as error:
        return f"{output}/_SUCCESS cannot be written: {error}"
    await clean(files, f"{output}/.temporary")
    return ""


async def leave_log(
    files: FileSystem, job: RunningJob, why: pb.Completion, link: Link | None
) -> tuple[str, bytes]:
    """Copies the log of the execution by which a job failed to its output folder.

    Returns:
        What the error message says of it, and the end of the log.
    """
    if link is None or not why.log:
        return "", b""
    log = await _read_log(link, why.log)
    if log is None:
        return f"; its log was on {link.name} and cannot be read", b""
    path = f"{job.spec.output}/_logs/{Kind(why.kind).word}-{why.number:05}.{why.attempt}"
    try:
        await files.write(path, log)
    except OSError as error:
        return f"; its log cannot be kept: {error}", log[-TOLD_BYTES:]
    return f"; log: {path}", log[-TOLD_BYTES:]


async def leave_what_helps(files: FileSystem, output: str) -> None:
    """Leaves of a failed job its log and the parts that were done; with neither, not even the folder."""
    try:
        some = await files.exists(f"{output}/_logs") or bool(await files.list(output))
    except OSError:
        some = True
    await clean(files, f"{output}/.temporary" if some else output)


async def clean(files: FileSystem, path: str) -> None:
    """Removes what nobody needs any more; a failure to do so changes no result."""
    try:
        await files.remove(path)
    except OSError:
        return


async def _read_log(link: Link, log: str) -> bytes | None:
    data = bytearray()
    try:
        async for chunk in link.stub.ReadLog(pb.LogRequest(log=log), timeout=LOG_TIMEOUT_S):
            if chunk.missing:
                return None
            data += chunk.data
            del data[:-LOG_BYTES]
    except (TimeoutError, grpc.aio.AioRpcError):
        return None
    return bytes(data)
