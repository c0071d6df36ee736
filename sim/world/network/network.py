"""The network: where hosts are, who listens, which way messages go, and what is wrong on the way."""

from __future__ import annotations

import asyncio
import errno
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import networkx as nx
from msgspec import Struct

from sim.world.loop import DISCARDED, SECOND, nanoseconds
from sim.world.network.connection import Delivery, Endpoint, established
from sim.world.network.flows import Flows
from sim.world.network.path import Link, Path
from sim.world.network.topology import check, lan

if TYPE_CHECKING:
    import random

    from sim.world.loop import VirtualTime
    from sim.world.process import Process

LOOPBACK = 25_000  # ns within a host
SYN_TIMEOUT = SECOND  # of the first try to connect; each try doubles it (Linux)
SYN_RETRIES = 6


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


class Traffic(Struct, frozen=True):
    """What one direction of a link has carried so far."""

    source: str
    target: str
    messages: int
    bytes: int


class Network:
    """Hosts and the paths between them.

    Args:
        env: virtual time.
        rng: decides jitter and losses.
        topology: see `sim.world.network.topology`; a LAN when None.

    Raises:
        ValueError: the topology is none.

    Attributes:
        hosts: each host's node in the topology.
        flows: the bulk transfers under way.
    """

    def __init__(self, env: VirtualTime, rng: random.Random, topology: nx.Graph[Any] | None = None) -> None:
        self.env = env
        self.flows = Flows(env)
        self.hosts: dict[str, str] = {}
        self._rng = rng
        self._core: nx.Graph[Any] = nx.Graph()
        self._links: dict[tuple[str, str], Link] = {}
        self._routes: dict[str, dict[str, list[str]]] = {}
        self._turn = 0
        self._paths: dict[tuple[str, str], Path] = {}
        self._impairments: dict[int, Impairment] = {}
        self._impairment_numbers = 0
        self._cuts: dict[tuple[str, str], int] = {}
        self._listeners: dict[tuple[str, int], tuple[Process, Callable[[Endpoint], None]]] = {}
        self._endpoints: dict[Process, dict[Endpoint, None]] = {}
        self.use(lan() if topology is None else topology)

    # Where things are

    def use(self, topology: nx.Graph[Any]) -> None:
        """Changes the topology, before the first host is added.

        Raises:
            ValueError: there are hosts already, or the topology is none.
        """
        if self.hosts:
            raise ValueError("the topology must be set before the first host is added")
        check(topology)
        self._core = topology
        self._links.clear()
        self._routes.clear()

    def attach(self, host: str, at: str | None = None) -> None:
        """Adds a host.

        Args:
            host: its name.
            at: the node it is attached to; None: the node of that name, or where the topology places it,
                or the switches in turn.

        Raises:
            ValueError: there is no such node, or the topology has no switches.
        """
        graph = self._core.graph
        if at is None and host not in self._core:
            at = graph.get("place", {}).get(host)
            if at is None:
                switches = graph.get("switches")
                if not switches:
                    raise ValueError(
                        f"host {host} is not in the topology, which names no switches for others"
                    )
                at = switches[self._turn % len(switches)]
                self._turn += 1
        elif at is None:
            at = host
        if at not in self._core:
            raise ValueError(f"host {host} cannot be attached to {at}: there is no such node in the topology")
        self.hosts[host] = at

    def observer(self) -> str:
        """Returns where a host goes that only watches: the first switch, and it takes nobody's turn."""
        switches = self._core.graph.get("switches") or list(self._core)
        return str(switches[0])

    def path(self, source: str, target: str) -> Path:
        """Returns the path from one host to another, by the least latency.

        Raises:
            KeyError: there is no such host.
            nx.NetworkXNoPath: they are not connected.
        """
        found = self._paths.get((source, target))
        if found is None:
            links = self._route(source, target)
            found = self._paths[source, target] = Path(source, target, links, LOOPBACK, self._rng)
            if self._impairments:
                self._set_state(found)
        return found

    def _route(self, source: str, target: str) -> tuple[Link, ...]:
        """Returns the links in order: up to the source's switch, from switch to switch, and down."""
        if source == target:
            return ()
        first, last = self.hosts[source], self.hosts[target]
        routes = self._routes.get(first)
        if routes is None:
            routes = nx.single_source_dijkstra_path(self._core, first, weight="latency_s")
            self._routes[first] = routes
        if last not in routes:
            raise nx.NetworkXNoPath(f"no way from {source} to {target}")
        nodes = routes[last]
        nodes = [*([source] if first != source else ()), *nodes, *([target] if last != target else ())]
        return tuple(self._link(a, b) for a, b in itertools.pairwise(nodes))

    def _link(self, a: str, b: str) -> Link:
        found = self._links.get((a, b))
        if found is None:
            edge = self._core.edges[a, b] if self._core.has_edge(a, b) else self._core.graph["uplink"]
            found = self._links[a, b] = Link(
                a,
                b,
                nanoseconds(edge["latency_s"]),
                edge.get("bandwidth_Bps") or math.inf,
                nanoseconds(edge.get("jitter_s", 0.0)),
                edge.get("loss", 0.0),
            )
        return found

    def traffic(self) -> list[Traffic]:
        """Returns what each direction of each link has carried so far."""
        messages: dict[Link, int] = {}
        sizes: dict[Link, int] = {}
        for path in self._paths.values():
            for link in path.links:
                messages[link] = messages.get(link, 0) + path.messages
                sizes[link] = sizes.get(link, 0) + path.bytes
        return [Traffic(link.source, link.target, messages[link], sizes[link]) for link in messages]

    def graph(self) -> nx.DiGraph[Any]:
        """Returns the topology with its hosts, and on each edge the `messages` and `bytes` it has carried."""
        drawn: nx.DiGraph[Any] = nx.DiGraph(self._core)
        uplink = self._core.graph.get("uplink", {})
        for host, node in self.hosts.items():
            if host != node:
                drawn.add_edge(host, node, **uplink)
                drawn.add_edge(node, host, **uplink)
        for _, _, edge in drawn.edges(data=True):
            edge.update(messages=0, bytes=0)
        for carried in self.traffic():
            drawn.edges[carried.source, carried.target].update(messages=carried.messages, bytes=carried.bytes)
        return drawn

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
        near, far = self._connect(owners[0], owners[1], self.path(source, target), self.path(target, source))
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

    def _connect(self, near: Process, far: Process, there: Path, back: Path) -> tuple[Endpoint, Endpoint]:
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
            for endpoint in endpoints:
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
            for endpoint in endpoints:
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


class Dialling:
    """An attempt to open a connection."""

    def __init__(
        self,
        network: Network,
        process: Process,
        host: str,
        port: int,
        done: Callable[[Endpoint | None, str], None],
    ) -> None:
        self._network = network
        self._process = process
        self._host = host
        self._port = port
        self._done = done
        self._tries = 0
        self._over = False

    def cancel(self) -> None:
        """Gives up; `done` is not called."""
        self._over = True

    def fail(self, why: str) -> None:
        """It cannot be done."""
        if not self._over and not self._process.dead:
            self._over = True
            self._done(None, why)

    def attempt(self) -> None:
        """Sends a SYN."""
        if self._over or self._process.dead:
            return
        network, here = self._network, self._process.name
        try:
            there, back = network.path(here, self._host), network.path(self._host, here)
        except nx.NetworkXNoPath:
            network.after(0, self.fail, f"no route to host {self._host}")
            return
        if there.blocked or back.blocked:
            self._again()
        else:
            network.after(there.delay(0, network.env._now), self._arrive, there, back)

    def _again(self) -> None:
        what = self.attempt if self._tries < SYN_RETRIES else self._time_out
        self._network.after(SYN_TIMEOUT << self._tries, what)
        self._tries += 1

    def _time_out(self) -> None:
        self.fail("connection timed out")

    def _arrive(self, there: Path, back: Path) -> None:
        """The SYN is at the host."""
        network = self._network
        if self._over or self._process.dead:
            return
        if there.blocked or back.blocked:
            self._again()
            return
        found = network._listeners.get((self._host, self._port))
        if found is None:
            network.after(back.delay(0, network.env._now), self.fail, "connection refused")
            return
        owner, accept = found
        near, far = network._connect(self._process, owner, there, back)
        far.send(0, established, self._established, near)
        accept(far)

    def _established(self, endpoint: Endpoint | None, why: str) -> None:
        assert endpoint is not None
        if self._over:
            endpoint.abort()
        else:
            self._over = True
            self._done(endpoint, why)


class _Later(Struct, eq=False):
    callbacks: tuple[Callable[[Any], None], ...] | None

    _ok: ClassVar[bool] = True
