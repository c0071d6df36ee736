"""The part of the loop that stands for the operating system's threads and signals."""

from __future__ import annotations

import asyncio
import signal
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from sim.world.process import PROCESS, Process
from sim.world.sockets import SocketMethods
from sim.world.timers import Handle, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable


class SystemMethods(SocketMethods):
    """`run_in_executor`, `add_signal_handler` and their kin."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Runs `func` at once, whatever the executor: a simulated process has one thread.

        As in a thread of its own there is no running loop. The result comes when the host's processor
        has been charged what a call costs (`ComputeCost.call`).
        """
        self._check_closed()  # type: ignore[attr-defined]
        if executor is None:
            self._check_default_executor()  # type: ignore[attr-defined]
        future = self.create_future()
        task = asyncio.current_task(self)
        if task is not None:
            asyncio._leave_task(self, task)
        asyncio._set_running_loop(None)
        settle: Callable[..., None] = _reject
        outcome: Any
        try:
            outcome = func(*args)
            settle = _resolve
        except (SystemExit, KeyboardInterrupt):
            raise
        except StopIteration as exc:
            outcome = RuntimeError("StopIteration cannot leave an executor: it would end a generator")
            outcome.__cause__ = exc
        except BaseException as exc:
            outcome = exc
        finally:
            asyncio._set_running_loop(self)
            if task is not None:
                asyncio._enter_task(self, task)
        process = PROCESS.get(self.home)
        cpu = getattr(process.host, "cpu", None) if process is not None else None
        if cpu is None:
            self.call_soon(settle, future, outcome)
        else:
            cpu.work(nanoseconds(cpu.compute_cost.call), settle, future, outcome)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Has `callback(*args)` called when the process is sent a signal (see `Process.signal`).

        Raises:
            ValueError: there is no such signal, or it cannot be caught.
        """
        if asyncio.iscoroutine(callback) or asyncio.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        number = self._catchable(sig)
        self._caller().signals[number] = Handle(callback, args, copy_context())

    def remove_signal_handler(self, sig: int) -> bool:
        """Says whether there was a handler, which is there no longer."""
        return self._caller().signals.pop(self._catchable(sig), None) is not None

    def _catchable(self, sig: int) -> int:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")
        if sig in (signal.SIGKILL, signal.SIGSTOP):
            raise RuntimeError(f"sig {sig} cannot be caught")
        return int(sig)

    def _caller(self) -> Process:
        process = PROCESS.get(self.home)
        if process is None:
            raise RuntimeError("signals are sent to the processes of simulated hosts, and this is none")
        return process

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Refuses further work for it, as asyncio does; there is no thread to wait for."""
        self._executor_shutdown_called = True


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _reject(future: asyncio.Future[Any], exc: BaseException) -> None:
    if not future.done():
        future.set_exception(exc)
