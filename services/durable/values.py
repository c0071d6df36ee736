"""Small values that are there whole, old or new, whatever happens meanwhile."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from services.durable.errors import StorageRefused

if TYPE_CHECKING:
    from services.host import Disk

PART = ".part"
"""At the end of the names of files that are being written; what a crash leaves of them is removed."""


async def save(disk: Disk, path: str, value: str) -> None:
    """Puts a text in the place of a file's content; durable on return.

    Raises:
        OSError: the disk fails; old or new is there.
    """
    draft = await disk.open(path + PART, "w")
    try:
        await draft.append(f"{value}\n{zlib.crc32(value.encode()):08x}\n".encode())
        await draft.sync()
    finally:
        await draft.close()
    await disk.rename(path + PART, path)
    await disk.sync(path.rpartition("/")[0])


async def load(disk: Disk, path: str, cure: str) -> str | None:
    """Returns what `save` wrote, None if there is no such file.

    Args:
        disk: where it is.
        path: the file.
        cure: what a person can do when it is damaged.

    Raises:
        StorageRefused: it is damaged.
    """
    try:
        file = await disk.open(path)
    except FileNotFoundError:
        return None
    try:
        data = await file.read()
    finally:
        await file.close()
    value, _, checksum = data.decode(errors="replace").removesuffix("\n").rpartition("\n")
    if f"{zlib.crc32(value.encode()):08x}" != checksum or not data.endswith(b"\n"):
        raise StorageRefused(f"{path} is damaged: {cure}")
    return value
