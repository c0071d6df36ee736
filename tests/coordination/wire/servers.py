"""Servers as processes in the foreground, as a test harness has them: ours or Apache's, by one `zoo.cfg`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.real.names import free_port

JAR = Path("/usr/share/java/zookeeper.jar")
MISSING = "" if JAR.exists() and shutil.which("java") else "needs java and Debian's zookeeper package"
"""Why Apache's cannot be had here."""

OURS = (sys.executable, "-m", "services.coordination")
APACHE = (
    "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-cp",
    str(JAR),
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
)
ROOT = Path(__file__).parents[3]

COMMON = """
tickTime=200
initLimit=25
syncLimit=10
minSessionTimeout=400
maxSessionTimeout=40000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
extendedTypesEnabled=true
clientPortAddress=127.0.0.1
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
"""
"""What all servers of the tests are told. The super-user's password is "test"."""


class Servers:
    """Servers on this machine, by number from 1. Whatever happens, none outlives the block.

    Args:
        folder: has a folder for each.
        count: how many; one runs on its own.
        command: what starts one, before the path of its configuration.
        extra: more lines of configuration.
        observers: those that do not vote.
        common: what all are told.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        command: tuple[str, ...] = OURS,
        extra: str = "",
        observers: tuple[int, ...] = (),
        common: str = COMMON,
    ) -> None:
        self.folder = folder
        self._command = command
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = {number: free_port("127.0.0.1") for number in range(1, count + 1)}
        lines = [
            f"server.{number}=127.0.0.1:{free_port('127.0.0.1')}:{free_port('127.0.0.1')}"
            f":{'observer' if number in observers else 'participant'}"
            for number in self.ports
        ]
        for number, port in self.ports.items():
            home = self.home(number)
            (home / "data").mkdir(parents=True)
            (home / "data" / "myid").write_text(f"{number}\n")
            own = [common, extra, f"dataDir={home}/data", f"clientPort={port}", *(lines if count > 1 else ())]
            self.configuration(number).write_text("\n".join(own) + "\n")

    @property
    def hosts(self) -> str:
        """All, as a client is told them."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def home(self, number: int) -> Path:
        """Returns the folder of one."""
        return self.folder / f"server-{number}"

    def configuration(self, number: int) -> Path:
        """Returns its `zoo.cfg`."""
        return self.home(number) / "zoo.cfg"

    def log(self, number: int) -> str:
        """Returns what it has said."""
        return (self.home(number) / "log").read_text()

    def start(self, *numbers: int) -> None:
        """Starts some, or all."""
        for number in numbers or tuple(self.ports):
            with (self.home(number) / "log").open("ab") as log:
                self._processes[number] = subprocess.Popen(
                    [*self._command, str(self.configuration(number))],
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    env={**os.environ, "LC_ALL": "C"},
                )

    def end(self, number: int, how: signal.Signals = signal.SIGTERM, within: float = 20) -> int:
        """Sends a signal, and returns the exit status."""
        process = self._processes.pop(number)
        process.send_signal(how)
        return process.wait(within)

    def kill(self, number: int) -> None:
        """Kills one, which leaves it no time for anything."""
        self.end(number, signal.SIGKILL)

    def running(self, number: int) -> bool:
        """Says whether one was started and not ended."""
        return number in self._processes

    def pids(self) -> list[int]:
        """Returns the processes of those that run."""
        return [process.pid for process in self._processes.values()]

    def state(self, number: int) -> str:
        """Returns what a server says that it is: leader, follower, observer, standalone; "" when nothing."""
        for line in word(self.ports[number], "srvr").decode().splitlines():
            if line.startswith("Mode: "):
                return line.removeprefix("Mode: ")
        return ""

    def serving(self, *numbers: int, within: float = 40) -> None:
        """Waits so many seconds until some, or all, serve clients that write."""
        for number in numbers or tuple(self.ports):

            def serves(number: int = number) -> bool:
                return self.state(number) not in ("", "read-only")

            until(serves, within, lambda number=number: self.log(number))  # type: ignore[misc]

    def leader(self) -> int:
        """Returns the number of the leader."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [number for number in self._processes if self.state(number) == "leader"]
            return bool(found)

        until(look, 40)
        return found[0]

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()


def until(condition: Callable[[], bool], seconds: float, why: Callable[[], str] = lambda: "") -> None:
    """Waits for something; fails after some seconds, and says why."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def word(port: int, name: str) -> bytes:
    """Returns what a four-letter word is answered, b"" when nobody is there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(name.encode())
            answer = b""
            while part := client.recv(1 << 16):
                answer += part
            return answer
    except OSError:
        return b""
