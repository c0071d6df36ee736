"""The nodes of a cluster's folder: which there are, and how they are."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
from msgspec import Struct

from protos import control_pb2, control_pb2_grpc
from protos.trace import HostEvent
from services.real.channel import credential
from services.real.folder import ClusterError, NodeFile, read_struct
from services.real.names import NAME, Names, reached_at
from services.real.processes import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.real.client import ClientHost
    from services.real.folder import ClusterFile, ClusterFolder
    from services.real.launch import Child

ANSWERS_WITHIN = 3.0  # seconds that a control service is given
POLL = 0.01


class NodeStatus(Struct):
    """How a node is.

    Attributes:
        state: "running", "paused", "dead", or "hung" when its control service does not answer.
        ports: where its servers are reached: (port in the cluster, real address).
        sent, received: messages of this life.
    """

    name: str
    state: str
    program: str
    incarnation: int
    pid: int = 0
    uptime_s: float = 0.0
    resident_bytes: int = 0
    ports: list[tuple[int, str]] = []
    sent: int = 0
    received: int = 0
    log: str = ""


class Nodes:
    """What can be asked of a cluster.

    Attributes:
        folder: its files.
        about: what it is.
    """

    def __init__(self, folder: ClusterFolder, about: ClusterFile, *, owned: bool) -> None:
        self.folder = folder
        self.about = about
        self._owned = owned
        self._names = Names(folder.names, reached_at(about.listen))
        self._children: dict[str, Child] = {}
        self._clients: dict[str, ClientHost] = {}

    def hosts(self) -> list[str]:
        """Returns the names of the nodes, in the order in which they were first started."""
        return self.folder.hosts()

    def state(self, name: str) -> str:
        """Returns "running", "paused" or "dead", as the operating system sees it."""
        self._reap(name)
        process = self._process(name)
        return process.state() if process is not None else "dead"

    def alive(self) -> list[str]:
        """Returns the nodes that live, in the order of `hosts`; damaged files do not hide any."""
        found = []
        for name in self.folder.started()[0]:
            try:
                lives = self.state(name) != "dead"
            except ClusterError:  # a node removes the file when it ends
                lives = self.folder.node(name).control.exists()
            if lives:
                found.append(name)
        return found

    def fell(self, name: str) -> bool:
        """Says whether a node is dead that nobody stopped: it was killed, or ended by itself."""
        return self.state(name) == "dead" and self.folder.node(name).process.exists()

    async def status(self) -> list[NodeStatus]:
        """Returns how each node is."""
        return list(await asyncio.gather(*(self._node_status(name) for name in self.hosts())))

    async def _node_status(self, name: str) -> NodeStatus:
        node = self._node(name)
        process = self._process(name)
        self._reap(name)
        log = str(self.folder.node(name).log)
        status = NodeStatus(name, "dead", node.program, node.incarnation, log=log)
        if process is None or not process.alive():
            return status
        status.pid, status.state = process.pid, process.state()
        if status.state == "paused":
            return status
        try:
            async with self._control(name) as control:
                reply = await control.Status(control_pb2.StatusRequest(), timeout=ANSWERS_WITHIN)
        except (grpc.aio.AioRpcError, ClusterError):
            status.state = "hung" if process.alive() else "dead"
            return status
        status.uptime_s, status.resident_bytes = reply.uptime_s, reply.resident_bytes
        status.ports = [(port.port, port.address) for port in reply.ports]
        status.sent, status.received = reply.sent, reply.received
        return status

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            del self._children[name]

    def _event(self, name: str, what: str, incarnation: int) -> None:
        self.folder.record(HostEvent(time.time_ns(), name, what, incarnation))

    def _node(self, name: str) -> NodeFile:
        node = read_struct(self.folder.node(name).node, NodeFile) if NAME.fullmatch(name) else None
        if node is None:
            known = ", ".join(self.hosts()) or "none yet"
            raise ClusterError(f'there is no node "{name}" in this cluster (there are: {known})')
        return node

    @property
    def _token(self) -> str:
        """The cluster's secret; without it nodes can still be seen, signalled and ended."""
        try:
            return self.folder.token.read_text("ascii")
        except (OSError, ValueError):
            raise ClusterError(f"the cluster's token, {self.folder.token}, is missing or damaged") from None

    def _process(self, name: str) -> Process | None:
        return read_struct(self.folder.node(name).process, Process)

    @asynccontextmanager
    async def _control(self, name: str) -> AsyncIterator[control_pb2_grpc.ControlAsyncStub]:
        try:
            address = self.folder.node(name).control.read_text("ascii")
        except (FileNotFoundError, ValueError):
            raise ClusterError(f"{name} has no control service") from None
        async with grpc.aio.insecure_channel(
            address,
            options=(
                ("grpc.enable_http_proxy", 0),
                ("grpc.secondary_user_agent", credential(self._token, "operator")),
            ),
        ) as channel:
            yield control_pb2_grpc.ControlStub(channel)
