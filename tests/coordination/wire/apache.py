"""Apache ZooKeeper 3.8 as a reference, where this machine has it (Debian's `zookeeper`, and Java)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from services.real.names import free_port

JAR = Path("/usr/share/java/zookeeper.jar")
MISSING = "" if JAR.exists() and shutil.which("java") else "needs java and Debian's zookeeper package"

_EXTRA = """
tickTime=200
minSessionTimeout=400
maxSessionTimeout=40000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
extendedTypesEnabled=true
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
"""
"""The super-user's password is "test"."""


class Apache:
    """One server on its own.

    Args:
        folder: for its data.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1")
        config = folder / "zoo.cfg"
        config.write_text(
            f"dataDir={folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n{_EXTRA}"
        )
        (folder / "data").mkdir()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    "-Xmx256m",
                    "-XX:+UseSerialGC",
                    "-cp",
                    str(JAR),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(config),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "LC_ALL": "C"},
            )

    def __enter__(self) -> Apache:
        deadline = time.monotonic() + 30
        while word(self.port, "srvr").find(b"Mode:") < 0:
            assert time.monotonic() < deadline, "Apache's server does not start"
            time.sleep(0.1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


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
