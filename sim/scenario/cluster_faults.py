"""Faults on a real cluster: what each kind of `sim.faults` does to its processes and at its doors.

Processes are killed, stopped and continued; everything else is a state of the hosts' doors, which is
computed from all faults that hold whenever one begins or ends, and pushed whole. The faults that hold are
kept in a file of the cluster, so that one shell can lift what another injected.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from protos import control_pb2
from protos.trace import FaultEvent
from services.real.folder import ClusterError, read_struct, write_struct
from services.real.throttle import SLOWEST
from sim import faults
from sim.faults import AnyFault, Fault
from sim.scenario.base import HostDown, UnsupportedFault
from sim.scenario.door_rules import add_host_rules, add_link_rules
from sim.scenario.errors import near

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.cluster import Cluster

_SECOND = 1_000_000_000
_LOCK_EVERY = 0.02  # seconds between two tries for the file


class ClockState(Struct):
    """What jumps and past drifts have added up to on one host, and how it drifts now."""

    offset_s: float = 0.0
    drift: float = 0.0
    since_ns: int = 0


class Book(Struct):
    """`faults.json`.

    Attributes:
        count: faults injected so far.
        active: those that hold, by number.
        clocks: by host.
        torn: hosts whose next crash tears a write.
        losing: hosts that were told to lose replies, which they may have done.
        called_off: orders to lose replies up to this number are.
    """

    count: int = 0
    active: dict[int, AnyFault] = {}
    clocks: dict[str, ClockState] = {}
    torn: list[str] = []
    losing: list[str] = []
    called_off: int = 0


class ClusterFaults:
    """The faults of a cluster, from any process that opened it.

    Args:
        cluster: it.
        rng: chooses what a fault leaves open (the byte that is corrupted).
    """

    def __init__(self, cluster: Cluster, rng: random.Random | None = None) -> None:
        self._cluster = cluster
        self._folder = cluster.folder
        self._rng = rng or random.Random()

    async def active(self) -> dict[int, AnyFault]:
        """Returns the faults that hold, by number."""
        async with self._book() as book:
            return dict(book.active)

    def holding(self) -> dict[int, AnyFault]:
        """Returns the faults that hold, as `active`, but neither waits for anybody nor writes anything."""
        book = read_struct(self._folder.faults, Book) or Book()
        over = self._over(book)
        return {number: fault for number, fault in book.active.items() if number not in over}

    async def inject(self, fault: AnyFault) -> int:
        """Makes a fault happen and returns its number, for `lift`.

        Raises:
            UnsupportedFault: a real cluster cannot do it.
            ValueError: it names a host that there is not or that is in no state for it, or a value out of
                range; nothing has happened.
            ClusterError: a node does not answer.
        """
        async with self._book() as book:
            self.check(fault)
            _check_speed(book, fault)
            book.count += 1
            number = book.count
            if fault.lasting:
                self._record(number, fault, "begin")
                book.active[number] = fault
                await self._begin(book, fault)
            else:
                more = await self._strike(book, number, fault)
                self._record(number, fault, "once", **more)
            return number

    async def lift(self, number: int) -> None:
        """Ends a lasting fault (restarts a crashed host, lets a paused one go on); one that is over stays so.

        Raises:
            ValueError: there was never such a fault.
            ClusterError: a host does not start again, or does not answer.
        """
        async with self._book() as book:
            if number not in book.active:
                if not 0 < number <= book.count:
                    raise ValueError(f"there is no fault number {number}")
                return
            await self._end(book, number)

    async def heal(self, told: Callable[[int, AnyFault], object] | None = None) -> dict[int, AnyFault]:
        """Lifts every fault that holds and returns them, by number.

        Replies that were to be lost and writes that were to be torn, but have not been yet, will not be.
        Crashed hosts come last, so that they start in a world that works.

        Args:
            told: is called with the number and the fault for each that has been lifted, when it has been.

        Raises:
            ClusterError: hosts do not start again, or do not answer; all others are healed.
        """

        async def end(number: int) -> str:
            fault = book.active[number]
            try:
                await self._end(book, number)
            except ClusterError as exc:
                return str(exc)
            if told is not None:
                told(number, fault)
            return ""

        async with self._book() as book:
            held = dict(sorted(book.active.items()))
            crashed = [n for n, fault in book.active.items() if isinstance(fault, faults.Crash)]
            failed = await self._call_off(book)
            failed += [await end(number) for number in held if number not in crashed]
            failed += await asyncio.gather(*(end(number) for number in crashed))
            if problems := [problem for problem in failed if problem]:
                raise ClusterError("; ".join(dict.fromkeys(problems)))
            return held

    async def revive(self) -> AsyncIterator[tuple[str, str]]:
        """Gets nodes going that no fault holds: restarts the dead that nobody stopped, resumes the paused.

        Yields:
            The name of each, and what was done in words.

        Raises:
            ClusterError: nodes do not start, or do not answer; all others go.
        """
        async with self._book() as book:
            held = {
                host
                for fault in book.active.values()
                if isinstance(fault, faults.Crash | faults.Pause)
                for host in fault.hosts()
            }
            problems = []
            for name in self._cluster.hosts():
                if name in held:
                    continue
                try:
                    if self._cluster.state(name) == "paused":
                        await self._cluster.resume(name)
                        yield name, "was paused, by no fault: resumed"
                    elif self._cluster.fell(name):
                        await self._cluster.restart(name)
                        yield name, "was dead, by no fault: restarted"
                except ClusterError as exc:
                    problems.append(str(exc))
            if problems:
                raise ClusterError("; ".join(problems))

    # What faults do

    async def _begin(self, book: Book, fault: AnyFault) -> None:
        match fault:
            case faults.Crash(host=host):
                if host in book.torn:
                    book.torn.remove(host)
                await self._cluster.kill(host)
            case faults.Pause(host=host):
                await self._cluster.pause(host)
            case _:
                await self._configure(book, fault)

    async def _end(self, book: Book, number: int) -> None:
        fault = book.active.pop(number)
        try:
            match fault:
                case faults.Crash(host=host):
                    await self._configure(book, fault)
                    await self._cluster.restart(host)
                case faults.Pause(host=host):
                    if not any(
                        isinstance(other, faults.Pause) and other.host == host
                        for other in book.active.values()
                    ):
                        await self._cluster.resume(host)
                case _:
                    await self._configure(book, fault)
        except BaseException:
            book.active[number] = fault  # to be ended once more
            raise
        self._record(number, fault, "end")

    async def _call_off(self, book: Book) -> list[str]:
        """Calls off what was ordered and has not happened; returns what stood against it."""
        hosts = dict.fromkeys([*book.torn, *book.losing])
        book.called_off = book.count
        book.torn, book.losing = [], []
        failed = []
        for host in hosts:
            try:
                await self._cluster.configure(host, self._rules(book, host))
            except ClusterError as exc:
                failed.append(str(exc))
        return failed

    async def _strike(self, book: Book, number: int, fault: AnyFault) -> dict[str, Any]:
        """Makes a fault happen that does not last; returns what the trace should say besides."""
        match fault:
            case faults.LoseReply(host=host, method=method, count=count):
                rules = self._rules(book, host)
                rules.lost_replies.add(number=number, method=method, count=count)
                if host not in book.losing:
                    book.losing.append(host)
                await self._cluster.configure(host, rules)
            case faults.Corrupt(host=host, path=path):
                return self._corrupt(host, path)
            case faults.TornWrite(host=host):
                if host not in book.torn:
                    book.torn.append(host)
                await self._configure(book, fault)
            case faults.ClockJump(host=host, seconds=seconds):
                book.clocks.setdefault(host, ClockState()).offset_s += seconds
                await self._configure(book, fault)
            case _:
                raise AssertionError(f"{fault} lasts")
        return {}

    def _corrupt(self, host: str, path: str) -> dict[str, Any]:
        """Flips one byte of a file of a host, which need not be alive for that."""
        root = self._folder.node(host).data
        files = [file for file in sorted(root.rglob("*")) if file.is_file() and file.stat().st_size]
        if path:
            chosen = (root / path).resolve()
            if chosen not in [file.resolve() for file in files]:
                raise ValueError(f"corrupt: {host} has no file {path!r} with a byte to flip")
        elif files:
            chosen = self._rng.choice(files)
        else:
            return {"path": ""}
        with chosen.open("r+b") as file:
            offset = self._rng.randrange(chosen.stat().st_size)
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ (1 << self._rng.randrange(8))]))
        return {"path": chosen.relative_to(root.resolve()).as_posix(), "offset": offset}

    # The state of the doors

    async def _configure(self, book: Book, fault: AnyFault) -> None:
        """Pushes the state of every door that a fault can have changed."""
        everywhere = isinstance(fault, faults.Delay | faults.Loss | faults.Isolate)
        hosts = self._folder.reachable() if everywhere else dict.fromkeys(fault.hosts())
        if everywhere:
            await self._cluster.configure("", self._rules(book, ""))
        for host in hosts:
            self._drift(book, host)
        await asyncio.gather(*(self._cluster.configure(host, self._rules(book, host)) for host in hosts))

    def _drift(self, book: Book, host: str) -> None:
        """Adds up what a host has drifted so far, when its drift changes."""
        rate = sum(
            fault.rate
            for fault in book.active.values()
            if isinstance(fault, faults.ClockDrift) and fault.host == host
        )
        clock = book.clocks.get(host)
        if clock is None:
            if not rate:
                return
            clock = book.clocks[host] = ClockState()
        if clock.drift != rate:
            now = time.time_ns()
            clock.offset_s += clock.drift * (now - clock.since_ns) / _SECOND
            clock.drift, clock.since_ns = rate, now

    def _rules(self, book: Book, host: str) -> control_pb2.Rules:
        """Returns the state of a host's door that all faults together make."""
        rules = control_pb2.Rules(slow=1.0, called_off=book.called_off)
        rules.disk.slow = 1.0
        rules.disk.tear = host in book.torn
        clock = book.clocks.get(host, ClockState())
        rules.clock.offset_s, rules.clock.drift, rules.clock.since_ns = (
            clock.offset_s,
            clock.drift,
            clock.since_ns,
        )
        links: dict[str, control_pb2.Link] = {}
        for fault in book.active.values():
            add_link_rules(links, fault, host)
            if fault.hosts() == [host]:
                add_host_rules(rules, fault)
        rules.links.extend(links.values())
        return rules

    # What is refused

    def check(self, fault: AnyFault) -> None:
        """Refuses a fault that cannot be, as `inject` would.

        Raises:
            UnsupportedFault, ValueError: see `inject`.
        """
        kind = faults.kind_of(fault)
        known = self._folder.reachable()
        for name in fault.hosts():
            if name not in known:
                hint = near(name, known)
                raise ValueError(f"{kind}: there is no host {name!r}{hint} (there are: {', '.join(known)})")
        faults.check_values(fault)
        if isinstance(fault, faults.Crash | faults.Pause | faults.LoseReply | faults.Slow):
            if fault.host not in self._cluster.hosts():
                raise UnsupportedFault(
                    f"{kind}: {fault.host} is a client inside another process, which is not to be harmed"
                )
            state = self._cluster.state(fault.host)
            if not isinstance(fault, faults.Slow) and state == "dead":
                raise HostDown(f"{kind}: {fault.host} is down")
            if isinstance(fault, faults.LoseReply) and state == "paused":
                raise HostDown(f"{kind}: {fault.host} is paused, and replies to nothing")
        factors = {
            faults.Slow: ("cpu", "disk"),
            faults.SlowDisk: ("factor",),
        }
        for field in factors.get(type(fault), ()):
            if getattr(fault, field) < 1:
                raise UnsupportedFault(f"{kind}: {field} below 1: a real machine cannot be made faster")

    # The book

    @asynccontextmanager
    async def _book(self) -> AsyncIterator[Book]:
        """Opens the book for one change, alone among all processes."""
        path = self._folder.faults
        with self._folder.lock.open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_EVERY)
            book = read_struct(path, Book) or Book()
            self._notice(book)
            try:
                yield book
            finally:
                write_struct(path, book)

    def _notice(self, book: Book) -> None:
        """Ends the faults that something else has ended."""
        for number in self._over(book):
            self._record(number, book.active.pop(number), "end")

    def _over(self, book: Book) -> list[int]:
        """Returns the faults that a restart, a resumption or a death has ended."""
        nodes = set(self._cluster.hosts())
        return [
            number
            for number, fault in book.active.items()
            if isinstance(fault, faults.Crash | faults.Pause)
            and fault.host in nodes
            and self._cluster.state(fault.host) != ("dead" if isinstance(fault, faults.Crash) else "paused")
        ]

    def _record(self, number: int, fault: Fault, phase: str, **more: Any) -> None:
        fields = {k: v for k, v in msgspec.to_builtins(fault).items() if k not in ("kind", "host")}
        self._folder.record(
            FaultEvent(
                time.time_ns(), number, faults.kind_of(fault), phase, fault.hosts(), {**fields, **more}
            )
        )


def _check_speed(book: Book, fault: AnyFault) -> None:
    """Refuses to make a host slower, by all faults together, than a real one can be made."""
    if not isinstance(fault, faults.Slow):
        return
    held = [
        other.cpu
        for other in book.active.values()
        if isinstance(other, faults.Slow) and other.host == fault.host
    ]
    if math.prod([*held, fault.cpu]) > SLOWEST:
        so_far = f" (those that hold make it {math.prod(held):g})" if held else ""
        raise UnsupportedFault(
            f"slow: cpu is {fault.cpu:g}: a real host can be made {SLOWEST:g} times slower at most{so_far}"
        )
