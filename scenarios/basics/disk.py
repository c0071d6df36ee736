"""What a crash leaves on a disk: four promises that POSIX makes, and what it does not promise.

Each host writes the same four things and says when it has done so; then all crash at once, and start
again. Bytes that were appended and synced are there. Bytes that were not may be gone, or half of them.
A file that was renamed over another is there for certain only when the folder was synced as well;
until then the old one may come back: but never a mixture of the two. (Pillai et al., "All File
Systems Are Not Created Equal", OSDI 2014, shows how many programs get this wrong.)

In the real world a killed process loses nothing that it gave to the operating system, so there the
unsynced bytes are usually still there; the simulated crash is a power cut.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from protos.echo_pb2 import Words
from protos.echo_pb2_grpc import EchoStub, add_EchoServicer_to_server
from services.echo import Echo
from sim import World, scenario
from sim.faults import Crash

if TYPE_CHECKING:
    from services.host import Host

OLD, NEW = "the old settings", "the new settings"
LINE = "a line of the journal\n"


class Writer(Echo):
    """Writes when told to, and says what is on its disk."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def Say(self, request: Words, context: Any) -> Words:
        """Does what `text` says: "prepare", "write" or "read"."""
        if request.text == "prepare":
            await self.prepare()
        elif request.text == "write":
            await self.write()
        return Words(text=msgspec.json.encode(await self.read()).decode())

    async def prepare(self) -> None:
        """Lays down what is there before: two settings, two empty journals, all of it durable."""
        disk = self.host.disk
        for name, content in {
            "kept.settings": OLD,
            "hoped.settings": OLD,
            "kept.log": "",
            "hoped.log": "",
        }.items():
            file = await disk.open(name, "w")
            await file.append(content.encode())
            await file.sync()
            await file.close()
        await disk.sync()

    async def write(self) -> None:
        """Appends twice and renames twice: once with all that POSIX asks for, once without."""
        disk = self.host.disk
        kept, hoped = await disk.open("kept.log", "a"), await disk.open("hoped.log", "a")
        for _ in range(20):
            await kept.append(LINE.encode())
            await hoped.append(LINE.encode())
        await kept.sync()  # and hoped is not

        for name in ("kept", "hoped"):
            draft = await disk.open(f"{name}/draft", "w")
            await draft.append(NEW.encode())
            await draft.sync()  # the bytes are durable before the name points to them
        await disk.rename("kept/draft", "kept.settings")
        await disk.sync()  # and so is the name
        await disk.rename("hoped/draft", "hoped.settings")

    async def read(self) -> dict[str, str]:
        """Returns the content of every file in the folder."""
        found = {}
        for name in await self.host.disk.list():
            if "." in name:
                file = await self.host.disk.open(name)
                found[name] = (await file.read()).decode(errors="replace")
                await file.close()
        return found


async def serve(host: Host) -> None:
    """A writer, until the host is stopped."""
    server = host.serve()
    add_EchoServicer_to_server(Writer(host), server)
    await server.start()
    await server.wait_for_termination()


@scenario(
    checks=("synced bytes survive", "synced rename survives", "unsynced bytes", "unsynced rename"),
    plots=("spacetime",),
)
async def disk(world: World, *, hosts: Annotated[int, Meta(ge=1, le=100)] = 4) -> None:
    """Appends and renames, with and without sync, then a crash: what survived."""
    names = [f"disk{number}" for number in range(1, hosts + 1)]
    for name in names:
        await world.start(name, serve)
    await world.serving(*names)
    client = world.client("client")
    stubs = {name: EchoStub(client.connect(name)) for name in names}

    async def tell(name: str, what: str) -> dict[str, str]:
        reply = await stubs[name].Say(Words(text=what), timeout=30, wait_for_ready=True)
        found: dict[str, str] = msgspec.json.decode(reply.text)
        return found

    await asyncio.gather(*(tell(name, "prepare") for name in names))
    await asyncio.gather(*(tell(name, "write") for name in names))
    for name in names:
        await world.inject(Crash(host=name))
    await asyncio.sleep(0.02)
    await world.heal()  # each starts again, on the same disk
    await world.serving(*names)

    journal = LINE * 20
    bytes_left, settings = Counter[str](), Counter[str]()
    for name in names:
        found = await tell(name, "read")
        world.note("survived", on=name, **{key: len(value) for key, value in found.items()})
        world.check("synced bytes survive", found["kept.log"] == journal, "all of them, on every host")
        world.check("synced rename survives", found["kept.settings"] == NEW, "on every host")

        hoped = found["hoped.log"]
        bytes_left["all" if hoped == journal else "some" if hoped else "none"] += 1
        world.check("unsynced bytes", journal.startswith(hoped), _counted(bytes_left, "of them are left"))
        name_is = found["hoped.settings"]
        settings["old" if name_is == OLD else "new"] += 1
        world.check("unsynced rename", name_is in (OLD, NEW), _counted(settings, "file is there"))


def _counted(counts: Counter[str], what: str) -> str:
    return "; ".join(f"{word} {what} on {number}" for word, number in sorted(counts.items()))


if __name__ == "__main__":
    disk.main()
