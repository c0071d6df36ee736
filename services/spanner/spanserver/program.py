"""A spanserver on one host: TrueTime, storage, groups, doors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from protos import spanner_pb2_grpc as rpc
from services.spanner.replica import SERVER_OPTIONS
from services.spanner.spanserver.administration import Administration
from services.spanner.spanserver.calls import Calls
from services.spanner.spanserver.door import Door
from services.spanner.spanserver.server import Spanserver
from services.spanner.spanserver.settings import founding_of, schema_of, settings_of
from services.spanner.storage import Storage, StorageFailed
from services.spanner.truetime.fixed import FixedTrueTime
from services.spanner.truetime.settings import masters_of
from services.spanner.truetime.timeslave import Timeslave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.host import Host
    from services.spanner.spanserver.settings import Founding, Settings


async def serve(
    host: Host,
    *,
    zone: str = "",
    masters: Sequence[Any] = (),
    groups: Sequence[dict[str, Any]] = (),
    schema: str = "",
    locations: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
) -> None:
    """Is a spanserver: a program.

    Args:
        host: its door. Everybody is served at its default port.
        zone: where it is.
        masters: time masters, as `truetime.settings.masters_of` takes them.
        groups: those that there are from the beginning, as `Founding` has them; others are created later.
        schema: the first one of these, encoded, in hexadecimal; "" for one without tables.
        locations: names of location proxies, to find the leaders of groups that are not here.
        settings: as `Settings` has them.

    Raises:
        ValueError: a parameter makes no sense; in one line.
        StorageFailed, StorageRefused: the disk fails, or holds what nobody must start on.
        InvariantBroken: a rule found itself broken.
    """
    founding, chosen = founding_of(groups), settings_of(settings or {})
    first = schema_of(schema)
    while True:
        try:
            await run(host, zone, masters, founding, first, locations, chosen)
        except StorageFailed as exc:
            host.trace("the disk fails", why=str(exc))
            if not chosen.retry_s:
                raise
            await asyncio.sleep(chosen.retry_s)


async def run(
    host: Host,
    zone: str,
    masters: Sequence[Any],
    founding: Sequence[Founding],
    schema: bytes,
    locations: Sequence[str],
    chosen: Settings,
    calls: Callable[[Spanserver], Calls] = Calls,
) -> None:
    """Is a spanserver, as `serve` is.

    Args:
        host, zone, masters, locations: see there.
        founding, schema, chosen: its groups, their first schema, and settings.
        calls: makes what answers clients, of the server; experiments put the cost of work there.
    """
    background: list[asyncio.Future[Any]] = []
    if chosen.epsilon_ns:
        truetime: Any = FixedTrueTime(host.clock, chosen.epsilon_ns)
    else:
        truetime = Timeslave(host, masters_of(list(masters)), chosen.truetime, zone=zone)
        background.append(asyncio.ensure_future(truetime.run()))
    server = None  # one that was never started keeps its port: it is made when it can be
    try:
        storage = await Storage.open(host.disk, host.rng, chosen.universe, host.name)
        for line in storage.repaired:
            host.trace("storage repaired", what=line)
        spanserver = Spanserver(host, zone, storage, truetime, locations, chosen)
        server = host.serve(options=SERVER_OPTIONS)
        spanserver.replicas.add_to(server)
        rpc.add_SpanserverServicer_to_server(Door(calls(spanserver), Administration(spanserver)), server)
        background.append(asyncio.ensure_future(spanserver.run(founding, schema)))
        await server.start()
        await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
        for task in background:
            if task.done():
                task.result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        if server is not None:
            await server.stop(None)
