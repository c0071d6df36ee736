"""The door between a service and the world: `Host`.

A service is plain asyncio and plain grpc.aio; whatever lies outside the process (other hosts,
disk, clock, chance, processor, trace) it reaches through the `Host` that it is given, and so the
same service runs in the simulated world and on a real machine. `services.real` implements
these protocols on the operating system, `sim.world` on simulated hardware.

A program is an `async def program(host: Host, **parameters)`; it runs until it returns, is
cancelled, or its host dies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    import grpc

    from services.child import Child

    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    """What a servicer's method gets beside its request (for annotations only)."""

T = TypeVar("T")

DEFAULT_PORT = 50051  # where a host serves unless a port is named; a name inside the world, not a real port


class File(Protocol):
    """An open file. Offsets and sizes are in bytes."""

    async def read(self, size: int = -1, offset: int = 0) -> bytes:
        """Returns up to `size` bytes from `offset` (all to the end when negative)."""
        ...

    async def append(self, data: bytes, *, sync: bool = False) -> None:
        """Adds `data` at the end; it survives a crash only after `sync`.

        Args:
            data: what is added.
            sync: call `sync` right after; one wait in the place of two.

        Raises:
            OSError: ENOSPC when the disk is full, EIO when the device fails.
        """
        ...

    async def write(self, data: bytes, offset: int) -> None:
        """Overwrites from `offset`; otherwise as `append`."""
        ...

    async def truncate(self, size: int) -> None:
        """Cuts the file to `size` bytes; durable only after `sync`."""
        ...

    async def sync(self) -> None:
        """Makes the file's bytes durable (`fdatasync`).

        After a failed sync the unsynced bytes may be lost, and a later success does not bring
        them back.

        Raises:
            OSError: EIO when the device fails.
        """
        ...

    async def size(self) -> int:
        """Returns the present size."""
        ...

    async def close(self) -> None:
        """Closes the file, without syncing it."""
        ...


class Disk(Protocol):
    """The host's own folder. Paths are relative to it, with "/" between the parts.

    Creating, renaming and removing change a directory entry, which is durable only after
    `sync` of the folder that holds it, as POSIX has it.
    """

    async def open(self, path: str, mode: str = "r") -> File:
        """Opens a file.

        Args:
            path: the file; parent folders are made as needed when the mode creates.
            mode: "r" (must exist), "w" (created or emptied), "a" (created or kept),
                "x" (must not exist). Every mode but "r" can also write.

        Raises:
            FileNotFoundError, FileExistsError, IsADirectoryError, OSError.
        """
        ...

    async def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        ...

    async def remove(self, path: str) -> None:
        """Removes a file."""
        ...

    async def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when it does not exist)."""
        ...

    async def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        ...

    async def sync(self, folder: str = "") -> None:
        """Makes the entries of a folder durable (`fsync` of the directory)."""
        ...


class Clock(Protocol):
    """The host's clocks. The wall clock may be wrong, drift and jump; the monotonic one only drifts."""

    def time(self) -> float:
        """Returns the wall clock in seconds since the Unix epoch."""
        ...

    def time_ns(self) -> int:
        """Returns the wall clock in nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Returns seconds since some fixed moment; never goes back."""
        ...

    def monotonic_ns(self) -> int:
        """Returns nanoseconds since that moment."""
        ...

    @property
    def lie(self) -> float:
        """Seconds by which a time master on this host is to misstate the time; 0 but for a fault."""
        ...

    def claim(self, earliest_ns: int, latest_ns: int, *, traced: bool = False) -> None:
        """Says between which moments this host believes absolute time to be.

        The simulated world knows absolute time, the real one takes the machine's clock for it. Where the
        claim does not hold, a `Note` "truetime-violated" says by how much, and one "truetime-contained" when
        it holds again.

        Args:
            earliest_ns, latest_ns: nanoseconds since the Unix epoch; absolute time as this host last read
                one of its clocks lay between them, both included.
            traced: write it to the trace too, as a `ClockSample`.
        """
        ...


class Host(Protocol):
    """What a service may touch of the world around it."""

    @property
    def name(self) -> str:
        """The host's name, by which others connect to it."""
        ...

    @property
    def incarnation(self) -> int:
        """How often this host has been started before: 0 the first time."""
        ...

    @property
    def disk(self) -> Disk:
        """The host's folder; it outlives the process."""
        ...

    @property
    def clock(self) -> Clock:
        """The host's wall clock."""
        ...

    @property
    def rng(self) -> random.Random:
        """The host's source of chance."""
        ...

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel.

        Args:
            target: "name" or "name:port", by the names of this world's hosts.
            options: gRPC channel arguments.
            interceptors: as `grpc.aio.insecure_channel` takes them.
        """
        ...

    def serve(
        self,
        port: int = DEFAULT_PORT,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
    ) -> grpc.aio.Server:
        """Returns a server bound to this host's `port`, not yet started: add servicers, then `start()`."""
        ...

    def compute(self, fn: Callable[..., T], *args: Any, cost: float | None = None) -> Awaitable[T]:
        """Runs `fn(*args)` off the event loop and returns its result.

        Args:
            fn: an importable function (a real host runs it in a worker process).
            args: what it takes; must be picklable.
            cost: processor seconds that a simulated host charges; None leaves it to the cost
                model. A real host takes the time that it takes.
        """
        ...

    def child(
        self,
        *,
        log: str = "",
        memory: int | None = None,
        heard: Callable[[Any], None] | None = None,
        cost: Callable[[Any], float] | None = None,
    ) -> Child:
        """Returns a process apart for code that is not the service's own; see `services.child`.

        Args:
            log: a file on the host's disk that gets what the child's code writes to stdout and stderr
                (appended; `Inside.log` switches it).
            memory: bytes that the child may allocate; beyond, its code gets MemoryError.
            heard: called with each object that the child's code tells.
            cost: processor seconds that a simulated host charges for a call, from its result
                (None: by the cost model). A real host takes the time that it takes.
        """
        ...

    def trace(self, name: str, **fields: Any) -> None:
        """Writes a `Note` to the trace."""
        ...

    def span(self, name: str, **fields: Any) -> AbstractContextManager[dict[str, Any]]:
        """Writes a `Span` to the trace when the block ends; the mapping it yields can be added to."""
        ...
