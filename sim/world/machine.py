"""A machine: the hardware that a host's processes come and go on.

The disk, the clock and the place in the network stay; a `Process` is one incarnation of the program
that runs here. `boot` starts it, `crash` ends it as SIGKILL and a power cut together would (its
tasks, connections and unsynced bytes are gone at once), `stop` asks it to end, `restart` starts the same
program again as the next incarnation.
"""

from __future__ import annotations

import asyncio
import signal
from contextvars import Context
from typing import TYPE_CHECKING, Any

from protos.trace import HostEvent
from sim.world.host import SimHost
from sim.world.process import Process
from sim.world.reality import adopting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sim.world.clock import HostClock
    from sim.world.cpu import Cpu
    from sim.world.disk import SimDisk
    from sim.world.simulation import Simulation


class Machine:
    """One simulated host.

    Attributes:
        simulation, name: whose, and which.
        cpu, disk, clock: its hardware.
        incarnation: of the present process, or of the next when there is none.
        process: the present incarnation; None while the machine is down.
        host: the door of the present incarnation, or of the last when there is none.
        failure: what the program raised that ended the last incarnation, if it did.
    """

    def __init__(self, simulation: Simulation, name: str, cpu: Cpu, disk: SimDisk, clock: HostClock) -> None:
        self.simulation = simulation
        self.name = name
        self.cpu = cpu
        self.disk = disk
        self.clock = clock
        self.incarnation = 0
        self.process: Process | None = None
        self.failure: BaseException | None = None
        self._host: SimHost | None = None
        self._program: Callable[..., Awaitable[Any]] | None = None
        self._parameters: dict[str, Any] = {}
        self._adopt = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def host(self) -> SimHost:
        """The door of the present incarnation (of the last one while the machine is down).

        Raises:
            RuntimeError: it was never booted.
        """
        if self._host is None:
            raise RuntimeError(f"{self.name} was never booted")
        return self._host

    @property
    def running(self) -> bool:
        """Says whether there is a live process (paused ones live)."""
        return self.process is not None

    @property
    def paused(self) -> bool:
        """Says whether the process is stopped where it stands."""
        return self.process is not None and self.process.halted

    def boot(
        self,
        program: Callable[..., Awaitable[Any]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        adopt: bool = False,
    ) -> SimHost:
        """Starts a process and, in it, `program(host, **parameters)`.

        Args:
            program: an async function; None leaves the process to others (a client's host).
            parameters: what it is given by name.
            adopt: the program takes no host, and its direct calls of clocks, chance, grpc.aio and
                asyncio streams are this host's.

        Raises:
            ValueError: there is a process already.
        """
        self._program, self._parameters, self._adopt = program, dict(parameters or {}), adopt
        return self._start("boot")

    def restart(self) -> SimHost:
        """Starts the same program with the same parameters, as the next incarnation on the same disk.

        Raises:
            ValueError: it runs, or was never booted.
        """
        if self._host is None:
            raise ValueError(f"{self.name} was never booted: there is nothing to restart")
        return self._start("restart")

    def crash(self) -> None:
        """Ends the process at once; what was not synced is lost.

        Raises:
            ValueError: there is no process.
        """
        process = self._alive("crash")
        self._event("crash")
        self._end(process, lose_unsynced=True)

    async def stop(self) -> None:
        """Cancels the program, as SIGTERM would, and returns when its process has ended.

        Raises:
            ValueError: there is no process.
        """
        process = self._alive("stop")
        if self._task is None:
            self._exit(process, None)
            return
        gone = self.simulation.loop.create_future()
        process.on_death(lambda: None if gone.done() else gone.set_result(None))
        if not process.signal(signal.SIGTERM):  # a program with a handler of its own ends in its own way
            self._task.cancel()
        await gone

    def pause(self) -> None:
        """Stops the process where it stands, as SIGSTOP does.

        Raises:
            ValueError: there is no process, or it is paused already.
        """
        process = self._alive("pause")
        if process.halted:
            raise ValueError(f"{self.name} cannot be paused: it is paused already")
        self._event("pause")
        process.pause()

    def resume(self) -> None:
        """Lets a paused process go on.

        Raises:
            ValueError: there is no process, or it is not paused.
        """
        process = self._alive("resume")
        if not process.halted:
            raise ValueError(f"{self.name} cannot be resumed: it is not paused")
        self._event("resume")
        process.resume()

    def _alive(self, what: str) -> Process:
        if self.process is None:
            raise ValueError(f"{self.name} is down: there is nothing to {what}")
        return self.process

    def _start(self, how: str) -> SimHost:
        if self.process is not None:
            raise ValueError(f"{self.name} is up: there is nothing to {how}")
        if self._adopt:
            adopting()
        loop = self.simulation.loop
        process = Process(loop, self.name, self.incarnation, adopted=self._adopt, host=self)
        self.process, self.failure, self._task = process, None, None
        self._host = SimHost(self, process)
        self.simulation.network.add(process)
        self._event(how)
        if self._program is not None:
            self._task = loop.create_task(self._life(), name=self.name, context=process.context.copy())
            # An empty context: what happens at the end is the hardware's doing.
            self._task.add_done_callback(lambda task: self._done(process, task), context=Context())
        return self._host

    async def _life(self) -> None:
        """The program, and what `asyncio.run` does after it: what it left running is cancelled."""
        assert self._program is not None
        process = self.process
        assert process is not None
        try:
            if self._adopt:
                await self._program(**self._parameters)
            else:
                await self._program(self._host, **self._parameters)
        except SystemExit as exc:  # ends this process, not the whole simulation
            if exc.code not in (None, 0):
                raise RuntimeError(f"the program exited with status {exc.code}") from exc
        finally:
            own = asyncio.current_task()
            rest = [task for task in process.tasks if not task.done() and task is not own]
            rest.sort(key=hash)
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    def _done(self, process: Process, task: asyncio.Task[Any]) -> None:
        if not process.dead:
            self._exit(process, None if task.cancelled() else task.exception())

    def _exit(self, process: Process, error: BaseException | None) -> None:
        self.failure = error
        self._event("exit", **({} if error is None else {"error": f"{type(error).__name__}: {error}"}))
        self._end(process, lose_unsynced=False)
        if error is not None:
            self.simulation.program_failed(self.name, error)

    def _end(self, process: Process, *, lose_unsynced: bool) -> None:
        self.process = None
        self.incarnation += 1
        self.cpu.reset()
        process.kill()
        if lose_unsynced:
            self.disk.crash()

    def _event(self, name: str, **fields: Any) -> None:
        simulation = self.simulation
        for watcher in simulation.watchers:
            watcher(self.name, name)
        if simulation.trace is not None:
            simulation.trace.write(HostEvent(simulation.now(), self.name, name, self.incarnation, fields))

    def __repr__(self) -> str:
        return f"<machine {self.name} {self.process!r}>"
