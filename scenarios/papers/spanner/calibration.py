"""What work costs on the paper's machines, and the few points of the paper that this comes from.

Nothing else of the paper is read. `README.md` of this folder's parent lists the points beside all that they
predict.
"""

from __future__ import annotations

from msgspec import Struct

VALUE = 4096
"""Bytes that an operation of 5.1 reads or writes."""

CORES = 4
"""Of a spanserver (5.1)."""


class Costs(Struct, frozen=True):
    """The machines.

    Attributes:
        cores: of a spanserver.
        latency_s: from host to host, one way.
        snapshot_s: seconds of a core for a snapshot read.
        strong_s: the same for a read-only transaction at the leader.
        write_s: the same for a commit, or a prepare, at the leader of a group: request, log, tablet.
        replicate_s: seconds of a core for `VALUE` bytes of what replicas say to each other, at either end.
        vote_s: seconds of a core at a coordinator for the vote of a participant, one vote after the other.
        voter_s: the same, for each participant that the transaction has.
        sync_s: of the log.
        disk_Bps: bytes a second of the log.
        epsilon_s: of TrueTime, always the same.
        block_s: seconds for each 4 KB of what is read, where it is not in memory.
    """

    cores: int = CORES
    latency_s: float = 0.0
    snapshot_s: float = 0.0
    strong_s: float = 0.0
    write_s: float = 0.0
    replicate_s: float = 0.0
    vote_s: float = 0.0
    voter_s: float = 0.0
    sync_s: float = 0.0
    disk_Bps: float = 200e6
    epsilon_s: float = 0.0
    block_s: float = 0.0


SPANNER = Costs(
    latency_s=0.50e-3,
    snapshot_s=CORES / 13.5e3,
    strong_s=CORES / 10.9e3,
    write_s=CORES / 4.1e3,
    replicate_s=0.50e-3,
    vote_s=0.26e-3,
    voter_s=0.0019e-3,
    sync_s=7.2e-3,
    epsilon_s=6.2e-3,
)

CLUMPING = 0.5
"""How leaders are spread over zones: 0 has them all in one, infinity draws each by itself (`leaders.py`)."""

PACE = 50_000.0
"""Operations that clients ask for a second, all together, at most: as many as those of Figure 5 do."""
