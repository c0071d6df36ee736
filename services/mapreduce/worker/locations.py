"""The master's `Locate` stream, as a reduce execution hears it (3.1 step 4, 3.3)."""

from __future__ import annotations

import asyncio
import sys
from array import array
from typing import TYPE_CHECKING

import grpc

from protos import mapreduce_pb2 as pb
from services.mapreduce.worker.plane import MapOutputs

if TYPE_CHECKING:
    from protos import mapreduce_pb2_grpc as rpc
    from services.mapreduce.worker.plane import Reduction

_RETRY = 0.3  # seconds


async def follow(master: rpc.MasterAsyncStub, job: str, number: int, reduction: Reduction) -> None:
    """Tells an execution of a reduce task where map outputs are, and which are lost, until it is cancelled.

    A stream that breaks is opened again; the master then tells everything from the beginning.

    Returns:
        When the job is over, or the master does not know it.
    """
    while True:
        try:
            async for message in master.Locate(pb.LocationsRequest(job=job, reduce=number)):
                if message.lost:  # first: what is both lost and there has moved
                    reduction.withdraw(message.lost, message.lost_attempts)
                if message.maps:
                    reduction.offer(decode(message))
                del message  # the next may take long, and this one may be large
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return
        await asyncio.sleep(_RETRY)


def decode(message: pb.Locations) -> MapOutputs:
    """Returns a message's columns."""
    maps, workers, attempts = array("I"), array("I"), array("Q")
    for column, data in ((maps, message.maps), (workers, message.workers), (attempts, message.attempts)):
        column.frombytes(data)
        if sys.byteorder == "big":
            column.byteswap()
    return MapOutputs(maps, workers, attempts, message.sizes, list(message.names))
