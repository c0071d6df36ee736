"""The witness: a register that holds who is in charge, changed one step at a time.

It decides nothing. Its whole duty is that each view number is handed out once, to a primary that has
the whole log, and that it never forgets: a view is durable before anybody hears of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from protos import log_pb2 as pb
from protos import log_pb2_grpc as rpc
from services.primary_backup.timing import RETRY

if TYPE_CHECKING:
    from services.host import Context, Disk, Host

FILE = "view"


class Witness(rpc.WitnessServicer):
    """The register, on its host's disk."""

    def __init__(self, disk: Disk, view: pb.View) -> None:
        self._disk = disk
        self._view = view
        self._changing = asyncio.Lock()

    async def Current(self, request: pb.Nothing, context: Context) -> pb.View:
        """The view that holds."""
        return self._view

    async def Propose(self, request: pb.View, context: Context) -> pb.View:
        """Makes a view the next one, if it may be."""
        try:
            # A change that has begun is finished even if the caller no longer waits.
            await asyncio.shield(asyncio.ensure_future(self._change(request)))
        except OSError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the witness's disk fails: {exc}")
        return self._view

    async def _change(self, wanted: pb.View) -> None:
        async with self._changing:
            if may_follow(self._view, wanted):
                await self.keep(wanted)

    async def keep(self, view: pb.View) -> None:
        """Makes a view durable, then visible.

        Raises:
            OSError: the disk fails; the old view still holds, for all that anybody was told.
        """
        draft = await self._disk.open(FILE + ".draft", "w")
        await draft.append(view.SerializeToString())
        await draft.sync()
        await draft.close()
        await self._disk.rename(FILE + ".draft", FILE)
        await self._disk.sync()
        self._view = view


def may_follow(view: pb.View, wanted: pb.View) -> bool:
    """Says whether `wanted` may be the next view after `view`."""
    return (
        wanted.number == view.number + 1
        and wanted.primary in (view.primary, view.backup)
        and wanted.primary not in ("", wanted.backup)
    )


async def witness(host: Host, primary: str, backup: str) -> None:
    """Program: serves the witness.

    Args:
        host: its door.
        primary: who is in charge at the very beginning, with an empty log.
        backup: the other replica.
    """
    register = Witness(host.disk, pb.View(number=1, primary=primary, backup=backup))
    while True:
        try:
            if await host.disk.exists(FILE):
                file = await host.disk.open(FILE)
                stored = pb.View.FromString(await file.read())
                await file.close()
            else:
                stored = pb.View(number=1, primary=primary, backup=backup)
            await register.keep(stored)  # what was read may not have been durable yet
            break
        except OSError:
            await asyncio.sleep(RETRY)
    server = host.serve()
    rpc.add_WitnessServicer_to_server(register, server)
    await server.start()
    await server.wait_for_termination()
