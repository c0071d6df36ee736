"""Leader election (Apache's recipe): the lock without herd effect, with names in the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from services.coordination.client import NoNode, retry
from services.coordination.recipes.lock import Lock
from services.coordination.recipes.recoverable import ensure, sequence, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.coordination.client import Client


class Election(Lock):
    """A candidacy: `async with Election(client, "/leader", b"me") as term: ...` runs while one leads.

    Args:
        client: whose session stands for the candidate.
        path: of the znode below which the candidates are.
        identity: who one is, for the others.

    Attributes:
        lost: set as soon as there may be another leader: stop leading.
        fence: greater than that of every earlier leader: an epoch.
        wakeups: see `Holding`.
    """

    kind: ClassVar[str] = "candidate"

    def __init__(self, client: Client, path: str, identity: bytes) -> None:
        super().__init__(client, path, identity)


async def leader(client: Client, path: str) -> bytes | None:
    """Returns the identity of who leads, as this client's server knows it; None: nobody."""
    while True:
        try:
            names = await retry(client.children, path)
            if not names:
                return None
            first = min(names, key=sequence)
            data, _ = await retry(client.get, f"{path}/{first}")
            return data
        except NoNode:  # it has gone between the two
            if await retry(client.exists, path) is None:
                return None


async def leaders(client: Client, path: str) -> AsyncIterator[bytes | None]:
    """Yields who leads, and whoever leads next. One that leads for a moment only may be left out."""
    await ensure(client, path)
    last: str | None = ""
    while True:
        names, changed = await watched(client.children, path)
        first = min(names, key=sequence, default=None)
        if first is None:
            data = None
        elif first != last:
            try:
                data, _ = await retry(client.get, f"{path}/{first}")
            except NoNode:
                client.forget(changed)
                continue
        if first != last:
            last = first
            yield data
        await changed
