"""The simulated network: hosts on a topology, the paths between them, and connections as TCP gives them.

A `Network` knows who listens where and which paths work. `dial` opens a connection; it has two
`Endpoint`s, each owned by a process. What one end sends arrives at the other in order, or not at
all: a crash breaks the connection, a cut path makes it hang until the path is healed.

This package speaks of sizes and callbacks, not of bytes: what a message is, is the business of the
layers above (`sim.world.rpc`, `sim.world.streams`). All callbacks are hardware: they run outside
any process and reach into one through `Loop.run_now`.

Read `topology` (what there is) and `layout` (where hosts are on it), `path` (what a message is delayed by),
`flows` (how bulk transfers share), `connection` and `dialling` (what TCP makes of it), `network` (all of it
together), in this order.
"""

from __future__ import annotations

from sim.world.network.connection import Endpoint
from sim.world.network.dialling import Dialling
from sim.world.network.flows import BULK
from sim.world.network.network import Impairment, Network
from sim.world.network.path import Link, Path
from sim.world.network.topology import TEN_GIGABIT, lan, racks, wan, zones

__all__ = [
    "BULK",
    "TEN_GIGABIT",
    "Dialling",
    "Endpoint",
    "Impairment",
    "Link",
    "Network",
    "Path",
    "lan",
    "racks",
    "wan",
    "zones",
]
