"""The seam between a worker and its data: `DataPlane`.

The worker (assignments, pings, locations, completions) is the same whatever the data is. `LocalData` moves
real bytes through children and disks; `scenarios/papers` has a plane that only charges for them, at the
paper's full size.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from protos import mapreduce_pb2 as pb


class MapOutputs(Struct):
    """Where some map outputs are: columns, entry i of each belongs together."""

    maps: array[int]
    workers: array[int]  # index of the name
    attempts: array[int]
    sizes: bytes  # of this reduce task's region; see `services.mapreduce.sizes`
    names: list[str]


class Execution(Protocol):
    """An execution of a task under way."""

    async def run(self) -> pb.Completion:
        """Does the work, and returns the completion message with everything but who did it.

        What user code or the machine does wrong is in `failure` and `error`, not raised.
        """
        ...

    def report(self) -> pb.Report:
        """Returns how far it is."""
        ...

    def kill(self, why: str) -> None:
        """Ends it: `run` returns soon; its files go."""
        ...


class Reduction(Execution, Protocol):
    """An execution of a reduce task: pulls what it is offered; when it has all M, sorts and reduces."""

    def offer(self, outputs: MapOutputs) -> None:
        """These outputs are there to be pulled (3.1 step 5), or have moved (3.3)."""
        ...

    def withdraw(self, maps: Sequence[int], attempts: Sequence[int]) -> None:
        """These executions' are gone: not to be read any more, unless they have been read already (3.3)."""
        ...


class DataPlane(Protocol):
    """What a worker does with data. Its class is called with (host, files, **parameters of `serve`)."""

    async def open(self) -> None:
        """Gets ready, before the worker registers; removes what an earlier life has left."""
        ...

    def map(self, job: pb.Job, task: pb.Task) -> Execution:
        """Returns an execution of a map task, not yet begun."""
        ...

    def reduce(self, job: pb.Job, task: pb.Task, lost: Callable[[pb.LostInput], None]) -> Reduction:
        """Returns an execution of a reduce task; it says with `lost` what it cannot read."""
        ...

    def fetch(self, regions: pb.Regions) -> AsyncIterator[pb.Bytes]:
        """Streams regions of map outputs on this host (`Worker.Fetch`)."""
        ...

    def read_log(self, log: str) -> AsyncIterator[pb.Bytes]:
        """Streams a task's log."""
        ...

    async def forget(self, job: str) -> None:
        """The job is over: its intermediate files can go."""
        ...

    async def close(self) -> None:
        """Ends what it has running."""
        ...
