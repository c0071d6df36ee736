"""A server of the ensemble on one host: storage, Zab, the state machine above it, and its doors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from services.coordination.configuration import Configuration, Member
from services.coordination.peer import SERVER_OPTIONS, Replica
from services.coordination.server.frontend import Frontend
from services.coordination.server.server import Server
from services.coordination.server.settings import Settings
from services.coordination.state.limits import Limits
from services.coordination.storage import StorageFailed
from services.coordination.zab.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.host import Host

    Opening = Callable[[Frontend], Awaitable[None]]
    """Opens a door, and keeps it open until cancelled."""

SNAP_COUNT = 100_000
SNAPSHOTS_KEPT = 3
LEAST_MESSAGE = 4 << 20  # bytes that a client may send in one message, whatever the limit of a request


async def serve(
    host: Host,
    *,
    server: int,
    members: Sequence[str],
    tick: float = 2.0,
    init_limit: int = 10,
    sync_limit: int = 5,
    snap_count: int = SNAP_COUNT,
    snapshots_kept: int = SNAPSHOTS_KEPT,
    wire_address: str = "127.0.0.1",
    wire_port: int | None = None,
    retry: float = 0.0,
    **settings: Any,
) -> None:
    """Is one server of the ensemble: a program.

    Args:
        host: its door. Clients are served at its default port.
        server: this server's id.
        members: all servers, as in "server.1=zk1:2888:3888:participant".
        tick: seconds; see `Settings` and `Timing`.
        init_limit: ticks that a learner may take to be in step with its leader.
        sync_limit: ticks of silence after which a leader, or a learner, is given up.
        snap_count: transactions between two snapshots.
        snapshots_kept: how many snapshots stay.
        wire_address, wire_port: where clients of Apache's are served as well; port None for nowhere.
        retry: seconds after which a server whose disk has failed begins again with what the disk holds; 0
            leaves that to whoever started it.
        settings: the others of `Settings`.

    Raises:
        ValueError: the members, or a setting, make no sense; in one line.
        StorageFailed, StorageRefused, OSError: the disk fails, or holds what nobody must start on.
    """
    configuration = Configuration.of(map(Member.parse, members))
    if configuration.member(server) is None:
        raise ValueError(f"server {server} is not among the members: {', '.join(members)}")
    try:
        chosen = Settings(tick=tick, **settings)
    except TypeError as exc:
        raise ValueError(f"there is no such setting: {exc}") from None
    timing = Timing(tick=tick, init_limit=init_limit, sync_limit=sync_limit)

    async def doors(front: Frontend) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(grpc_door(host, front, chosen))
            if wire_port is not None:
                group.create_task(_wire_door(front, chosen, wire_address, wire_port))

    while True:
        try:
            await run(
                host,
                configuration,
                server,
                chosen,
                doors,
                timing=timing,
                snap_count=snap_count,
                snapshots_kept=snapshots_kept,
            )
        except (StorageFailed, OSError) as exc:
            host.trace("the disk fails", why=str(exc))
            if not retry:
                raise
            await asyncio.sleep(retry)


async def run(
    host: Host,
    configuration: Configuration,
    number: int,
    settings: Settings,
    doors: Opening,
    *,
    timing: Timing,
    snap_count: int = SNAP_COUNT,
    snapshots_kept: int = SNAPSHOTS_KEPT,
    broadcast: Callable[..., Replica] = Replica,
) -> None:
    """Runs a server until its disk fails, or it is cancelled.

    Args:
        host: its door.
        configuration: the ensemble, as far as the disk does not know better.
        number: this server's id.
        settings: limits and choices.
        doors: opens the doors for clients, and keeps them open.
        timing: of Zab.
        snap_count, snapshots_kept: see `serve`.
        broadcast: makes the server's part in the ensemble, as `Replica` does.

    Raises:
        StorageFailed, StorageRefused, OSError: the disk.
    """
    limits = Limits(
        data=settings.max_buffer,
        enforce_quota=settings.enforce_quota,
        time_to_live=settings.extended_types,
        reconfigure=settings.reconfigure,
        check_acl=not settings.skip_acl,
    )
    state = Server(host, configuration, settings, limits)
    replica = broadcast(
        host,
        number,
        configuration,
        timing=timing,
        snap_count=snap_count,
        keep_snapshots=snapshots_kept,
        batch=settings.batch,
    )
    state.attach(replica)
    me = configuration.member(number)
    assert me is not None
    peers = host.serve(me.quorum_port, options=SERVER_OPTIONS)
    replica.add_to(peers)
    await peers.start()
    tasks = [
        asyncio.ensure_future(replica.run(state)),
        asyncio.ensure_future(state.run()),
        asyncio.ensure_future(doors(Frontend(state))),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await peers.stop(None)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def grpc_door(host: Host, front: Frontend, settings: Settings) -> None:
    """Serves clients by gRPC, until cancelled."""
    from protos import coordination_pb2_grpc as rpc  # who has only Apache's clients does without gRPC
    from services.coordination.server.door import OVERHEAD, Door

    largest = max(LEAST_MESSAGE, settings.max_buffer + OVERHEAD)
    server = host.serve(options=[("grpc.max_receive_message_length", largest)])
    rpc.add_CoordinationServicer_to_server(Door(front, settings), server)
    await server.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await server.stop(None)


async def _wire_door(front: Frontend, settings: Settings, address: str, port: int) -> None:
    """Serves clients of Apache's, until cancelled."""
    from services.coordination.wire.door import Door as WireDoor
    from services.coordination.wire.four_letter import NAMES
    from services.coordination.wire.report import Report

    report = Report(front, {"clientPort": port}, ensemble=front.configuration)
    door = WireDoor(front, settings, report, NAMES)
    await door.start(address, port)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await door.stop()
