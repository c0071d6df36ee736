"""The network: where hosts are, who listens, which way messages go, and what is wrong on the way."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from sim.world.network.connection import Endpoint
from sim.world.network.dialling import Dialling
from sim.world.network.flows import Flows
from sim.world.network.layout import Layout
from sim.world.network.path import Path
from sim.world.network.topology import lan
from sim.world.timers import DISCARDED, Delivery

if TYPE_CHECKING:
    import random

    import networkx as nx

    from sim.world.loop import VirtualTime
    from sim.world.process import Process

LOOPBACK = 25_000  # ns within a host


class Impairment(Struct, frozen=True):
    """What is wrong between some hosts.

    Attributes:
        applies: says whether the way from one host to another is affected.
        blocks: nothing gets through.
        delay, jitter: ns added.
        loss: share of packets lost.
    """

    applies: Callable[[str, str], bool]
    blocks: bool = False
    delay: int = 0
    jitter: int = 0
    loss: float = 0.0


class Network:
    """Hosts and the paths between them.

    Args:
        env: virtual time.
        rng: decides jitter and losses.
        topology: see `sim.world.network.topology`; a LAN when None.
        shake: ns of jitter on every path.

    Raises:
        ValueError: the topology is none.

    Attributes:
        layout: where the hosts are.
        flows: the bulk transfers under way.
    """

    def __init__(
        self, env: VirtualTime, rng: random.Random, topology: nx.Graph[Any] | None = None, shake: int = 0
    ) -> None:
        self.env = env
        self._shake = shake
        self.flows = Flows(env)
        self.layout = Layout(lan() if topology is None else topology)
        self._rng = rng
        self._paths: dict[tuple[str, str], Path] = {}
        self._impairments: dict[int, Impairment] = {}
        self._impairment_numbers = 0
        self._cuts: dict[tuple[str, str], int] = {}
        self._listeners: dict[tuple[str, int], tuple[Process, Callable[[Endpoint], None]]] = {}
        self._endpoints: dict[Process, dict[Endpoint, None]] = {}

    # Where things are

    @property
    def hosts(self) -> dict[str, str]:
        """Each host's node in the topology."""
        return self.layout.hosts

    def use(self, topology: nx.Graph[Any]) -> None:
        """Changes the topology, before the first host is added.

        Raises:
            ValueError: there are hosts already, or it is no topology.
        """
        if self.hosts:
            raise ValueError("the topology must be set before the first host is added")
        self.layout = Layout(topology)

    def path(self, source: str, target: str) -> Path:
        """Returns the path from one host to another, by the least latency.

        Raises:
            KeyError: there is no such host.
            nx.NetworkXNoPath: they are not connected.
        """
        found = self._paths.get((source, target))
        if found is None:
            links = self.layout.route(source, target)
            found = self._paths[source, target] = Path(
                source, target, links, LOOPBACK, self._rng, self._shake
            )
            if self._impairments:
                self._set_state(found)
        return found

    def graph(self) -> nx.DiGraph[Any]:
        """Returns the topology with its hosts, and on each edge the `messages` and `bytes` it has carried."""
        return self.layout.graph(self._paths.values())

    # Connections

    def listen(self, process: Process, port: int, accept: Callable[[Endpoint], None]) -> None:
        """Has `accept` called, as hardware, with this side's endpoint of each new connection.

        Raises:
            OSError: EADDRINUSE.
        """
        key = (process.name, port)
        if key in self._listeners:
            raise OSError(errno.EADDRINUSE, f"port {port} of {process.name} is in use")
        self._listeners[key] = (process, accept)
        process.on_death(lambda: self.unlisten(process, port))
        self._watch(process)

    def unlisten(self, process: Process, port: int) -> None:
        """Stops accepting; connections that exist stay."""
        if self._listeners.get((process.name, port), (None,))[0] is process:
            del self._listeners[process.name, port]

    def dial(
        self, process: Process, host: str, port: int, done: Callable[[Endpoint | None, str], None]
    ) -> Dialling:
        """Opens a connection; `done(endpoint, "")` or `done(None, why)` is called, as hardware, when decided.

        A name that nobody has fails at once; a host where nobody listens refuses. Across a blocked path the
        kernel tries again after 1, 3, 7, ... seconds, and gives up after some two minutes.

        Returns:
            the attempt, which can be called off.
        """
        self._watch(process)
        dialling = Dialling(self, process, host, port, done)
        if host not in self.hosts:
            self.after(0, dialling.fail, f"no host is named {host}")
        else:
            dialling.attempt()
        return dialling

    async def transfer(self, source: str, target: str, size: int) -> None:
        """Moves `size` bytes that are only modelled from one host to another, over a connection of its own.

        Raises:
            ValueError: the size is negative.
            ConnectionError: one of the hosts is down, or dies meanwhile.
        """
        if size < 0:
            raise ValueError(f"transfer of {size} bytes: must be 0 or more")
        owners = [next((p for p in self._endpoints if p.name == name), None) for name in (source, target)]
        for name, owner in zip((source, target), owners, strict=True):
            if owner is None:
                raise ConnectionError(f"transfer from {source} to {target}: {name} is down")
        assert owners[0] is not None
        assert owners[1] is not None
        near, far = self.join(owners[0], owners[1], self.path(source, target), self.path(target, source))
        arrived = asyncio.get_running_loop().create_future()

        def finish(reason: str) -> None:
            if not arrived.done():
                arrived.set_result(reason)

        near.on_broken = far.on_broken = finish
        near.process.on_death(lambda: finish("the source died"))
        near.send(size, finish, "")
        try:
            reason = await arrived
        finally:
            near.abort()
        if reason:
            raise ConnectionError(f"transfer from {source} to {target}: {reason}")

    def add(self, process: Process) -> None:
        """Takes note of a process that has started on its host."""
        self._watch(process)

    def forget(self, endpoint: Endpoint) -> None:
        """Drops an endpoint that is no longer open."""
        self._endpoints.get(endpoint.process, {}).pop(endpoint, None)

    def after(self, delay: int, callback: Callable[..., None], *args: Any) -> None:
        """Calls `callback(*args)`, as hardware, in `delay` ns."""
        self.env.push(self.env._now + delay, _Later((lambda _: callback(*args),)))

    def join(self, near: Process, far: Process, there: Path, back: Path) -> tuple[Endpoint, Endpoint]:
        """Makes the two ends of a connection."""
        ours, theirs = Endpoint(self, near, there), Endpoint(self, far, back)
        ours.peer, theirs.peer = theirs, ours
        self._endpoints[near][ours] = None
        self._endpoints[far][theirs] = None
        return ours, theirs

    def _watch(self, process: Process) -> None:
        if process not in self._endpoints and not process.dead:
            self._endpoints[process] = {}
            process.on_death(lambda: self._died(process))

    def _died(self, process: Process) -> None:
        for endpoint in self._endpoints.pop(process, {}):
            endpoint.die()

    def end(self) -> None:
        """The run is over: what is under way will not arrive."""
        for delivery in self._under_way(lambda _: True):
            delivery.to.peer._lost("the run ended", delivery.arrive, delivery.args)
        for endpoints in list(self._endpoints.values()):
            for endpoint in list(endpoints):  # one may end another: see `Channel.__del__`
                endpoint._drop("the run ended")

    # What is wrong

    def impair(self, impairment: Impairment) -> int:
        """Puts something wrong between hosts, and returns its number for `lift`.

        Messages under way on a path that is blocked now are lost, and sent again when TCP tries again.
        """
        self._impairment_numbers += 1
        self._impairments[self._impairment_numbers] = impairment
        self._set_states()
        return self._impairment_numbers

    def lift(self, number: int) -> None:
        """Puts something right again."""
        del self._impairments[number]
        self._set_states()

    def cut(self, source: str, target: str) -> None:
        """Cuts the way from one host to another, in this direction; a second cut does nothing."""
        if (source, target) not in self._cuts:
            here = (source, target)
            self._cuts[here] = self.impair(Impairment(lambda a, b: (a, b) == here, blocks=True))

    def heal(self, source: str, target: str) -> None:
        """Ends a `cut`."""
        number = self._cuts.pop((source, target), None)
        if number is not None:
            self.lift(number)

    def _set_states(self) -> None:
        blocked: dict[Path, None] = {}
        for path in self._paths.values():
            was = path.blocked
            self._set_state(path)
            if path.blocked and not was:
                blocked[path] = None
        if blocked:
            self._lose(blocked)

    def _set_state(self, path: Path) -> None:
        if path.source == path.target:
            return
        stops, delay, jitter, passed = False, 0, 0, 1.0
        for wrong in self._impairments.values():
            if wrong.applies(path.source, path.target):
                stops = stops or wrong.blocks
                delay += wrong.delay
                jitter += wrong.jitter
                passed *= 1.0 - wrong.loss
        path.set_state(stops, delay, jitter, 1.0 - passed)

    def _lose(self, paths: dict[Path, None]) -> None:
        """Takes back what is under way on paths that have just been blocked."""
        for endpoints in self._endpoints.values():
            for endpoint in list(endpoints):  # one may end another: see `Channel.__del__`
                if endpoint._path in paths:
                    endpoint.interrupt()
        lost: dict[Endpoint, list[Delivery]] = {}
        for delivery in self._under_way(lambda path: path in paths):
            lost.setdefault(delivery.to.peer, []).append(delivery)
        for sender, deliveries in lost.items():
            sender.pull_back(deliveries)

    def _under_way(self, wanted: Callable[[Path], bool]) -> list[Delivery]:
        """Takes messages out of the queue of the future, and returns them in the order of arrival.

        This looks at everything that is to happen: cuts are rare, messages are not, and so these carry
        nothing for that case.
        """
        taken = [
            item
            for item in self.env._queue
            if type(item[3]) is Delivery and item[3].callbacks and wanted(item[3].to.peer._path)
        ]
        taken.sort(key=lambda item: item[:3])
        for item in taken:
            item[3].callbacks = DISCARDED
        for _ in taken:
            self.env.discarded()
        return [item[3] for item in taken]


class _Later(Struct, eq=False):
    callbacks: tuple[Callable[[Any], None], ...] | None

    _ok: ClassVar[bool] = True
