"""The real rig: bare `grpc.aio` on loopback, processes, signals, and a proxy that stops forwarding."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from protos import control_pb2
from services.real.clock import SkewedClock
from services.real.disk import FolderDisk
from services.real.host import RealHost
from services.real.names import Names
from tests.conformance.rig import HASTY, add_echo, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.host import Clock, Disk

ROOT = Path(__file__).parents[2]
LIMIT = 30.0  # seconds of wall time after which a case is called hung

RUNNER = asyncio.Runner()
"""One loop for all cases of a process: grpc.aio stumbles over events of loops that are closed."""


def run(case: Callable[[RealRig], Awaitable[None]], rig_of: Callable[[], RealRig] | None = None) -> None:
    """Runs a case in the real world."""

    async def main() -> None:
        rig = (rig_of or RealRig)()
        try:
            async with asyncio.timeout(LIMIT):
                await case(rig)
        finally:
            await rig.close()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    RUNNER.run(main())


class RealServed:
    """A server in this process."""

    def __init__(self, server: grpc.aio.Server, target: str) -> None:
        self.server = server
        self.target = target

    async def stop(self, grace: float | None = None) -> None:
        """Stops it."""
        await self.server.stop(grace)


class RealPeer:
    """A process that runs a program and says on its standard output what it saw."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[Any] = []
        self._process = process
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            self.events.append(event[0] if len(event) == 1 else tuple(event))

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._listener

    def pause(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)


class RealLink:
    """A TCP proxy on loopback. While cut it reads nothing, so that both ends see what they would behind a
    partition: bytes are taken by the kernel and never answered.
    """

    def __init__(self, target: str) -> None:
        self._host, port = target.rsplit(":", 1)
        self._port = int(port)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        try:
            await self._open.wait()  # that a side has gone is not told either
        finally:
            sink.close()

    def cut(self) -> None:
        """Stops forwarding."""
        self._open.clear()

    def heal(self) -> None:
        """Forwards again."""
        self._open.set()

    async def close(self) -> None:
        """Stops listening and breaks what is open."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class RealRig:
    """A process of the real world."""

    world = "real"

    def __init__(self, folder: Path | None = None) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self._servers: list[grpc.aio.Server] = []
        self._peers: list[RealPeer] = []
        self._links: list[RealLink] = []
        self._folders: list[tempfile.TemporaryDirectory[str]] = []
        self._disks: list[FolderDisk] = []
        self._disk: FolderDisk | None = None
        self._own: RealHost | None = None
        self._clock = SkewedClock()
        self.folder = folder

    def address(self) -> str:
        """Returns a port that was free a moment ago."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"

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
    ) -> RealServed:
        """Starts a server in this process."""
        server = grpc.aio.server(
            options=options, interceptors=interceptors, maximum_concurrent_rpcs=maximum_concurrent_rpcs
        )
        self._servers.append(server)
        if methods:
            add_echo(server, methods)
        if add is not None:
            add(server)
        port = server.add_insecure_port(at or "127.0.0.1:0")
        if start:
            await server.start()
        return RealServed(server, f"127.0.0.1:{port}")

    def forget(self, served: RealServed) -> None:
        """Keeps a server no longer."""
        self._servers.remove(served.server)

    def connect(
        self,
        target: str,
        *,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> grpc.aio.Channel:
        """Opens a channel."""
        channel = grpc.aio.insecure_channel(target, options=[*HASTY, *options], interceptors=interceptors)
        self._channels.append(channel)
        return channel

    async def spawn(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> RealPeer:
        """Starts a Python process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.conformance.child",
            program.__name__,
            json.dumps(parameters),
            stdin=asyncio.subprocess.PIPE,  # its end tells the child that we are gone
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        peer = RealPeer(process)
        self._peers.append(peer)
        return peer

    def note(self, *event: Any) -> None:
        """Says it on standard output."""
        os.write(1, json.dumps(event).encode() + b"\n")

    async def link(self, target: str) -> RealLink:
        """Starts a proxy."""
        link = RealLink(target)
        await link.start()
        self._links.append(link)
        return link

    @property
    def host(self) -> RealHost:
        """A host in this process."""
        if self._own is None:
            folder = self._new_folder()
            for name in ("names", "host"):
                (folder / name).mkdir()
            self._own = RealHost("host", folder / "host", Names(folder / "names"), "token", record=False)
        return self._own

    @property
    def disk(self) -> Disk:
        """A folder that goes when the case is over."""
        if self._disk is None:
            self._disk = self._disk_in(self.folder or self._new_folder())
        return self._disk

    def _new_folder(self) -> Path:
        folder = tempfile.TemporaryDirectory(prefix="conformance-")
        self._folders.append(folder)
        return Path(folder.name)

    def _disk_in(self, folder: Path) -> FolderDisk:
        disk = FolderDisk(folder / "data", folder / "lost.json")
        self._disks.append(disk)
        return disk

    @property
    def clock(self) -> Clock:
        """The machine's clock."""
        return self._clock

    def set_clock(self, *, offset: float = 0.0, drift: float = 0.0) -> None:
        """Sets the clock wrong, as the control service of a node does."""
        self._clock.set(control_pb2.Clock(offset_s=offset, drift=drift, since_ns=time.time_ns()))

    async def crash(self, program: Callable[..., Awaitable[None]], **parameters: Any) -> Disk:
        """Runs the program in a process, kills it when it is ready, and opens its folder again."""
        folder = self._new_folder()
        peer = await self.spawn(program, folder=str(folder), **parameters)
        await until(lambda: "ready" in peer.events, within=10)
        await peer.kill()
        return self._disk_in(folder)

    async def close(self) -> None:
        """Ends everything that was started."""
        for peer in self._peers:
            await peer.kill()
        for link in self._links:
            await link.close()
        for channel in self._channels:
            await channel.close()
        for server in self._servers:
            await server.stop(None)
        if self._own is not None:
            self._own.close()
        for disk in self._disks:
            disk.close()
        for folder in self._folders:
            folder.cleanup()
