"""The systems that `dsim up` can start, and starting and ending one in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from services.cluster import Cluster, ClusterError, NodeStatus
from services.host import DEFAULT_PORT

if TYPE_CHECKING:
    from pathlib import Path


class NodeSpec(Struct, frozen=True):
    """One node of a system: what runs on it, and the port on which it is ready when it serves."""

    name: str
    program: str
    parameters: dict[str, Any] = {}
    adopt: bool = False
    port: int = DEFAULT_PORT


class System(Struct, frozen=True):
    """A system.

    Attributes:
        nodes: from the number that `--nodes` gives to the nodes to start, in order.
        default_nodes, least_nodes: that number when none is given, and the least that makes sense.
    """

    name: str
    description: str
    nodes: Callable[[int], list[NodeSpec]]
    default_nodes: int = 3
    least_nodes: int = 1


def _echo(count: int) -> list[NodeSpec]:
    return [NodeSpec(f"echo{n}", "services.echo:serve") for n in range(1, count + 1)]


_MACHINE = "folder:/"
"""A file system: this machine's, by absolute paths."""


def _mapreduce(count: int) -> list[NodeSpec]:
    return [
        NodeSpec("master", "services.mapreduce.master:serve", {"files": _MACHINE}),
        *(
            NodeSpec(f"worker{n}", "services.mapreduce.worker:serve", {"files": _MACHINE})
            for n in range(1, count + 1)
        ),
    ]


def _coordination(count: int) -> list[NodeSpec]:
    members = [f"server.{n}=zk{n}:2888:3888:participant" for n in range(1, count + 1)]
    return [
        NodeSpec(f"zk{n}", "services.coordination.server:serve", {"server": n, "members": members})
        for n in range(1, count + 1)
    ]


_ZONES = ("z1", "z2", "z3")


def _spanner(count: int) -> list[NodeSpec]:
    from services.spanner.group import Member
    from services.spanner.placement.founding import Plan, hexadecimal
    from services.spanner.placement.system import USER_RANGE
    from services.spanner.spanserver.settings import Founding

    zones = {f"s{n}": _ZONES[(n - 1) % len(_ZONES)] for n in range(1, count + 1)}
    members = [Member(server, zone) for server, zone in zones.items()][: len(_ZONES)]
    groups = [
        Founding(
            number,
            (*members[number - 1 :], *members[: number - 1]),
            hexadecimal(USER_RANGE) if number == 1 else (),
        )
        for number in range(1, len(members) + 1)
    ]
    driver = {
        "every": 5.0,
        "limits": {
            "largest": 256 << 20,
            "smallest": 64 << 20,
            "hottest": 2000.0,
            "coldest": 20.0,
            "uneven": 2000.0,
            "patience_s": 15.0,
            "silent_s": 60.0,
            "least": len(groups),
        },
    }
    plan = Plan(zones=zones, groups=groups, driver=driver)
    return [NodeSpec(one.name, one.program, one.parameters) for one in plan.programs()]


SYSTEMS = {
    system.name: system
    for system in (
        System("echo", "servers that say back what they hear", _echo),
        System(
            "mapreduce", "a master, and as many workers as --nodes says, on this machine's files", _mapreduce
        ),
        System("coordination", "ZooKeeper over Zab: an ensemble of that many servers", _coordination),
        System("spanner", "spanservers in three zones, with time masters and a universe", _spanner, 5, 3),
    )
}
"""Every system, by name."""


def find_system(name: str) -> System:
    """Returns the system of that name.

    Raises:
        ClusterError: there is none.
    """
    if name not in SYSTEMS:
        raise ClusterError(f'there is no system "{name}" (there are: {", ".join(SYSTEMS)})')
    return SYSTEMS[name]


async def bring_up(
    folder: Path, system: System, nodes: int | None = None, *, listen: str = "127.0.0.1", within: float = 30.0
) -> list[NodeStatus]:
    """Starts a system, waits until all of it serves, and lets it live on in the background.

    Whatever ends this before that (an error, Ctrl-C, SIGKILL), nothing stays behind.

    Args:
        folder: for the cluster's files.
        system: what to start.
        nodes: how many; None for the system's own number.
        listen: network address.
        within: seconds for all of it to serve.

    Raises:
        ClusterError: in one line, why it is not up.
    """
    count = system.default_nodes if nodes is None else nodes
    if count < system.least_nodes:
        raise ClusterError(f"{system.name} needs at least {system.least_nodes} nodes, not {count}")
    cluster = Cluster.create(folder, listen, system=system.name)
    try:
        specs = system.nodes(count)
        await cluster.start_all((spec.name, spec.program, spec.parameters, spec.adopt) for spec in specs)
        for spec in specs:
            await cluster.serving([spec.name], within, spec.port)
        status = await cluster.status()
        await cluster.detach()
    except TimeoutError as exc:
        await cluster.down()
        raise ClusterError(f"{system.name} is not up: {exc}") from None
    except BaseException:
        await cluster.down()
        raise
    return status


async def take_down(folder: Path) -> list[str]:
    """Ends the cluster in a folder, whoever started it, and returns the nodes that were still alive.

    Raises:
        ClusterError: there is no cluster, a node would not end, or a file is damaged; everything that can
            still be told to end has ended.
    """
    cluster, damage = Cluster.salvage(folder)
    alive = cluster.alive()
    await cluster.down()
    left = cluster.alive()
    if left:
        raise ClusterError(f"still alive: {', '.join(left)}")
    cluster.folder.faults.unlink(missing_ok=True)  # none holds any more: healing must not start a node again
    if damage:
        raise ClusterError(f"down: {', '.join(alive) or 'nothing was running'}; but {'; '.join(damage)}")
    return alive
