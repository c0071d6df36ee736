"""Quotas: how many znodes and bytes a subtree may have (Apache's, with its layout).

The limits of /a/b are in /zookeeper/quota/a/b/zookeeper_limits, and what is there in
/zookeeper/quota/a/b/zookeeper_stats, both as "count=4,bytes=5" with optional
"=;byteHardLimit=6;countHardLimit=7"; -1 is no limit. Hard limits refuse what would exceed them, soft ones
only warn.

Statistics are not stored: they are counted along with what is really there, and written out when they are
read. So a replay cannot count anything twice. Unlike Apache's, each of several quotas on one path counts
everything below it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from services.coordination.api import Code, CoordinationError
from services.coordination.state.paths import QUOTA, ROOT, ZOOKEEPER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMITS = "/zookeeper_limits"
STATISTICS = "/zookeeper_stats"

_PAIR = re.compile(r"(\w+)=(-?\d{1,18})?=?")


class Usage(Struct, gc=False):
    """What there is in a subtree, its root included."""

    count: int = 0
    size: int = 0

    def text(self) -> bytes:
        """Returns it as the statistics say it."""
        return b"count=%d,bytes=%d" % (self.count, self.size)


class Limit(Struct, frozen=True):
    """What there may be; -1 for no limit."""

    count: int = -1
    size: int = -1
    count_hard: int = -1
    size_hard: int = -1


@lru_cache(1024)
def parse(data: bytes | None) -> Limit:
    """Reads limits.

    Raises:
        ValueError: they are malformed.
    """
    numbers: dict[str, int] = {}
    for part in filter(None, re.split("[,;]+", (data or b"").decode())):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise ValueError(f"not a quota: {part!r}")
        numbers[pair[1]] = int(pair[2] or -1)
    get = numbers.get
    return Limit(get("count", -1), get("bytes", -1), get("countHardLimit", -1), get("byteHardLimit", -1))


def subject(path: str, kind: str = LIMITS) -> str | None:
    """Returns the subtree whose limits (or statistics) are at a path, None when that is something else.

    The root and /zookeeper have no quota: theirs would count itself.
    """
    if not path.startswith(QUOTA) or not path.endswith(kind):
        return None
    prefix = path[len(QUOTA) : -len(kind)]
    return None if prefix in ("", ZOOKEEPER) or prefix.startswith(ZOOKEEPER + ROOT) else prefix


def validate(path: str, data: bytes | None) -> None:
    """Does nothing unless the data is for a quota and malformed.

    Raises:
        CoordinationError: BAD_ARGUMENTS.
    """
    if path.startswith(QUOTA) and path.endswith((LIMITS, STATISTICS)):
        try:
            parse(data)
        except ValueError:
            raise CoordinationError(Code.BAD_ARGUMENTS, path) from None


class Quotas:
    """The subtrees that have a quota, and what there is in them."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}

    def covering(self, path: str) -> Iterator[tuple[str, Usage]]:
        """Yields the quotas that a path falls under, the innermost first."""
        usage = self.usage
        while path:
            found = usage.get(path)
            if found is not None:
                yield path, found
            path = path[: path.rfind("/")]

    def count(self, path: str, znodes: int, size: int) -> None:
        """Takes note that so many znodes and bytes have come to be at a path."""
        for _, usage in self.covering(path):
            usage.count += znodes
            usage.size += size


def check(prefix: str, limit: Limit, now: Usage, more: Usage, warn: Callable[[str], None]) -> None:
    """Does nothing when a subtree may grow.

    Args:
        prefix: the subtree.
        limit: its limits.
        now: what is in it.
        more: what is to come.
        warn: gets one line when a limit is exceeded.

    Raises:
        CoordinationError: QUOTA_EXCEEDED: a hard limit does not allow it.
    """
    for what, have, grows, soft, hard in (
        ("count", now.count, more.count, limit.count, limit.count_hard),
        ("bytes", now.size, more.size, limit.size, limit.size_hard),
    ):
        bound = hard if hard > -1 else soft
        if grows > 0 and -1 < bound < have + grows:
            kind = "hard" if hard > -1 else "soft"
            warn(f"quota exceeded: {prefix} would have {what} {have + grows}, its {kind} limit is {bound}")
            if hard > -1:
                raise CoordinationError(Code.QUOTA_EXCEEDED, prefix)
