"""How long to wait for what. Apache's names, where it has any, and its defaults."""

from __future__ import annotations

from msgspec import Struct


class Timing(Struct, frozen=True):
    """Seconds, and numbers of ticks.

    Attributes:
        tick: tickTime.
        init_limit: initLimit: how many ticks phases 1 and 2 may take.
        sync_limit: syncLimit: after how many ticks of silence the other side is given up.
        finalize_wait: how long a vote of a quorum waits for a better one.
        resend, resend_max: a vote is told again after this time, then after twice that, and so on. Apache
            goes
            up to 60 s; a vote is a few bytes, and a healed partition should not wait for it.
    """

    tick: float = 2.0
    init_limit: int = 10
    sync_limit: int = 5
    finalize_wait: float = 0.2
    resend: float = 0.2
    resend_max: float = 3.2

    @property
    def patience(self) -> float:
        """Seconds for phases 1 and 2."""
        return self.tick * self.init_limit

    @property
    def silence(self) -> float:
        """Seconds after which the other side is given up."""
        return self.tick * self.sync_limit
