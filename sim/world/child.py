"""A child of a simulated host: `Host.child`.

The function runs at the instant of the call, on the host's page cache; then its disk and processor time is
paid, and only then messages, result or death come out, as if it had taken that long. Messages are spread
evenly over the processor time. What has been written stays when the child is killed while it still pays.

What it costs is declared (`cost`, of the result), or follows from the bytes that went through its hands;
never from pickles, whose sizes may differ from Python to Python. `memory` is not limited here.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from services.child import ChildDied
from services.crossing import death, exit_status, pack, pack_error, pack_result, unpack
from sim.world.loop import nanoseconds
from sim.world.reality import endings
from sim.world.storage import Bill, SimStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.host import SimHost

T = TypeVar("T")

_REQUEST = 1 << 24  # bytes of the device's time taken at once: others have their turn between
_FIRST_PID = 2000  # of a host's children, as they see it themselves


class SimInside:
    """Implements `services.child.Inside` for one call."""

    def __init__(self, storage: SimStorage, log: str, now: float) -> None:
        self.told: list[bytes] = []
        self.marked = -1
        self._storage = storage
        self._now = now
        self.output = _Output(storage, log)

    @property
    def disk(self) -> SimStorage:
        """The host's disk."""
        return self._storage

    def log(self, path: str) -> None:
        """Sends what is printed to a file, from here on."""
        self.output.flush()
        self.output.path = path

    def mark(self, number: int) -> None:
        """Says how far this call is."""
        self.marked = number

    def tell(self, message: Any) -> None:
        """Keeps an object for the parent."""
        self.told.append(pack(message))

    def clock(self) -> float:
        """Returns the time of the call: none passes in it."""
        return self._now


class _Output(io.TextIOBase):
    """stdout and stderr of a child: a file on the simulated disk, or nothing."""

    def __init__(self, storage: SimStorage, path: str) -> None:
        self.path = path
        self._storage = storage
        self._said: list[str] = []

    def writable(self) -> bool:
        """Says that it can be written."""
        return True

    def write(self, text: str, /) -> int:
        """Takes text."""
        self._said.append(text)
        return len(text)

    def flush(self) -> None:
        """Appends what was said to the log; a full disk loses it."""
        data, self._said = "".join(self._said).encode("utf-8", "backslashreplace"), []
        if data and self.path:
            with contextlib.suppress(OSError):
                disk = self._storage.disk
                inode = disk.open_now(self.path, "a")
                disk._grow(len(data), self.path)
                inode.write(data, len(inode.data))


class _Outcome:
    """What came of a call."""

    def __init__(self, inside: SimInside, bill: Bill) -> None:
        self.inside = inside
        self.bill = bill
        self.result = b""
        self.error = b""
        self.end: endings.Ended | None = None


class SimChild:
    """A child; implements `services.child.Child`."""

    def __init__(
        self,
        host: SimHost,
        number: int,
        log: str,
        heard: Callable[[Any], None] | None,
        cost: Callable[[Any], float] | None,
    ) -> None:
        self._host = host
        self._pid = _FIRST_PID + number
        self._log = log
        self._heard = heard
        self._cost = cost
        self._inside: SimInside | None = None
        self._paying: asyncio.Task[None] | None = None
        self._why: str | None = None

    @property
    def mark(self) -> int:
        """The last number that the call under way has marked, or -1."""
        return self._inside.marked if self._inside is not None else -1

    async def run(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Runs a call; see `services.child.Child.run`."""
        if self._paying is not None:
            raise RuntimeError("this child is running a call: one at a time")
        call = pack((fn, args, kwargs))
        outcome = self._call(call)
        self._why = None
        task = self._paying = asyncio.get_running_loop().create_task(self._pay(outcome, args))
        try:
            await task
        except asyncio.CancelledError:
            if self._why is None or not task.cancelled():  # it is we who are cancelled
                task.cancel()
                raise
            raise ChildDied(self._why, outcome.inside.marked) from None
        finally:
            self._paying = None
        if outcome.end is not None:
            raise ChildDied(death(outcome.end.status or 0), outcome.inside.marked)
        if outcome.error:
            raise unpack(outcome.error)
        result: T = unpack(outcome.result)
        return result

    def _call(self, call: bytes) -> _Outcome:
        """Runs the function, here and now."""
        life = endings.Life(self._pid)
        storage = SimStorage(self._host.machine.disk, life)
        inside = self._inside = SimInside(storage, self._log, asyncio.get_running_loop().time())
        outcome = _Outcome(inside, storage.bill)
        endings.under_way.append(life)
        output: Any = inside.output
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                self._run(call, outcome, life)
        finally:
            endings.under_way.pop()
            inside.output.flush()
            self._log = inside.output.path
            outcome.end = life.ended
        return outcome

    @staticmethod
    def _run(call: bytes, outcome: _Outcome, life: endings.Life) -> None:
        try:
            fn, args, kwargs = unpack(call)
            outcome.result = pack_result(fn(outcome.inside, *args, **kwargs), fn)
        except endings.Ended:
            pass
        except SystemExit as exc:
            status, said = exit_status(exc.code)
            sys.stderr.write(said)
            life.end(status)
        except BaseException as exc:
            since = exc.__traceback__
            outcome.error = pack_error(exc, since.tb_next if since is not None else None)

    async def _pay(self, outcome: _Outcome, args: tuple[Any, ...]) -> None:
        """Takes the time that the call takes, and lets its messages out on the way."""
        machine, bill, told = self._host.machine, outcome.bill, outcome.inside.told
        await machine.disk.pay_bill(bill.calls, bill.seeks, bill.read + bill.written, _REQUEST)
        seconds = self._seconds(outcome, args)
        share = nanoseconds(seconds) // (len(told) + 1)
        for message in told:
            await self._compute(share)
            if self._heard is not None:
                self._heard(unpack(message))
        await self._compute(nanoseconds(seconds) - share * len(told))
        if outcome.end is not None and outcome.end.status is None:
            await asyncio.get_running_loop().create_future()  # it has stopped itself

    def _seconds(self, outcome: _Outcome, args: tuple[Any, ...]) -> float:
        if self._cost is not None and outcome.result:
            seconds = self._cost(unpack(outcome.result))
            if not seconds >= 0:
                raise ValueError(f"child: cost is {seconds} s, must be 0 or more")
            return seconds
        model = self._host.machine.cpu.compute_cost
        given = sum(len(each) for each in args if isinstance(each, bytes | bytearray | str))
        return model.call + model.byte * (outcome.bill.touched + given)

    async def _compute(self, ns: int) -> None:
        paid = asyncio.get_running_loop().create_future()
        cpu = self._host.machine.cpu
        cpu.work(ns, _paid, paid)
        try:
            await paid
        except asyncio.CancelledError:
            cpu.give_up(paid)
            raise

    def kill(self, why: str = "killed") -> None:
        """Ends the process; the call under way raises `ChildDied(why)`."""
        if self._paying is not None and not self._paying.done() and self._why is None:
            self._why = why
            self._paying.cancel()

    async def close(self) -> None:
        """Ends the process."""
        self.kill("closed")


def _paid(paid: asyncio.Future[None]) -> None:
    if not paid.done():
        paid.set_result(None)
