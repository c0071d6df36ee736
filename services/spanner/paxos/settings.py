"""How long a group waits for what, in nanoseconds."""

from __future__ import annotations

from msgspec import Struct

MS = 1_000_000
SECOND = 1_000 * MS


class Settings(Struct, frozen=True):
    """Durations of one group, the same at all its replicas (`lease` must be).

    Attributes:
        lease: of votes, and so of leaders (2.1: 10 s).
        renew: votes are asked for when less than this is left of a lease that is in use (4.1.1).
        idle: a leader that was not asked for anything for so long lets its lease run out.
        advance: how often a leader in use tells MinNextTS (4.2.4: 8 s).
        ahead: a promise (MinNextTS) may be so far above TT.now().latest; what is further has to wait. It
            costs the next write as much commit wait.
        retry, retry_max: what is not answered is sent again, after longer and longer times.
        stand: how long others than the preferred leader wait before they stand, and again as much by chance.
        election: an attempt to lead that takes longer is given up.
        batch, batch_bytes: most that is in one `Accept`: entries, bytes of values (at least one entry).
        window: most entries that are under way to one replica.
    """

    lease: int = 10 * SECOND
    renew: int = 4 * SECOND
    idle: int = 10 * SECOND
    advance: int = 8 * SECOND
    ahead: int = 10 * MS
    retry: int = 200 * MS
    retry_max: int = 2 * SECOND
    stand: int = 200 * MS
    election: int = 1 * SECOND
    batch: int = 256
    batch_bytes: int = 1 << 20
    window: int = 4096
