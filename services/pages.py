"""A small HTTP server for what a service tells people and monitors: GET and HEAD, one answer a connection.

It runs on asyncio's streams, and so in either world. Whoever says nothing is not waited for, and what went
wrong inside is said in the log and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

_LIMIT = 16 << 10  # bytes of a request
_TIMEOUT = 10.0  # seconds for it to come, and for a reader to take what was written
_CONNECTIONS = 64  # at a time: beyond, whoever comes is told so at once
_HEADERS = (
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
)

log = logging.getLogger(__name__)


class Page(Struct, frozen=True):
    """An answer. A body that comes in pieces is sent as they come, until the connection closes."""

    body: bytes | AsyncIterator[bytes]
    kind: str = "text/html; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Respond: TypeAlias = Callable[[list[str], dict[str, str]], Awaitable[Page]]
"""Takes the steps of a path and its query, and returns a page. LookupError: there is none, and why."""


def plain(words: str, status: HTTPStatus = HTTPStatus.OK) -> Page:
    """Returns a page of plain text."""
    return Page(words.encode("utf-8", "replace"), "text/plain; charset=utf-8", status)


async def serve(respond: Respond, address: str, port: int) -> asyncio.Server:
    """Returns a server that listens; its port is in `sockets`.

    Args:
        respond: makes the pages.
        address: to listen at.
        port: 0 for any that is free.

    Raises:
        OSError: it cannot listen there.
    """

    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            if connections > _CONNECTIONS:
                _answer(writer, plain("too many connections\n", HTTPStatus.SERVICE_UNAVAILABLE))
                return
            await _serve(respond, reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was does not wait for an answer
        except Exception:
            log.exception("a page could not be made")
            _answer(writer, plain("the log says why\n", HTTPStatus.INTERNAL_SERVER_ERROR))
        finally:
            connections -= 1
            writer.close()

    return await asyncio.start_server(connected, address, port, limit=_LIMIT)


async def _serve(respond: Respond, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(_TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        _answer(writer, plain("this is no request of HTTP/1\n", HTTPStatus.BAD_REQUEST))
        return
    if words[0] not in ("GET", "HEAD"):
        _answer(writer, plain("GET only\n", HTTPStatus.METHOD_NOT_ALLOWED))
        return
    try:
        target = urlsplit(words[1])
    except ValueError:
        _answer(writer, plain("this is no address\n", HTTPStatus.BAD_REQUEST))
        return
    steps = [unquote(step) for step in target.path.split("/") if step]
    query = {name: values[-1] for name, values in parse_qs(target.query).items()}
    try:
        page = await respond(steps, query)
    except LookupError as exc:
        page = plain(f"{exc.args[0] if exc.args else 'not found'}\n", HTTPStatus.NOT_FOUND)
    if isinstance(page.body, bytes):
        _answer(writer, page, silent=words[0] == "HEAD")
    else:
        writer.write(_head(page))
        async for piece in page.body:
            writer.write(piece)
            await _drained(writer)
    await _drained(writer)


async def _drained(writer: asyncio.StreamWriter) -> None:
    """Waits for a reader, who must not be too slow."""
    async with asyncio.timeout(_TIMEOUT):
        await writer.drain()


def _head(page: Page, more: str = "") -> bytes:
    first = f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nContent-Type: {page.kind}\r\n"
    return f"{first}{_HEADERS}{more}\r\n".encode()


def _answer(writer: asyncio.StreamWriter, page: Page, *, silent: bool = False) -> None:
    assert isinstance(page.body, bytes)
    writer.write(_head(page, f"Content-Length: {len(page.body)}\r\n") + (b"" if silent else page.body))
