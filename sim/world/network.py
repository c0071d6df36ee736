"""The simulated network: hosts, the paths between them, and connections as TCP gives them.

A `Network` knows who listens where and which paths work. `dial` opens a connection; it has two
`Endpoint`s, each owned by a process. What one end sends arrives at the other in order, or not at
all: a crash breaks the connection, a cut path makes it hang until the path is healed.

This module speaks of sizes and callbacks, not of bytes: what a message is, is the business of the
layers above (`sim.world.rpc`, `sim.world.streams`). All callbacks are hardware: they run outside
any process and reach into one through `Loop.run_now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.loop import VirtualTime
    from sim.world.process import Process

MILLISECOND = 1_000_000  # ns


class Delivery(Struct, eq=False):
    """A message under way; it is the SimPy event of its own arrival."""

    to: Endpoint
    arrive: Callable[..., None]
    args: tuple[Any, ...]
    callbacks: tuple[Callable[[Delivery], None], ...] | None

    _ok: ClassVar[bool] = True


def _arrived(delivery: Delivery) -> None:
    if delivery.to.open:
        delivery.arrive(*delivery.args)


ARRIVED = (_arrived,)


class Path:
    """One direction between two hosts.

    Attributes:
        latency: nanoseconds for the first byte.
        cut: nothing gets through.
    """

    __slots__ = ("cut", "latency", "waiting")

    def __init__(self, latency: int) -> None:
        self.latency = latency
        self.cut = False
        self.waiting: list[Callable[[], None]] = []


class Endpoint:
    """One end of a connection.

    Attributes:
        process: its owner.
        peer: the other end.
        open: False once this side has closed it or learned that it is gone.
        on_broken: called once, with the reason, when this side learns that the connection is gone
            (not when it closes the connection itself).
    """

    __slots__ = ("_last", "_network", "_path", "_stalled", "on_broken", "open", "peer", "process")

    peer: Endpoint

    def __init__(self, network: Network, process: Process, path: Path) -> None:
        self._network = network
        self._path = path
        self._last = 0
        self._stalled: list[tuple[int, Callable[..., None], tuple[Any, ...]]] = []
        self.process = process
        self.open = True
        self.on_broken: Callable[[str], None] = _ignore

    def send(self, size: int, arrive: Callable[..., None], *args: Any) -> None:
        """Sends `size` bytes; `arrive(*args)` is called when the last of them is at the peer."""
        if self._path.cut:
            self._stall(size, arrive, args)
            return
        env = self._network.env
        at = env._now + self._path.latency
        if at < self._last:
            at = self._last
        self._last = at
        env.push(at, Delivery(self.peer, arrive, args, ARRIVED))

    def close(self) -> None:
        """Closes this side; the peer learns of it after all that was sent."""
        if self.open:
            self.open = False
            self.send(0, self.peer._learn, "closed by peer")
            self._network.forget(self)

    def _stall(self, size: int, arrive: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self._stalled:
            self._path.waiting.append(self._flush)
        self._stalled.append((size, arrive, args))

    def _flush(self) -> None:
        stalled, self._stalled = self._stalled, []
        for size, arrive, args in stalled:
            self.send(size, arrive, *args)

    def _learn(self, reason: str) -> None:
        if self.open:
            self.open = False
            self._network.forget(self)
            self.on_broken(reason)


def _ignore(reason: str) -> None:
    pass


class Network:
    """Hosts and the paths between them.

    Args:
        env: virtual time.
        latency: one-way nanoseconds between any two hosts.
    """

    def __init__(self, env: VirtualTime, latency: int = MILLISECOND // 2) -> None:
        self.env = env
        self._latency = latency
        self._paths: dict[tuple[str, str], Path] = {}
        self._listeners: dict[tuple[str, int], tuple[Process, Callable[[Endpoint], None]]] = {}
        self._endpoints: dict[Process, dict[Endpoint, None]] = {}
        self.hosts: dict[str, None] = {}

    def path(self, source: str, target: str) -> Path:
        """Returns the path from one host to another."""
        found = self._paths.get((source, target))
        if found is None:
            found = self._paths[source, target] = Path(
                self._latency if source != target else self._latency // 20
            )
        return found

    def listen(self, process: Process, port: int, accept: Callable[[Endpoint], None]) -> None:
        """Has `accept` called with this side's endpoint of each new connection to the process's host.

        Raises:
            OSError: EADDRINUSE.
        """
        key = (process.name, port)
        if key in self._listeners:
            raise OSError(98, f"port {port} of {process.name} is in use")
        self._listeners[key] = (process, accept)
        process.on_death(lambda: self.unlisten(process, port))
        self._watch(process)

    def unlisten(self, process: Process, port: int) -> None:
        """Stops accepting; connections that exist stay."""
        if self._listeners.get((process.name, port), (None,))[0] is process:
            del self._listeners[process.name, port]

    def dial(
        self, process: Process, host: str, port: int, done: Callable[[Endpoint | None, str], None]
    ) -> None:
        """Opens a connection; `done(endpoint, "")` or `done(None, why)` is called when it is decided.

        Across a cut path nothing is decided until the path is healed.
        """
        self._watch(process)
        there, back = self.path(process.name, host), self.path(host, process.name)
        if there.cut:
            there.waiting.append(lambda: self.dial(process, host, port, done))
            return
        if back.cut:
            back.waiting.append(lambda: self.dial(process, host, port, done))
            return

        def arrive() -> None:
            found = self._listeners.get((host, port))
            if found is None:
                self._after(back.latency, done, None, "connection refused")
                return
            near, far = Endpoint(self, process, there), Endpoint(self, found[0], back)
            near.peer, far.peer = far, near
            self._endpoints.setdefault(process, {})[near] = None
            self._endpoints.setdefault(found[0], {})[far] = None
            found[1](far)
            far.send(0, done, near, "")

        self._after(there.latency, arrive)

    def cut(self, source: str, target: str) -> None:
        """Cuts one direction."""
        self.path(source, target).cut = True

    def heal(self, source: str, target: str) -> None:
        """Heals one direction; what was held is sent again."""
        path = self.path(source, target)
        path.cut = False
        waiting, path.waiting = path.waiting, []
        for resume in waiting:
            resume()

    def forget(self, endpoint: Endpoint) -> None:
        """Drops an endpoint that is no longer open."""
        self._endpoints.get(endpoint.process, {}).pop(endpoint, None)

    def _watch(self, process: Process) -> None:
        if process not in self._endpoints:
            self._endpoints[process] = {}
            process.on_death(lambda: self._died(process))

    def _died(self, process: Process) -> None:
        for endpoint in self._endpoints.pop(process, {}):
            endpoint.open = False
            endpoint.send(0, endpoint.peer._learn, "connection reset by peer")

    def _after(self, delay: int, callback: Callable[..., None], *args: Any) -> None:
        self.env.push(self.env._now + delay, _Later((lambda _: callback(*args),)))


class _Later(Struct, eq=False):
    callbacks: tuple[Callable[[Any], None], ...] | None

    _ok: ClassVar[bool] = True
