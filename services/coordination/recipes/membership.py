"""Group membership (2.4): a member is an ephemeral znode, and so is one only while it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.api import Code, CreateMode
from services.coordination.client import NodeExists, NoNode, retry
from services.coordination.recipes.holding import Holding
from services.coordination.recipes.recoverable import create_own, ensure, remove, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from services.coordination.client import Client


class Membership(Holding):
    """What `Group.join` returns; leaving its `async with` block leaves the group.

    Attributes:
        name: of the member.
        lost: set as soon as the others may not see this member any more; join anew with a new client.
    """

    def __init__(self, client: Client, path: str, joined: int) -> None:
        super().__init__(client)
        self.name = path.rpartition("/")[2]
        self._path = path
        self._grant(joined)

    async def leave(self) -> None:
        """Leaves the group."""
        self._drop()
        await remove(self._client, self._path, self.fence)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


class Group:
    """A group.

    Args:
        client: by which.
        path: of the znode whose children the members are; created when it is not there.
    """

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path

    async def join(self, name: str = "", data: bytes = b"") -> Membership:
        """Becomes a member.

        Args:
            name: unique in the group; "" to be given one.
            data: what the others are to know, such as an address.

        Raises:
            NodeExists: there is a member of that name.
        """
        client = self._client
        if not name:
            path, stat = await create_own(client, self._path, "member", data)
            return Membership(client, path, stat.czxid)
        path = f"{self._path}/{name}"
        while True:
            try:
                await retry(client.create, path, data, mode=CreateMode.EPHEMERAL)
            except NoNode:
                await ensure(client, self._path)
                continue
            except NodeExists:
                await retry(client.sync)  # perhaps by this very call, whose first answer was lost
            found = await retry(client.exists, path)
            if found is None:
                continue
            if found.ephemeral_owner != client.session:
                raise NodeExists(Code.NODE_EXISTS, path)
            return Membership(client, path, found.czxid)

    async def members(self) -> dict[str, bytes]:
        """Returns the members' data by their names."""
        client = self._client
        members = {}
        try:
            for name in await retry(client.children, self._path):
                try:
                    data, _ = await retry(client.get, f"{self._path}/{name}")
                except NoNode:
                    continue  # it has left since
                members[name] = data
        except NoNode:
            pass
        return members

    async def follow(self) -> AsyncIterator[tuple[str, ...]]:
        """Yields the members' names, and again whenever they have changed."""
        await ensure(self._client, self._path)
        while True:
            names, changed = await watched(self._client.children, self._path)
            yield names
            await changed
