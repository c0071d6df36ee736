"""The machines of MapReduce 5.1, in numbers, and where each number comes from.

"Each machine had two 2 GHz Intel Xeon processors with Hyper-Threading enabled, 4 GB of memory, two 160 GB IDE
disks, and a gigabit Ethernet link. The machines were arranged in a two-level tree-shaped switched network
with approximately 100-200 Gbps of aggregate bandwidth available at the root. [...] Out of the 4 GB of memory,
approximately 1-1.5 GB was reserved by other tasks."
"""

from __future__ import annotations

from msgspec import Struct

MIB = 1 << 20

RECORD = 100
"""Bytes of a record of the input (5.2, 5.3)."""

SPLIT_RECORDS = 10**10 / 15_000
"""Records of one map task: 10^10 records, M = 15,000."""

SPLIT = SPLIT_RECORDS * RECORD
"""Bytes of one map task: 66.7 MB ("approximately 64 MB pieces")."""

INTERMEDIATE = 1.1272
"""Bytes shuffled for a byte of input: value, 10-byte key, 2.7 of framing (1,075,221 MB over 10^12 B)."""

OUTPUT = 1.0116
"""Bytes of one copy of the output for a byte of input (964,741 MB over 10^12 B)."""


class Machine(Struct, frozen=True):
    """One machine.

    Attributes:
        cores: two processors.
        memory: bytes, less 1.25 GB for other tasks (the middle of the paper's 1-1.5 GB).
        seek_s: of a 160 GB IDE disk of 2003 (Maxtor DiamondMax Plus 9, WD1600JB: 8.9 to 9.4 ms).
        rotation_s: half a turn at 7,200 rpm.
        disks: that seek at the same time.
        nic_Bps: each way.
        rack: machines on a switch (3.3: "groups of 80 machines" became unreachable).
        root_Bps: the lower end of the paper's 100 to 200 Gb/s.
        task_memory: bytes of intermediate data that a reduce holds before they are on its disk (App. A: 100
            MB).
        compare_s: of two keys while sorting: two cache misses of 100 ns.
        cache_share: Linux 2.4 keeps pages used once on its inactive list, a third of the page cache.
    """

    cores: int = 2
    memory: float = 4 * 1024 * MIB - 1.25e9
    seek_s: float = 8.9e-3
    rotation_s: float = 60 / 7200 / 2
    disks: int = 2
    nic_Bps: float = 1e9 / 8
    rack: int = 80
    root_Bps: float = 100e9 / 8
    task_memory: float = 100 * MIB
    compare_s: float = 0.2e-6
    cache_share: float = 1 / 3

    @property
    def request_s(self) -> float:
        """Seconds between two random reads of all disks together, without the transfer."""
        return (self.seek_s + self.rotation_s) / self.disks

    @property
    def cache(self) -> float:
        """Bytes of input and output after which something used once has left the page cache."""
        return (self.memory - 2 * self.task_memory) * self.cache_share


PAPER = Machine()

CHUNK = 64 * MIB
"""GFS: each 64 MB of a file has replicas of its own choice."""

WRITE_AHEAD = 16 * MIB
"""A writer is at most so far ahead of the disk that holds the second copy: GFS forwards as it goes."""
