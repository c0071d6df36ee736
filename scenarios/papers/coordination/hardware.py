"""The machines of both papers in numbers, and where each number comes from.

ZooKeeper (ATC 2010), 5: a dual-core Xeon of 2.1 GHz, 4 GB, gigabit Ethernet, two SATA drives, of which the
log has one to itself. Zab (DSN 2011), VII: 13 machines with two quad-core Xeon of 2.50 GHz, 16 GB, a gigabit
interface, a 1 TB SATA drive for the log; a ping takes 100 µs.
"""

from __future__ import annotations

REQUEST = 1024
"""Bytes that a request reads or writes, in both papers."""

OUTSTANDING = 2_000
"""Requests in process at which a server takes no more (ZooKeeper, 5.1)."""

IN_FLIGHT = 25_000
"""Requests of all clients that are not answered: 250 clients with 100 or more each (ZooKeeper, 5.1)."""

SNAP_COUNT = 100_000
"""Transactions between two snapshots: Apache's default."""

CORES = 2  # of ZooKeeper's machines

LATENCY_S = 50e-6
"""One way: half of the ping that Zab's paper tells; ZooKeeper's tells none, and is of the same house."""

WIRE_BPS = 1e9 / 8
FRAMING = 38 + 20 + 32
"""Bytes around a message on the wire: Ethernet's preamble, header, checksum, gap; IP; TCP, time stamps."""

GOODPUT_BPS = WIRE_BPS * REQUEST / (REQUEST + FRAMING)
"""Bytes a second of messages of a kilobyte, each in a packet of its own: 115 MB/s."""

SATA_BPS = 70e6
"""Written in sequence by a SATA drive of 2008 (Barracuda 7200.11, outer to inner tracks: 105 to 50 MB/s)."""
