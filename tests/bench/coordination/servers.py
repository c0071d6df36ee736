"""Three servers as processes from the same `zoo.cfg`: Apache's, or ours.

Both flush each write to the disk before they acknowledge it, both see the same disk, clients and addresses.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from services.real.names import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind: TypeAlias = Literal["apache", "ours"]

JAR = Path("/usr/share/java/zookeeper.jar")
MISSING = "" if JAR.exists() and shutil.which("java") else "needs java and Debian's zookeeper package"
KB = 1024

CONFIG = """
tickTime=2000
initLimit=10
syncLimit=5
dataDir={folder}
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
"""


class Servers:
    """An ensemble.

    Args:
        kind: whose.
        folder: of all their data.
        count: how many.
        counting: whether flushes are counted, of ours.

    Attributes:
        ports: where each serves clients.
        processes: of each.
    """

    def __init__(self, kind: Kind, folder: Path, count: int = 3, *, counting: bool = False) -> None:
        self.kind = kind
        self.counting = counting
        self.folder = folder
        self.ports = [_port() for _ in range(count)]
        self.processes: list[subprocess.Popen[bytes]] = []
        members = [f"server.{n}=127.0.0.1:{_port()}:{_port()}" for n in range(1, count + 1)]
        for number, port in enumerate(self.ports, 1):
            home = folder / f"{number}"
            home.mkdir(parents=True)
            lines = [CONFIG.format(folder=home, port=port)]
            if count > 1:
                (home / "myid").write_text(f"{number}\n")
                lines += members
            (folder / f"{number}.cfg").write_text("\n".join(lines) + "\n")

    @property
    def hosts(self) -> str:
        """The connect string."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def start(self, which: Sequence[int] = ()) -> None:
        """Starts all servers, or those with these numbers (from 1)."""
        numbers = which or range(1, len(self.ports) + 1)
        with ExitStack() as stack:
            for number in numbers:
                log = stack.enter_context((self.folder / f"{number}.log").open("ab"))
                process = subprocess.Popen(
                    self._command(number), stdout=log, stderr=log, env={**os.environ, "LC_ALL": "C"}
                )
                if which:
                    self.processes[number - 1] = process
                else:
                    self.processes.append(process)

    def _command(self, number: int) -> list[str]:
        config = str(self.folder / f"{number}.cfg")
        if self.kind == "ours":
            program = "tests.bench.coordination.flushes" if self.counting else "services.coordination"
            return [sys.executable, "-m", program, config]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", "-cp", str(JAR), main, config]  # no options, as Debian's `zkServer.sh` gives none

    def serving(self, within: float = 60.0) -> float:
        """Waits until all serve; returns the seconds that it took."""
        began = time.monotonic()
        for port in self.ports:
            while b"Mode:" not in word(port, "srvr"):
                if time.monotonic() - began > within:
                    raise TimeoutError(
                        f"{self.kind}: the server at {port} does not serve (see {self.folder})"
                    )
                time.sleep(0.01)
        return time.monotonic() - began

    def leader(self) -> int:
        """Returns the number of the server that leads."""
        for number, port in enumerate(self.ports, 1):
            if b"Mode: leader" in word(port, "srvr"):
                return number
        raise LookupError(f"{self.kind}: nobody leads")

    def resident(self) -> list[int]:
        """Returns the resident bytes of each server."""
        return [
            int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for process in self.processes
        ]

    def processor(self) -> float:
        """Returns the seconds of processor time that all servers together have spent."""
        spent = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")

    def flushes(self) -> list[int]:
        """Returns how often each server has flushed its files, when that is counted."""
        return [(self.folder / f"{n}.cfg.flushes").stat().st_size for n in range(1, len(self.ports) + 1)]

    def kill(self, number: int) -> None:
        """Ends one with SIGKILL."""
        self.processes[number - 1].send_signal(signal.SIGKILL)
        self.processes[number - 1].wait()

    def stop(self) -> None:
        """Ends all, cleanly."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def __enter__(self) -> Servers:
        self.start()
        self.serving()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def word(port: int, name: str) -> bytes:
    """Returns what a four-letter word is answered, b"" when nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(name.encode())
            answer = b""
            while part := client.recv(1 << 16):
                answer += part
            return answer
    except OSError:
        return b""


_given: set[int] = set()


def _port() -> int:
    while (port := free_port("127.0.0.1")) in _given:
        pass
    _given.add(port)
    return port
