"""The small HTTP server: what strangers do to it does not cost the service more than a few connections."""

from __future__ import annotations

import asyncio
import contextlib

from services import pages


async def get(port: int, path: str = "/") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 10)
    return b""


def test_beyond_so_many_connections_who_comes_is_refused_and_is_served_when_others_have_gone() -> None:
    async def respond(steps: list[str], query: dict[str, str]) -> pages.Page:
        return pages.plain("here\n")

    async def main() -> None:
        server = await pages.serve(respond, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(pages._CONNECTIONS)]
        await asyncio.sleep(0.05)
        assert b" 200 " not in await get(port)  # "503", unless the kernel drops it with the unread request
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(5):
            while b" 200 " not in await get(port):
                await asyncio.sleep(0.01)
        server.close()

    asyncio.run(main())
