"""Ending the nodes of a cluster: in order, by force, one or all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import grpc

from protos import control_pb2
from services.real.folder import ClusterError
from services.real.nodes import ANSWERS_WITHIN, POLL, Nodes

if TYPE_CHECKING:
    from services.real.processes import Process

STOPS_WITHIN = 5.0  # seconds between SIGTERM and SIGKILL


class Ending(Nodes):
    """A cluster, as far as its nodes can be ended."""

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
        await self._gone(name, process, STOPS_WITHIN)
        process.signal_group(signal.SIGKILL)
        await self._gone(name, process, STOPS_WITHIN)
        if not process.alive():
            self._forget(name)

    async def _ask_to_end(self, name: str, damage: ClusterError) -> None:
        control, deadline = self.folder.node(name).control, time.monotonic() + STOPS_WITHIN
        if control.exists():
            try:
                async with self._control(name) as stub:
                    await stub.Shutdown(control_pb2.ShutdownRequest(), timeout=ANSWERS_WITHIN)
            except (grpc.aio.AioRpcError, ClusterError):
                raise ClusterError(f"{damage}, and {name} cannot be asked to end: it may still run") from None
        while control.exists() and time.monotonic() < deadline:  # it removes the file when it ends
            await asyncio.sleep(POLL)
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
        await self._gone(name, process, STOPS_WITHIN)

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
            await asyncio.sleep(POLL / 4)
        if not process.alive():
            self._reap(name)
