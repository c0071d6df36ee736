"""A local cluster of real processes: one for each node, in its own folder, talking on loopback.

A cluster is a folder (`services/real/folder.py` says what lies in it); any process that opens the folder
can ask it, hurt it and take it down. While a cluster is owned, its nodes die with their owner, whatever
that dies of; a detached one lives until it is taken down.

Starting is here; what can be asked of nodes, what is done to them, and their end are modules of
`services/real`: `nodes`, `faults`, `ending`.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protos import control_pb2
from services.host import DEFAULT_PORT
from services.real.client import ClientHost
from services.real.ending import Ending
from services.real.faults import Faults
from services.real.folder import (
    ClusterError,
    ClusterFile,
    ClusterFolder,
    NodeFile,
    read_struct,
    write_struct,
    write_whole,
)
from services.real.launch import last_words, launch, search_path, template
from services.real.names import NAME, free_port
from services.real.nodes import ANSWERS_WITHIN, POLL, NodeStatus
from services.real.processes import Process
from services.real.programs import program_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

__all__ = ["Cluster", "ClusterError", "NodeStatus"]


class Cluster(Ending, Faults):
    """A cluster: asked (`Nodes`), hurt (`Faults`) and ended (`Ending`). Use `create` or `open`."""

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
        before = _about(files)
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
        about = _about(files)
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

    async def start_all(self, nodes: Iterable[tuple[str, str, dict[str, Any], bool]]) -> None:
        """Starts several nodes side by side, as `start` does each.

        Args:
            nodes: name, program, parameters, adopt.

        Raises:
            ClusterError: the first that failed; those that were still starting are not left running.
        """
        starting = [asyncio.ensure_future(self.start(*node)) for node in nodes]
        try:
            await asyncio.gather(*starting)
        finally:
            for start in starting:
                start.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

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
            await asyncio.sleep(2 * POLL if waiting else 0)

    async def _serves(self, name: str, port: int) -> bool:
        status = await self._node_status(name)
        if status.state == "dead":
            raise ClusterError(f"{name} is dead: {last_words(self.folder.node(name))}")
        return any(number == port for number, _ in status.ports)

    async def detach(self) -> None:
        """Lets the nodes live on when this process ends: all of them, or none if it ends half-way."""
        for name in self.hosts():
            async with self._control(name) as control:
                await control.Disown(control_pb2.DisownRequest(), timeout=ANSWERS_WITHIN)
        self._owned = False
        self.about.owner = None
        write_struct(self.folder.cluster, self.about)

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


def _about(files: ClusterFolder) -> ClusterFile | None:
    """Reads what a cluster says of itself. Without it nothing is guessed: its nodes may be running.

    Raises:
        ClusterError: it is damaged.
    """
    try:
        return read_struct(files.cluster, ClusterFile)
    except ClusterError as exc:
        raise ClusterError(f"{exc}; take the cluster down, and remove its folder then") from None
