"""Names: what a channel's target and a server's address mean in the simulated world."""

from __future__ import annotations

from msgspec import Struct

from services.host import DEFAULT_PORT

_HERE = ("localhost", "127.0.0.1", "[::1]", "[::]", "0.0.0.0", "::", "::1", "")


class Target(Struct, frozen=True):
    """Where a channel goes.

    Attributes:
        text: as it was given.
        host, port: the simulated host and its port.
    """

    text: str
    host: str
    port: int

    def refusal(self, why: str) -> str:
        """Returns gRPC's words for an attempt that failed."""
        if why.startswith("no host"):
            at = f"{self.host}:{self.port}"
            return (
                f"errors resolving {at}: [field:hostname lookup error:"
                f"address lookup failed for {at}: Domain name not found]"
            )
        words = why[:1].upper() + why[1:]
        return f"{self._last()}: Failed to connect to remote host: {words}"

    def mute(self) -> str:
        """Returns gRPC's words for a server that accepts and says nothing."""
        return f"{self._last()}: connection attempt timed out before receiving SETTINGS frame"

    def _last(self) -> str:
        return f"failed to connect to all addresses; last error: UNKNOWN: {address(self.host, self.port)}"


def address(host: str, port: int) -> str:
    """Returns how gRPC names an end of a connection: "ipv4:host:port"."""
    return f"ipv4:{host}:{port}"


def parse_target(text: str, here: str) -> Target:
    """Understands "name", "name:port", "dns:///name:port", "ipv4:name:port", and loopback addresses.

    Args:
        text: the target.
        here: the name of the host that asks, which is what loopback addresses mean.

    Raises:
        ValueError: it is something else, e.g. a Unix socket.
    """
    rest = text
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:", "passthrough:///"):
        if rest.startswith(scheme):
            rest = rest[len(scheme) :].lstrip("/")
            break
    else:
        if rest.startswith(("unix:", "unix-abstract:", "xds:", "vsock:")):
            raise ValueError(
                f'target {text!r}: simulated hosts are reached by name, as "name" or "name:port"'
            )
    host, port = split(rest, text)
    return Target(text, here if host in _HERE else host, DEFAULT_PORT if port is None else port)


def parse_address(text: str) -> int:
    """Returns the port of an address to serve on, 0 for any ("[::]:50051", "0.0.0.0:0", "localhost").

    Raises:
        ValueError: it has no such form.
    """
    rest = text
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        if rest.startswith(scheme):
            rest = rest[len(scheme) :]
            break
    if rest.startswith(("unix:", "unix-abstract:", "vsock:")):
        raise ValueError(f'address {text!r}: a simulated host serves on ports, as "[::]:50051"')
    _, port = split(rest, text)
    return 0 if port is None else port


def split(rest: str, text: str) -> tuple[str, int | None]:
    """Splits "host:port", "[v6]:port" or "host".

    Raises:
        ValueError: the port is not one.
    """
    host, port = rest, ""
    if rest.startswith("[") and "]" in rest:
        host, _, tail = rest.partition("]")
        host += "]"
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    if not port:
        return host, None
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r}: {port!r} is not a port (0 to 65535)")
    return host, int(port)
