"""`dsim up`, `status`, `fault`, `heal` and `down`: a local cluster of real processes.

The cluster is its folder, so any shell can reach it. Which one is meant when nobody says `--dir`: the one
that was started last by this user.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sim.cli.runs import JsonOption, SetOption  # noqa: TC001 (typer reads them)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from services.cluster import Cluster, NodeStatus
    from services.systems import System
    from sim.faults import AnyFault

MOST_NODES = 100

T = TypeVar("T")

DirOption = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The cluster's folder. [default: the last one]")
]


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command(epilog="Example: dsim up echo --nodes 3")(up)
    app.command(epilog="Example: dsim status --json")(status)
    app.command(epilog="Example: dsim fault partition n1,n2 n3 --for 5")(fault)
    app.command(epilog="Example: dsim heal")(heal)
    app.command(epilog="Example: dsim down")(down)


def up(
    system: Annotated[
        str,
        typer.Argument(
            metavar="SYSTEM",
            help="echo, mapreduce, coordination, spanner, or a program of your own: module:function.",
        ),
    ],
    nodes: Annotated[
        int | None, typer.Option(metavar="N", help="How many. [default: the system's own number]")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Its folder. [default: runs/cluster]")
    ] = None,
) -> None:
    """Starts a local cluster of real processes in the background."""
    from services.systems import bring_up
    from sim.scenario.errors import InvalidInput

    wanted = _system(system)
    if nodes is not None and nodes > MOST_NODES:
        raise InvalidInput(f"{nodes} nodes are too many for one machine: at most {MOST_NODES}")
    where = folder if folder is not None else Path("runs/cluster")
    states = running(bring_up(where, wanted, nodes))
    remembered = _remember(where)
    print(_table(states))
    down = "dsim down" if remembered else f"dsim down --dir {shlex.quote(str(where))}"
    print(f"\n{system} is up in {where}; take it down with: {down}")


def status(folder: DirOption = None, json: JsonOption = False) -> None:
    """Says how each node of the cluster is, and which faults hold."""
    from sim.cli.faults import said

    async def ask() -> tuple[list[NodeStatus], dict[int, AnyFault]]:
        from sim.scenario.cluster_faults import ClusterFaults

        cluster = cluster_of(folder)
        return await cluster.status(), ClusterFaults(cluster).holding()

    states, faults = running(ask())
    if json:
        import msgspec

        print(msgspec.json.encode({"nodes": states, "faults": faults}).decode())
        return
    print(_table(states))
    if faults:
        print("\n" + "\n".join(f"fault {number}: {said(one)}" for number, one in faults.items()))


def fault(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="crash, pause, slow, partition, cut, delay, ...")
    ],
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Hosts; groups a,b c for a partition; two ends for a link."),
    ],
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Waits so long, then ends it. [default: until heal]"),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (typer copies it)
    folder: DirOption = None,
) -> None:
    """Injects a fault into the cluster."""
    import asyncio

    from sim.cli.faults import parse, said
    from sim.cli.runs import assignments
    from sim.scenario.errors import InvalidInput

    wanted = parse(kind, targets, assignments(set_))
    if seconds is not None and not 0 < seconds < math.inf:
        raise InvalidInput(f"--for {seconds:g}: must be more than 0 seconds, and come to an end")

    async def inject() -> None:
        from sim.scenario.cluster_faults import ClusterFaults

        faults = ClusterFaults(cluster_of(folder))
        numbers = []
        try:
            for one in wanted:
                faults.check(one)  # all of them, or none
            for one in wanted:
                numbers.append(await faults.inject(one))
                print(f"fault {numbers[-1]}: {said(one)}", flush=True)
            if seconds is not None:
                await asyncio.sleep(seconds)
        except ValueError as exc:
            raise InvalidInput(str(exc)) from None
        finally:
            if numbers and seconds is not None:
                for number in numbers:
                    if wanted[0].lasting:
                        with contextlib.suppress(ValueError):  # the cluster was taken down meanwhile
                            await faults.lift(number)
                print("over")

    running(inject())


def heal(folder: DirOption = None) -> None:
    """Ends every fault that holds, and gets the nodes going again.

    Restarts what crashed, resumes what is paused, opens every link, calls off lost replies and torn writes
    that have not happened. Nodes that died or were stopped without a fault (kill -9, a crash of their own,
    SIGSTOP) are restarted and resumed as well.
    """
    from sim.cli.faults import said

    async def end() -> None:
        from sim.scenario.cluster_faults import ClusterFaults

        faults = ClusterFaults(cluster_of(folder))
        done = []

        def tell(line: str) -> None:
            print(line, flush=True)
            done.append(line)

        try:
            await faults.heal(lambda number, one: tell(f"fault {number}: {said(one)} ended"))
        finally:  # a node that does not answer is no reason to leave others dead
            async for name, what in faults.revive():
                tell(f"{name} {what}")
        if not done:
            print("nothing to heal")

    running(end())


def down(folder: DirOption = None) -> None:
    """Takes the cluster down; what it left stays in its folder."""
    from services.systems import take_down

    alive = running(take_down(_folder(folder)))
    print(f"down: {', '.join(alive) or 'nothing was running'}")


def running(work: Coroutine[Any, Any, T]) -> T:
    """Runs it; what the file system refuses becomes a line for the user."""
    import asyncio

    from services.cluster import ClusterError

    try:
        return asyncio.run(work)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else "the cluster's folder: "
        raise ClusterError(f"{where}{exc.strerror or exc}") from None


def _system(name: str) -> System:
    from services.systems import SYSTEMS, NodeSpec, System
    from sim.scenario.errors import InvalidInput, near

    if ":" in name:  # a program of one's own
        return System(name, "", lambda count: [NodeSpec(f"n{n}", name) for n in range(1, count + 1)])
    if name not in SYSTEMS:
        raise InvalidInput(
            f"there is no system {name!r}{near(name, SYSTEMS)} "
            f"(there are: {', '.join(SYSTEMS)}; and any program: module:function)"
        )
    return SYSTEMS[name]


def _folder(given: Path | None) -> Path:
    from sim.scenario.errors import InvalidInput

    if given is not None:
        return given
    try:
        return Path(_pointer().read_text())
    except OSError:
        raise InvalidInput("no cluster was started: dsim up SYSTEM (or name its folder: --dir)") from None


def cluster_of(folder: Path | None) -> Cluster:
    """Opens the cluster that is meant."""
    from services.cluster import Cluster

    return Cluster.open(_folder(folder))


def _pointer() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "dsim" / "cluster"


def _remember(folder: Path) -> bool:
    """Says whether other commands will know which cluster was the last."""
    try:
        pointer = _pointer()
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(str(folder.resolve()))
    except OSError:
        return False
    return True


def _table(states: list[NodeStatus]) -> str:
    rows = [("node", "state", "pid", "life", "up", "memory", "sent", "received", "program")]
    rows += [
        (
            one.name,
            one.state,
            str(one.pid or "-"),
            str(one.incarnation + 1),
            f"{one.uptime_s:.0f} s" if one.uptime_s else "-",
            f"{one.resident_bytes / 2**20:.0f} MiB" if one.resident_bytes else "-",
            str(one.sent),
            str(one.received),
            one.program,
        )
        for one in states
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
