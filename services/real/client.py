"""The door of a host that runs no program of its own: a scenario, a test or a shell as a client."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from google.protobuf import json_format

from protos import control_pb2
from services.real.host import RealHost

if TYPE_CHECKING:
    from services.real.folder import ClusterFolder
    from services.real.names import Names

_LOOK_EVERY = 0.25  # seconds


class ClientHost(RealHost):
    """A `RealHost` in the calling process.

    It has no control service: it looks for a change of its rules' file a few times a second.
    """

    def __init__(self, name: str, cluster: ClusterFolder, names: Names, token: str, listen: str) -> None:
        folder = cluster.node(name)
        folder.path.mkdir(parents=True, exist_ok=True)
        life = next(n for n in itertools.count() if not (folder.path / f"trace-{n}.jsonl").exists())
        super().__init__(name, folder.path, names, token, incarnation=life, listen=listen)
        self._cluster = cluster
        self._seen: tuple[int, int] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.tracing.start()
        self._look()

    def read_rules(self) -> None:
        """Takes over the rules of the door, if they changed."""
        try:
            rules = self._cluster.rules_of(self.name)
            now = rules.stat()
            stamp = (now.st_mtime_ns, now.st_ino)
            if stamp != self._seen:
                self.set_rules(json_format.Parse(rules.read_text(), control_pb2.Rules()))
                self._seen = stamp
        except FileNotFoundError:
            return

    def close(self) -> None:
        """As `RealHost.close`."""
        if self._looking is not None:
            self._looking.cancel()
        super().close()

    def _look(self) -> None:
        self.read_rules()
        self._looking = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)
