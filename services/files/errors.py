"""Errors of files on their way through gRPC: an OSError becomes a status, and that the same OSError again."""

from __future__ import annotations

import errno

import grpc

_TEXT = {
    errno.ENOENT: "No such file or directory",
    errno.EEXIST: "File exists",
    errno.ENOTDIR: "Not a directory",
    errno.EISDIR: "Is a directory",
    errno.EIO: "Input/output error",
    errno.ENOSPC: "No space left on device",
}

_STATUS = {
    errno.ENOENT: grpc.StatusCode.NOT_FOUND,
    errno.EEXIST: grpc.StatusCode.ALREADY_EXISTS,
    errno.ENOTDIR: grpc.StatusCode.FAILED_PRECONDITION,
    errno.EISDIR: grpc.StatusCode.INVALID_ARGUMENT,
    errno.EIO: grpc.StatusCode.DATA_LOSS,
    errno.ENOSPC: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_NUMBER = {status: number for number, status in _STATUS.items()}


def error(number: int, path: str, text: str = "") -> OSError:
    """Returns the OSError of that number about a path."""
    return OSError(number, text or _TEXT[number], path)


def status_of(failure: OSError) -> tuple[grpc.StatusCode, str]:
    """Returns the status and details that stand for an OSError."""
    status = _STATUS.get(failure.errno or errno.EIO, grpc.StatusCode.DATA_LOSS)
    return status, str(failure.filename or failure.strerror or failure)


def from_status(failure: grpc.aio.AioRpcError) -> OSError | None:
    """Returns the OSError that a status stands for, None when it stands for none."""
    number = _NUMBER.get(failure.code())
    return None if number is None else error(number, failure.details() or "")
