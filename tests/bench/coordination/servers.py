"""Three servers as processes from the same `zoo.cfg`: Apache's, or ours.

Both flush each write to the disk before they acknowledge it, both see the same disk, clients and addresses.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal, TypeAlias

from tests.coordination.wire import servers
from tests.coordination.wire.servers import JAR, MISSING, OURS

__all__ = ["MISSING", "Kind", "Servers"]

Kind: TypeAlias = Literal["apache", "ours"]

COMMON = """
tickTime=2000
initLimit=10
syncLimit=5
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
"""

COUNTING = (sys.executable, "-m", "tests.bench.coordination.flushes")
APACHE = ("java", "-cp", str(JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain")
"""No options, as Debian's `zkServer.sh` gives none."""


class Servers(servers.Servers):
    """An ensemble, which serves from the beginning of the block.

    Args:
        kind: whose.
        folder: of all their data.
        count: how many.
        counting: whether flushes are counted, of ours.
    """

    def __init__(self, kind: Kind, folder: Path, count: int = 3, *, counting: bool = False) -> None:
        command = APACHE if kind == "apache" else COUNTING if counting else OURS
        super().__init__(folder, count, command, common=COMMON)

    def resident(self) -> list[int]:
        """Returns the resident bytes of each server."""
        return [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for pid in self.pids()
        ]

    def processor(self) -> float:
        """Returns the seconds of processor time that all servers together have spent."""
        spent = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")

    def flushes(self) -> list[int]:
        """Returns how often each server has flushed its files, when that is counted."""
        return [Path(f"{self.configuration(number)}.flushes").stat().st_size for number in self.ports]

    def starting(self) -> float:
        """Starts all; returns the seconds until they serve."""
        began = time.monotonic()
        self.start()
        self.serving(within=600)
        return time.monotonic() - began

    def stop(self) -> None:
        """Ends all, cleanly."""
        for number in [number for number in self.ports if self.running(number)]:
            self.end(number, within=60)

    def __enter__(self) -> Servers:
        try:
            self.starting()
        except BaseException:
            self.__exit__()
            raise
        return self
