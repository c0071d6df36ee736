"""What a case sees of its world: a `Rig`, and the few words in which it tells what it saw.

A case is an `async def test_...(rig)` that starts servers, calls them, hurts them, and asserts that what both
sides saw equals a literal. It speaks plain `grpc.aio`; the rig is there for what a program cannot do
to itself: to be another process, to be killed, to be cut off.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from protos import echo_pb2_grpc
from protos.echo_pb2 import Words

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

    from services.host import Clock, Disk, Host

Options = "Sequence[tuple[str, Any]]"

HASTY = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))
"""Every channel's options: a case must not wait a second for a second attempt to connect."""


class Served(Protocol):
    """A server, started by `Rig.serve`.

    Attributes:
        target: where clients find it.
        server: the `grpc.aio.Server` itself.
    """

    target: str
    server: grpc.aio.Server

    async def stop(self, grace: float | None = None) -> None:
        """Stops it as its own process would."""
        ...


class Peer(Protocol):
    """A program in a process of its own, started by `Rig.spawn`.

    Attributes:
        events: what it has noted so far.
    """

    events: list[Any]

    async def kill(self) -> None:
        """Kills the process (SIGKILL)."""
        ...

    def pause(self) -> None:
        """Stops it where it stands (SIGSTOP)."""
        ...

    def resume(self) -> None:
        """Lets it go on (SIGCONT)."""
        ...


class Link(Protocol):
    """The network between this process and a target; it can be cut.

    Attributes:
        target: what to connect to, so that the traffic takes this link.
    """

    target: str

    def cut(self) -> None:
        """Lets nothing through in either direction, and says so to nobody."""
        ...

    def heal(self) -> None:
        """Lets everything through again, what was held included."""
        ...


class Rig(Protocol):
    """A process in one of the worlds.

    Attributes:
        world: "real" or "sim"; for the few cases that must know.
    """

    world: str

    def address(self) -> str:
        """Returns a target at which nobody listens yet."""
        ...

    async def serve(
        self,
        *,
        at: str | None = None,
        add: Callable[[grpc.aio.Server], None] | None = None,
        start: bool = True,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
        **methods: Callable[..., Any],
    ) -> Served:
        """Starts a server.

        Args:
            at: an address; None finds one.
            add: adds whatever it likes to the server.
            start: False leaves `server.start()` to the case.
            options, interceptors, maximum_concurrent_rpcs: as `grpc.aio.server` takes them.
            methods: `say`, `repeat`, `gather`, `chat`: handlers of the Echo service.
        """
        ...

    def forget(self, served: Any) -> None:
        """Keeps a server of `serve` no longer: when the case drops it, nobody has it."""
        ...

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel; it is closed when the case is over."""
        ...

    async def spawn(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> Peer:
        """Starts `program(rig, **parameters)` of `programs.py` in a process of its own."""
        ...

    def note(self, *event: Any) -> None:
        """For programs: tells the case what happened here (plain JSON values)."""
        ...

    async def link(self, target: str) -> Link:
        """Returns the link from here to a target."""
        ...

    @property
    def host(self) -> Host:
        """The host that this process lives on."""
        ...

    @property
    def disk(self) -> Disk:
        """This process's disk."""
        ...

    @property
    def clock(self) -> Clock:
        """This process's clock."""
        ...

    def set_clock(self, *, offset: float = 0.0, drift: float = 0.0) -> None:
        """Sets this process's clock: forward by `offset` s, and running fast by `drift` s a second."""
        ...

    async def crash(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> Disk:
        """Runs `program(rig, **parameters)` on an empty disk until it notes "ready", crashes its host, and
        returns the disk as the restarted host finds it.
        """
        ...


def add_echo(server: grpc.aio.Server, methods: dict[str, Callable[..., Any]]) -> None:
    """Adds an Echo service whose methods are these functions, by the generated code."""
    servicer = echo_pb2_grpc.EchoServicer()
    for name, function in methods.items():
        setattr(servicer, name.capitalize(), function)
    echo_pb2_grpc.add_EchoServicer_to_server(servicer, server)


def words(text: str = "", number: int = 0, payload: bytes = b"") -> Words:
    """Returns a message."""
    return Words(text=text, number=number, payload=payload)


def plain(value: Any) -> Any:
    """Returns a message as its text, and everything else as it is."""
    return value.text if isinstance(value, Words) else value


def status(error: grpc.aio.AioRpcError) -> tuple[str, str | None]:
    """Returns code and details. gRPC sometimes wraps details of its own making in "Stream removed (...)",
    depending on which of its threads came first; that is left out.
    """
    details = error.details()
    wrapped = re.fullmatch(r"Stream removed \((.*)\)", details or "", re.DOTALL)
    return error.code().name, wrapped[1] if wrapped else details


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """Awaits a call and returns what came of it: a value, (code, details), or (exception, text)."""
    try:
        return plain(await awaitable)
    except grpc.aio.AioRpcError as error:
        return status(error)
    except asyncio.CancelledError:
        return "CancelledError"
    except Exception as error:
        return type(error).__name__, str(error)


async def code_of(call: Any) -> Any:
    """Returns the code of what came of a call; for errors whose details name addresses or errnos."""
    result = await outcome(call)
    return result[0] if isinstance(result, tuple) else result


async def drain(stream: AsyncIterable[Any]) -> list[Any]:
    """Reads a stream to its end and returns the messages, and the outcome unless it was OK."""
    seen: list[Any] = []
    try:
        async for message in stream:
            seen += [plain(message)]  # not a comprehension: what came before an error counts
    except grpc.aio.AioRpcError as error:
        seen.append(status(error))
    except asyncio.CancelledError:
        seen.append("CancelledError")
    except Exception as error:
        seen.append((type(error).__name__, str(error)))
    return seen


async def until(condition: Callable[[], Any], within: float = 5.0) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: it does not, `within` seconds from now.
    """
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


async def forever(*_: Any) -> None:
    """Waits for what never comes."""
    await asyncio.get_running_loop().create_future()
