"""The shared file system of MapReduce: one interface (`api.py`), two implementations.

- `services.real.shared_folder`: a folder that all processes share.
- This package: a small replicated file service after GFS. `namespace.py` (rules), `journal.py` (durability)
  and `replicas.py` (placement) make the master (`master.py`); `blocks.py` and `chunkserver.py` keep the
  bytes; `client.py` is the `FileSystem`, and `view.py` what synchronous code in a child sees of it.
  `server.py` runs a master and a chunkserver on one host, `beside.py` a chunkserver beside another program.

What holds, whatever crashes, is cut off or tears: see `master.py`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.files.api import FileSystem
    from services.host import Host

FOLDER = "folder:"


def connect(host: Host, address: str) -> FileSystem:
    """Returns the file system at an address.

    Args:
        host: who uses it.
        address: "folder:/some/path" (paths are relative to it; "folder:/" is the whole machine); "host" or
            "host:port" of a file service's master; or "package.module:factory", which is called with the
            host.

    Raises:
        ValueError: the address is none of these, or its factory cannot be imported.
    """
    if address.startswith(FOLDER):
        from services.real.shared_folder import SharedFolder

        return SharedFolder(address.removeprefix(FOLDER) or "/")
    name, colon, rest = address.partition(":")
    if colon and not rest.isdecimal():
        try:
            system: FileSystem = getattr(importlib.import_module(name), rest)(host)
        except (ImportError, AttributeError, ValueError) as exc:
            raise ValueError(f'file system "{address}": {exc}') from exc
        return system
    if not name:
        raise ValueError(f'file system "{address}": neither folder:PATH, HOST[:PORT] nor MODULE:FACTORY')
    from services.files.client import FileClient

    return FileClient(host, address)
