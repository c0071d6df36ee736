"""One calibration a paper: what the work of its machines costs, and the few points that this comes from.

Each constant is found so that the simulated point is the paper's; nothing else of the papers is read.
`README.md` of this folder's parent lists the points beside all that they predict.
"""

from __future__ import annotations

from msgspec import Struct

from scenarios.papers.coordination.hardware import CORES, GOODPUT_BPS, LATENCY_S, SATA_BPS


class Costs(Struct, frozen=True):
    """A paper's machines.

    Attributes:
        cores: of a server.
        peer_s: seconds of a core for a message between servers, at its sender and at its receiver.
        client_s: the same for a message from or to a client, at the server.
        prepare_s: seconds of a core at the leader to make a transaction of a request.
        apply_s: seconds of a core at each server to log, deliver and apply a transaction.
        sync_s: seconds of a sync of the log, without the bytes.
        disk_Bps: bytes a second of the log's drive.
        nic_Bps: bytes a second of messages, each way.
        latency_s: from host to host, one way.
        wait_s: seconds that a request waits at the leader before it is proposed, for no reason told.
    """

    cores: int
    peer_s: float
    client_s: float
    prepare_s: float
    apply_s: float
    sync_s: float
    disk_Bps: float
    nic_Bps: float
    latency_s: float = LATENCY_S
    wait_s: float = 0.0

    def slower(self, factor: float) -> Costs:
        """Returns the same machines in slow motion: all that a request does takes so many times as long.

        All of it, the disk and the network too: what travels together in an ACK or a COMMIT depends on how
        long a sync takes beside the work of a processor.
        """
        return Costs(
            cores=self.cores,
            peer_s=self.peer_s * factor,
            client_s=self.client_s * factor,
            prepare_s=self.prepare_s * factor,
            apply_s=self.apply_s * factor,
            sync_s=self.sync_s * factor,
            disk_Bps=self.disk_Bps / factor,
            nic_Bps=self.nic_Bps / factor,
            latency_s=self.latency_s * factor,
            wait_s=self.wait_s * factor,
        )


ZOOKEEPER = Costs(
    cores=CORES,
    peer_s=4.4e-6,
    client_s=30.3e-6,
    prepare_s=27.1e-6,
    apply_s=22.9e-6,
    sync_s=350e-6,
    disk_Bps=SATA_BPS,
    nic_Bps=GOODPUT_BPS,
)

ZAB = Costs(
    cores=1,
    peer_s=0.0,
    client_s=0.0,
    prepare_s=0.0,
    apply_s=26.3e-6,
    sync_s=1.6e-3,
    disk_Bps=100e6,
    nic_Bps=98e6,
    wait_s=4.2e-3,
)

NO_WRITE_CACHE_S = 40.2e-3
"""A sync of the log in Zab's experiment when the drive's cache is off."""

BARRIER_CLIENT_S = 39.5e-6
"""Seconds of the one core that the clients of Table 3 share, for a message."""
