"""A local cluster of real processes: one for each node, in its own folder, talking on loopback.

A cluster is a folder (`services/real/folder.py` says what lies in it); any process that opens the folder
can ask it, hurt it and take it down. While a cluster is owned, its nodes die with their owner, whatever
that dies of; a detached one lives until it is taken down.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import json_format
from msgspec import Struct

from protos import control_pb2, control_pb2_grpc
from protos.trace import HostEvent
from services.host import DEFAULT_PORT
from services.real.channel import credential
from services.real.client import ClientHost
from services.real.folder import (
    ClusterError,
    ClusterFile,
    ClusterFolder,
    NodeFile,
    read_struct,
    write_struct,
    write_whole,
)
from services.real.launch import Child, last_words, launch, search_path, template
from services.real.names import NAME, Names, free_port, reached_at
from services.real.processes import Process
from services.real.programs import program_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType

__all__ = ["Cluster", "ClusterError", "NodeStatus"]

_STOPS_WITHIN = 5.0  # seconds between SIGTERM and SIGKILL
_ANSWERS_WITHIN = 3.0  # seconds that a control service is given
_POLL = 0.01


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


class Cluster:
    """The nodes of one folder. Use `create` or `open`.

    Attributes:
        folder: its files.
    """

    def __init__(self, folder: ClusterFolder, about: ClusterFile, *, owned: bool) -> None:
        self.folder = folder
        self.about = about
        self._owned = owned
        self._names = Names(folder.names, reached_at(about.listen))
        self._children: dict[str, Child] = {}
        self._clients: dict[str, ClientHost] = {}

    @classmethod
    def create(cls, folder: Path | str, listen: str = "127.0.0.1", *, system: str = "") -> Cluster:
        """Makes a new cluster, without nodes yet. They die with this process, until `detach`.

        Args:
            folder: made when missing; the remains of a cluster that is down are replaced.
            listen: the network address its nodes listen on. Whoever reaches it still needs the token.
            system: what is to run on it, for `status`.

        Raises:
            ClusterError: a cluster is running there, or the folder holds something else.
        """
        try:
            free_port(listen)
        except OSError as exc:
            raise ClusterError(f'cannot listen on "{listen}": {exc.strerror or exc}') from None
        files = ClusterFolder(Path(folder).resolve())
        try:
            files.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with files.alone():
                return cls._create(files, folder, listen, system)
        except OSError as exc:
            raise ClusterError(f'cannot make a cluster in "{folder}": {exc.strerror or exc}') from None

    @classmethod
    def _create(cls, files: ClusterFolder, folder: Path | str, listen: str, system: str) -> Cluster:
        self = Process.of(os.getpid())
        before = read_struct(files.cluster, ClusterFile)
        if before is not None:
            starting = before.owner is not None and before.owner != self and before.owner.alive()
            processes = [read_struct(files.node(name).process, Process) for name in files.hosts()]
            if starting or any(process is not None and process.alive() for process in processes):
                raise ClusterError(f'a cluster is running in "{folder}": take it down first')
        foreign = files.foreign()
        if foreign:
            raise ClusterError(
                f'"{folder}" holds something that is not a cluster\'s, "{foreign}": choose another folder'
            )
        files.clear()
        files.path.chmod(0o700)
        files.names.mkdir()
        files.nodes.mkdir()
        about = ClusterFile(listen, time.time(), system, self)
        write_whole(files.token, secrets.token_hex(32).encode(), mode=0o600)
        write_struct(files.cluster, about)
        template()  # gets ready meanwhile
        return cls(files, about, owned=True)

    @classmethod
    def salvage(cls, folder: Path | str) -> tuple[Cluster, list[str]]:
        """Attaches to a cluster to take it `down`, even where its files are damaged.

        Returns:
            The cluster, and a line for each damaged file.

        Raises:
            ClusterError: there is none.
        """
        files = ClusterFolder(Path(folder).resolve())
        damage: list[str] = []
        try:
            cluster = cls.open(folder)
        except ClusterError as exc:
            if not files.cluster.is_file():
                raise
            damage.append(str(exc))
            cluster = cls(files, ClusterFile("127.0.0.1", 0.0), owned=False)
        names, more = files.started()
        damage += more
        for name in names:
            try:
                cluster._process(name)
            except ClusterError as exc:
                damage.append(str(exc))
        return cluster, damage

    @classmethod
    def open(cls, folder: Path | str) -> Cluster:
        """Attaches to the cluster in a folder, whoever owns it.

        Raises:
            ClusterError: there is none.
        """
        files = ClusterFolder(Path(folder).resolve())
        about = read_struct(files.cluster, ClusterFile)
        if about is None:
            raise ClusterError(f'there is no cluster in "{folder}"')
        return cls(files, about, owned=False)

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.down()

    # Starting

    async def start(
        self,
        name: str,
        program: Callable[..., Awaitable[Any]] | str,
        parameters: dict[str, Any] | None = None,
        adopt: bool = False,
    ) -> None:
        """Starts a node, and returns when its program runs.

        Args:
            name: of the host.
            program: a module-level function, or its name: "package.module:function" or
                "path/to/file.py:function". It is called as `program(host, **parameters)`.
            parameters: JSON values.
            adopt: the program knows no `Host`; it is called as `program(**parameters)`.

        Raises:
            ClusterError: the name is taken or cannot be one, or the program does not start; nothing of
                it is left running.
        """
        if not NAME.fullmatch(name):
            raise ClusterError(f'"{name}" cannot name a host: use letters, digits, "-", "_" and "."')
        if self.folder.node(name).path.exists():
            raise ClusterError(f"there is a host {name} already: restart it, or choose another name")
        parameters = parameters or {}
        try:
            if json.loads(json.dumps(parameters, allow_nan=False)) != parameters:
                raise ValueError("they would not arrive as they are")
            named = program_name(program)
        except (TypeError, ValueError) as exc:
            what = "the parameters are no JSON values: " if not str(exc).count("process of its own") else ""
            raise ClusterError(f"{name} cannot be started: {what}{exc}") from None
        node = NodeFile(name, named, parameters, adopt, 0, time.time(), search_path(), os.getcwd())
        self.folder.node(name).data.mkdir(parents=True, exist_ok=True)
        await self._launch(node)

    async def restart(self, name: str) -> None:
        """Starts a node again on its folder, as its next incarnation; one that runs is stopped first.

        Raises:
            ClusterError: there is no such node, or it does not start.
        """
        node = self._node(name)
        await self.stop(name)
        node.incarnation += 1
        await self._launch(node)

    async def _launch(self, node: NodeFile) -> None:
        watch = None if self._owned else self.about.owner
        self._children[node.name] = await launch(self.folder, node, owned=self._owned, watch=watch)

    async def serving(
        self, names: Iterable[str] = (), within: float = 10.0, port: int = DEFAULT_PORT
    ) -> None:
        """Returns when each of these nodes serves on the port (all nodes when none is named).

        Raises:
            TimeoutError: naming those that do not.
            ClusterError: one of them is dead.
        """
        waiting = list(names) or self.hosts()
        for name in waiting:
            self._node(name)
        deadline = time.monotonic() + within
        while waiting:
            waiting = [name for name in waiting if not await self._serves(name, port)]
            if waiting and time.monotonic() > deadline:
                raise TimeoutError(f"not serving on port {port} within {within:g} s: {', '.join(waiting)}")
            await asyncio.sleep(2 * _POLL if waiting else 0)

    async def _serves(self, name: str, port: int) -> bool:
        status = await self._node_status(name)
        if status.state == "dead":
            raise ClusterError(f"{name} is dead: {last_words(self.folder.node(name))}")
        return any(number == port for number, _ in status.ports)

    async def detach(self) -> None:
        """Lets the nodes live on when this process ends: all of them, or none if it ends half-way."""
        for name in self.hosts():
            async with self._control(name) as control:
                await control.Disown(control_pb2.DisownRequest(), timeout=_ANSWERS_WITHIN)
        self._owned = False
        self.about.owner = None
        write_struct(self.folder.cluster, self.about)

    # Ending

    async def stop(self, name: str) -> None:
        """Ends a node in an orderly way (SIGTERM), or by force when it takes too long."""
        self._node(name)
        await self._end(name)

    async def _end(self, name: str) -> None:
        try:
            process = self._process(name)
        except ClusterError as exc:  # nobody knows its number: only it can end itself
            await self._ask_to_end(name, exc)
            return
        if process is None or not process.alive():
            self._reap(name)
            self._forget(name)
            return
        process.signal_group(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)  # the node tells its workers
        await self._gone(name, process, _STOPS_WITHIN)
        process.signal_group(signal.SIGKILL)
        await self._gone(name, process, _STOPS_WITHIN)
        if not process.alive():
            self._forget(name)

    async def _ask_to_end(self, name: str, damage: ClusterError) -> None:
        control, deadline = self.folder.node(name).control, time.monotonic() + _STOPS_WITHIN
        if control.exists():
            try:
                async with self._control(name) as stub:
                    await stub.Shutdown(control_pb2.ShutdownRequest(), timeout=_ANSWERS_WITHIN)
            except (grpc.aio.AioRpcError, ClusterError):
                raise ClusterError(f"{damage}, and {name} cannot be asked to end: it may still run") from None
        while control.exists() and time.monotonic() < deadline:  # it removes the file when it ends
            await asyncio.sleep(_POLL)
        if control.exists():
            raise ClusterError(f"{damage}, and {name} does not end: it may still run")
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Notes that a node is meant to be down: one that has a process file and is dead `fell`."""
        self.folder.node(name).process.unlink(missing_ok=True)

    async def kill(self, name: str) -> None:
        """Ends a node at once (SIGKILL), its worker processes with it."""
        node = self._node(name)
        process = self._process(name)
        if process is None or not process.alive():
            return
        process.signal_group(signal.SIGKILL)
        self._event(name, "crash", node.incarnation)
        await self._gone(name, process, _STOPS_WITHIN)

    async def down(self) -> None:
        """Ends all nodes, and closes the clients of this process. What they left stays in the folder.

        Raises:
            ClusterError: nodes could not be ended; all others were.
        """
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        names, _ = self.folder.started()
        ended = await asyncio.gather(*(self._end(name) for name in names), return_exceptions=True)
        problems = [problem for problem in ended if problem is not None]
        for problem in problems:
            if not isinstance(problem, ClusterError):
                raise problem
        if problems:
            raise ClusterError("; ".join(map(str, problems)))

    async def _gone(self, name: str, process: Process, within: float) -> None:
        deadline = time.monotonic() + within
        while process.alive() and time.monotonic() < deadline:
            self._reap(name)
            await asyncio.sleep(_POLL / 4)
        if not process.alive():
            self._reap(name)

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            del self._children[name]

    # What is done to nodes

    async def pause(self, name: str) -> None:
        """Stops a node where it stands (SIGSTOP), and returns when it has stopped."""
        self._signal(name, signal.SIGSTOP)
        process, deadline = self._process(name), time.monotonic() + _ANSWERS_WITHIN
        # The kernel stops one thread after another, when each next runs.
        while process is not None and process.state() == "running" and time.monotonic() < deadline:
            await asyncio.sleep(_POLL / 4)
        self._event(name, "pause", self._node(name).incarnation)

    async def resume(self, name: str) -> None:
        """Lets a paused node go on (SIGCONT), with the rules that were set meanwhile."""
        self._signal(name, signal.SIGCONT)
        self._event(name, "resume", self._node(name).incarnation)
        rules = self.folder.rules_of(name)
        if rules.exists():
            await self._push(name, json_format.Parse(rules.read_text(), control_pb2.Rules()))

    async def configure(self, name: str, rules: control_pb2.Rules) -> None:
        """Puts rules in place at the door of a host, in the place of those before.

        They hold for its next lives as well, except orders to lose replies.

        Args:
            name: the host; "" for all that have no rules of their own, and are yet to come.
            rules: the whole state.

        Raises:
            ClusterError: the node lives but does not answer.
        """
        kept = control_pb2.Rules()
        kept.CopyFrom(rules)
        kept.ClearField("lost_replies")
        data = json_format.MessageToJson(kept).encode()
        if not name:
            write_whole(self.folder.rules, data)
            return
        write_whole(self.folder.node(name).rules, data)
        await self._push(name, rules)

    async def _push(self, name: str, rules: control_pb2.Rules) -> None:
        if name in self._clients:
            self._clients[name].read_rules()
        process = self._process(name)
        if process is None or process.state() != "running":
            return  # it reads them itself when it starts, and is told when it goes on
        try:
            async with self._control(name) as control:
                await control.SetRules(rules, timeout=_ANSWERS_WITHIN, wait_for_ready=True)
        except grpc.aio.AioRpcError as exc:
            if process.alive():
                raise ClusterError(f"{name} does not answer its control service: {exc.code().name}") from None

    def _signal(self, name: str, number: signal.Signals) -> None:
        self._node(name)
        process = self._process(name)
        if process is None or not process.alive():
            raise ClusterError(f"{name} is dead")
        process.signal_group(number)

    def _event(self, name: str, what: str, incarnation: int) -> None:
        self.folder.record(HostEvent(time.time_ns(), name, what, incarnation))

    # Asking

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
                reply = await control.Status(control_pb2.StatusRequest(), timeout=_ANSWERS_WITHIN)
        except (grpc.aio.AioRpcError, ClusterError):
            status.state = "hung" if process.alive() else "dead"
            return status
        status.uptime_s, status.resident_bytes = reply.uptime_s, reply.resident_bytes
        status.ports = [(port.port, port.address) for port in reply.ports]
        status.sent, status.received = reply.sent, reply.received
        return status

    def client(self, name: str) -> ClientHost:
        """Returns the door of a host that is this very process; faults act on it as on any other.

        Needs a running event loop.

        Raises:
            ClusterError: a node has that name.
        """
        if not NAME.fullmatch(name):
            raise ClusterError(f'"{name}" cannot name a host: use letters, digits, "-", "_" and "."')
        if self.folder.node(name).node.exists():
            raise ClusterError(f"{name} is a node; a client needs another name")
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = ClientHost(
                name, self.folder, self._names, self._token, self.about.listen
            )
        return client

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
