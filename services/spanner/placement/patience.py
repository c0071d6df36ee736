"""How long something has been so: the driver's hysteresis. A load that comes and goes moves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Condition: TypeAlias = tuple[str, int | str]
"""A kind, and the group or server that it is about."""


class Patience:
    """Remembers since when each condition has held without a break, over looks."""

    def __init__(self) -> None:
        self._since: dict[Condition, float] = {}

    def look(self, now: float, holding: Iterable[Condition]) -> None:
        """Takes the conditions that hold now, in seconds; all others do not."""
        self._since = {one: self._since.get(one, now) for one in holding}

    def held(self, kind: str, now: float, seconds: float) -> list[int | str]:
        """Returns of what a kind of condition has held for so many seconds."""
        return [what for (one, what), since in self._since.items() if one == kind and now - since >= seconds]

    def forget(self, *kinds: str) -> None:
        """Begins anew with conditions of these kinds: something was done about them, and takes effect now."""
        self._since = {one: since for one, since in self._since.items() if one[0] not in kinds}
