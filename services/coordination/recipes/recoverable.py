"""What all recipes stand on: creates that can be found again, deletes that happen, reads that are watched.

When the connection breaks before a create was answered, nobody knows whether it took effect. With a
sequential znode that is worse than a lost one: it may be there under a name that nobody knows, and a lock
would wait for it until the session ends. So its name begins with a GUID (Apache's recipes: "recoverable
errors and the GUID"), and whoever is in doubt looks for it, after a `sync`: the server that is asked now may
be behind the one that took the create.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from services.coordination.api import CreateMode
from services.coordination.client import ConnectionLoss, NodeExists, NoNode, SessionExpired, Watch, retry

if TYPE_CHECKING:
    from services.coordination.api import Stat
    from services.coordination.client import Client

DIGITS = 10  # of the counter at the end of a sequential name


class WatchedRead(Protocol):
    """`Client.get`, `exists` or `children`."""

    def __call__(self, path: str, *, watch: Watch | None = None) -> asyncio.Future[Any]:
        """Reads and leaves a watch."""
        ...


async def watched(read: WatchedRead, path: str) -> tuple[Any, Watch]:
    """Reads, again if need be, and returns what was read and the watch that was left."""

    async def once() -> tuple[Any, Watch]:
        watch = Watch()
        return await read(path, watch=watch), watch

    return await retry(once)


async def any_of(*watches: Watch) -> None:
    """Returns when one of them has fired.

    Raises:
        CoordinationError: the session is over.
    """
    waits = [asyncio.ensure_future(_event_of(watch)) for watch in watches]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()


async def _event_of(watch: Watch) -> None:
    await watch


def draw_guid(client: Client) -> str:
    """Returns a name that nobody else has."""
    return f"{client.host.rng.getrandbits(128):032x}"


def sequence(name: str) -> int:
    """Returns the counter at the end of a name."""
    return int(name[-DIGITS:])


async def ensure(client: Client, path: str) -> None:
    """Creates a znode and its ancestors, those that are not there."""
    try:
        await retry(client.create, path)
    except NodeExists:
        pass
    except NoNode:
        await ensure(client, path.rpartition("/")[0])
        await ensure(client, path)


async def create_own(client: Client, parent: str, kind: str, data: bytes = b"") -> tuple[str, Stat]:
    """Creates an ephemeral sequential child of `parent`, once, and returns its path and stat.

    Its name is `<guid>-<kind>-<counter>`. A caller that gives up meanwhile leaves none behind.

    Args:
        client: whose session owns it.
        parent: created as well, when it is not there.
        kind: what it is there for.
        data: what it holds.

    Raises:
        CoordinationError: it cannot be created.
    """
    guid = draw_guid(client)
    prefix = f"{parent}/{guid}-{kind}-"
    try:
        while True:
            try:
                return await client.create_with_stat(prefix, data, mode=CreateMode.EPHEMERAL_SEQUENTIAL)
            except ConnectionLoss:
                if (found := await _find(client, parent, guid)) is not None:
                    stat = await retry(client.exists, found)
                    if stat is not None:
                        return found, stat
            except NoNode:
                await ensure(client, parent)
    except asyncio.CancelledError:
        client.in_background(_discard(client, parent, guid))
        raise


async def remove(client: Client, path: str, born: int | None = None) -> None:
    """Deletes what only this session would delete, even if the caller gives up meanwhile.

    Args:
        client: whose session.
        path: of the znode.
        born: its czxid, if another of the same name may come after it. When an answer is lost, the
            znode that is there now is deleted only if it is still the same.
    """
    try:
        while True:
            try:
                await client.delete(path)
                return
            except ConnectionLoss:
                await retry(client.sync)
                stat = await retry(client.exists, path)
                if stat is None or (born is not None and stat.czxid != born):
                    return
    except (NoNode, SessionExpired):
        pass  # it is gone, or goes with the session
    except asyncio.CancelledError:
        client.in_background(remove(client, path, born))
        raise


async def _find(client: Client, parent: str, guid: str) -> str | None:
    """Returns the path of the child whose name begins with the GUID."""
    await retry(client.sync)
    try:
        names = await retry(client.children, parent)
    except NoNode:
        return None
    return next((f"{parent}/{name}" for name in names if name.startswith(guid)), None)


async def _discard(client: Client, parent: str, guid: str) -> None:
    if (path := await _find(client, parent, guid)) is not None:
        await remove(client, path)
