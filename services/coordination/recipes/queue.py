"""A distributed queue (Apache's recipe, with claims): first in, first out, one consumer an element.

Apache's simple queue deletes an element to take it: when the answer is lost, or the consumer dies, the
element is gone and nobody has it. Here a consumer first *claims* it with an ephemeral znode, and the element
leaves the queue, together with the claim, when the consumer says that it is done with it.

Invariants: an element is with one consumer at a time; no crash loses one; one that was acknowledged never
comes again; one whose consumer's session ended before that comes again, before all that are behind it. An
element is in the queue once, however often its `put` had to be asked for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.coordination.api import Code, CoordinationError, CreateMode
from services.coordination.client import ConnectionLoss, NoNode, TransactionFailed, retry
from services.coordination.recipes.holding import Holding
from services.coordination.recipes.recoverable import any_of, draw_guid, ensure, remove, sequence, watched

if TYPE_CHECKING:
    from typing import Self

    from services.coordination.api import Stat
    from services.coordination.client import Client


class Queue:
    """A queue.

    Args:
        client: whose session claims elements.
        path: of the queue's znode; created when it is not there.

    Attributes:
        wakeups: how often waiting for an element was interrupted to look again.
    """

    def __init__(self, client: Client, path: str) -> None:
        self.wakeups = 0
        self._client = client
        self._elements = f"{path}/elements"
        self._claims = f"{path}/claims"
        self._marks = f"{path}/marks"

    async def put(self, data: bytes) -> None:
        """Adds an element at the end.

        With it, in the same transaction, goes a mark by which this call knows, if the answer is lost, that
        the element is in the queue, or was: it may have been consumed since.

        Raises:
            SessionExpired: the session is over; the element may be in the queue.
        """
        client = self._client
        mark = f"{self._marks}/{draw_guid(client)}"
        try:
            while True:
                transaction = client.transaction()
                transaction.create(f"{self._elements}/", data, mode=CreateMode.PERSISTENT_SEQUENTIAL)
                transaction.create(mark, mode=CreateMode.EPHEMERAL)
                try:
                    await transaction.commit()
                    return
                except ConnectionLoss:
                    continue
                except TransactionFailed as exc:
                    if exc.code is Code.NODE_EXISTS:
                        return  # the mark: the time before had succeeded
                    if exc.code is not Code.NO_NODE:
                        raise
                    await self._prepare()
        finally:
            client.in_background(remove(client, mark))

    async def get(self) -> Element:
        """Returns the first element that nobody has, waiting for one if need be.

        Raises:
            SessionExpired: the session is over.
        """
        while True:
            try:
                names, arrival = await watched(self._client.children, self._elements)
                claims, release = await watched(self._client.children, self._claims)
            except NoNode:
                await self._prepare()
                continue
            try:
                claimed = dict.fromkeys(claims)
                for name in sorted(names, key=sequence):
                    if name not in claimed and (element := await self._claim(name)) is not None:
                        return element
                await any_of(arrival, release)
                self.wakeups += 1
            finally:
                self._client.forget(arrival)
                self._client.forget(release)

    async def _claim(self, name: str) -> Element | None:
        """Claims an element; None when it is gone, or another consumer's."""
        client, path, claim = self._client, f"{self._elements}/{name}", f"{self._claims}/{name}"
        guid = draw_guid(client).encode()
        doubtful = False
        try:
            while True:
                transaction = client.transaction()
                transaction.check(path)
                transaction.create(claim, guid, mode=CreateMode.EPHEMERAL)
                try:
                    await transaction.commit()
                except ConnectionLoss:
                    doubtful = True
                    continue
                except TransactionFailed as exc:
                    if exc.code not in (Code.NO_NODE, Code.NODE_EXISTS):
                        raise
                    if not doubtful or await self._claimed(claim, guid) is None:
                        return None
                (data, _), (_, claimed) = await asyncio.gather(
                    retry(client.get, path), retry(client.get, claim)
                )
                return Element(client, path, claim, data, claimed.czxid)
        except BaseException:
            client.in_background(self._withdraw(claim, guid))
            raise

    async def _claimed(self, claim: str, guid: bytes) -> Stat | None:
        """Returns the stat of a claim, if it is the one with this GUID."""
        try:
            holder, stat = await retry(self._client.get, claim)
        except NoNode:
            return None
        return stat if holder == guid else None

    async def _withdraw(self, claim: str, guid: bytes) -> None:
        await retry(self._client.sync)
        if (stat := await self._claimed(claim, guid)) is not None:
            await remove(self._client, claim, stat.czxid)

    async def _prepare(self) -> None:
        for path in (self._elements, self._claims, self._marks):
            await ensure(self._client, path)


class Element(Holding):
    """An element that this consumer has: `async with await queue.get() as element: ...`.

    Leaving the block acknowledges it; an exception gives it back.

    Attributes:
        data: what was put.
        lost, fence: see `Holding`; when it is lost another consumer may have it.
    """

    def __init__(self, client: Client, path: str, claim: str, data: bytes, fence: int) -> None:
        super().__init__(client)
        self.data = data
        self._path = path
        self._claim = claim
        self._grant(fence)

    async def done(self) -> None:
        """Acknowledges it: it never comes again.

        Raises:
            SessionExpired: the session is over. Unless an answer was lost before, it comes again.
            CoordinationError: the claim is not this consumer's any more.
        """
        client = self._client
        doubtful = False
        while True:
            transaction = client.transaction()
            transaction.delete(self._path)
            transaction.delete(self._claim)
            try:
                await transaction.commit()
                break
            except ConnectionLoss:
                doubtful = True
            except CoordinationError as exc:
                if doubtful and exc.code is Code.NO_NODE and exc.path == self._path:
                    break  # nobody else could: the first time had succeeded
                raise
        self._drop()

    async def release(self) -> None:
        """Gives it back: somebody else gets it."""
        self._drop()
        await remove(self._client, self._claim, self.fence)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.done()
        else:
            await self.release()
