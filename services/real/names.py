"""The name service of a cluster: a folder with one small file for each port of each host.

`kv1:50051` is a name inside the cluster; where it is on this machine says the file of that name, for
example `127.0.0.1:23117`. Whoever needs the address first, the server or a client of it, reserves it,
and it stays for the life of the cluster. So a host that is not there yet is to gRPC what any absent
peer is, an address that nobody listens on, and one that was restarted is found where it was.

Ports are drawn from below the range that the system gives to outgoing connections, for while
a host is down none of those may take its port.
"""

from __future__ import annotations

import os
import random
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from services.host import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What may name a host: it is also a folder and part of a target."""

_LOWEST, _HIGHEST = 15_000, 32_000  # where ports are drawn from, unless the system says otherwise
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def parse_target(target: str) -> tuple[str, int]:
    """Splits "name" or "name:port" into the name and the port.

    Raises:
        ValueError: it is neither.
    """
    name, _, port = target.partition(":")
    if not NAME.fullmatch(name) or (port and not port.isdigit()) or target.endswith(":"):
        raise ValueError(f'target "{target}" is neither "name" nor "name:port"')
    return name, int(port) if port else DEFAULT_PORT


def parse_port(address: str) -> int:
    """Returns the port of an address to listen on, such as "[::]:50051".

    Raises:
        ValueError: it has none.
    """
    port = address.rpartition(":")[2]
    if not port.isdigit():
        raise ValueError(f'address "{address}" does not end in ":port"')
    return int(port)


def reached_at(listen: str) -> str:
    """Returns an address at which a server that listens on `listen` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(listen, listen)


class Names:
    """The names of one cluster.

    Args:
        folder: where the files are.
        address: the network address that hosts of this machine are reached at.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self._folder = folder
        self._address = address
        self._known: dict[tuple[str, int], str] = {}

    def resolve(self, name: str, port: int) -> str:
        """Returns the real address of a host's port, reserving one when nobody has yet."""
        known = self._known.get((name, port))
        if known is None:
            path = self._folder / f"{name}:{port}"
            known = self._read(path) or self._reserve(path)
            self._known[name, port] = known
        return known

    def reserve_again(self, name: str, port: int) -> str:
        """Gives up an address that turned out to be somebody else's, for another."""
        (self._folder / f"{name}:{port}").unlink(missing_ok=True)
        self._known.pop((name, port), None)
        return self.resolve(name, port)

    def _read(self, path: Path) -> str | None:
        try:
            return path.read_text()
        except FileNotFoundError:
            return None

    def _reserve(self, path: Path) -> str:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(f"{self._address}:{free_port(self._address)}")
        try:
            os.link(draft, path)  # fails if another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text()


def free_port(address: str) -> int:
    """Returns a port on which nobody listens now.

    Raises:
        OSError: there is none, or the address is not one of this machine's.
    """
    for port in _candidates():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            try:
                probe.bind((address.strip("[]"), port))
            except OSError as exc:
                if exc.errno not in _TAKEN:
                    raise
                continue
            taken: int = probe.getsockname()[1]
            return taken
    raise OSError(f"no free port on {address}")


_TAKEN = (98, 48, 13)  # EADDRINUSE on Linux and elsewhere, EACCES


def _candidates() -> Iterator[int]:
    highest = _HIGHEST
    try:
        highest = min(highest, int(_RANGE.read_text().split()[0]))
    except (OSError, ValueError):
        highest = 0  # not known where outgoing connections are: let the system choose
    if highest > _LOWEST:
        for _ in range(200):
            yield random.SystemRandom().randrange(_LOWEST, highest)
    yield 0
