"""What callers get of a reply: one function a shape, which returns it or raises what the code says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.coordination.api import Acl, Code, Identity, Reply, Stat
from services.coordination.client.errors import error

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.client.session import Finish
    from services.coordination.client.watches import Watch


def result_of(reply: Reply, path: str) -> Any:
    """Returns the result."""
    if reply.code:
        raise error(reply.code, path)
    return reply.result


def nothing(reply: Reply, path: str) -> None:
    """Returns nothing."""
    if reply.code:
        raise error(reply.code, path)


def stat_of(reply: Reply, path: str) -> Stat:
    """Returns the stat."""
    return result_of(reply, path).stat  # type: ignore[no-any-return]


def stat_or_none(reply: Reply, path: str) -> Stat | None:
    """Returns the stat, None where there is no znode."""
    return None if reply.code is Code.NO_NODE else stat_of(reply, path)


def data_of(reply: Reply, path: str) -> tuple[bytes, Stat]:
    """Returns data and stat; null, which some clients of ZooKeeper write, is empty here."""
    result = result_of(reply, path)
    return result.data or b"", result.stat


def data_only(reply: Reply, path: str) -> bytes:
    """Returns the data."""
    return result_of(reply, path).data or b""


def names_of(reply: Reply, path: str) -> tuple[str, ...]:
    """Returns the names of children."""
    return result_of(reply, path).names  # type: ignore[no-any-return]


def acl_of(reply: Reply, path: str) -> tuple[tuple[Acl, ...], Stat]:
    """Returns the access control list and the stat."""
    result = result_of(reply, path)
    return result.acl, result.stat


def count_of(reply: Reply, path: str) -> int:
    """Returns a number."""
    return result_of(reply, path).count  # type: ignore[no-any-return]


def identities_of(reply: Reply, path: str) -> tuple[Identity, ...]:
    """Returns who the session is."""
    return result_of(reply, path).identities  # type: ignore[no-any-return]


def arming(finish: Finish, watch: Watch, full: str, arm: Callable[[str, Watch, Any], None]) -> Finish:
    """Returns what arms `watch` when the read succeeds, and otherwise has it fail like the read.

    Args:
        finish: of the read.
        watch: that was given to the read.
        full: the server's path.
        arm: takes path, watch and what the read returned.
    """

    def finish_and_arm(reply: Reply, path: str) -> Any:
        try:
            value = finish(reply, path)
        except Exception as exc:
            watch.fail(exc)
            raise
        arm(full, watch, value)
        return value

    return finish_and_arm
