"""Starting the process of a node, and being sure that it runs or is gone.

Nodes are forked from a template, which this process has for all nodes of all its clusters: it imports gRPC
and the services once. The template is started in the background, and ends with this process.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from services.real.folder import ClusterError, write_struct
from services.real.forks import Forks
from services.real.processes import Process

if TYPE_CHECKING:
    from services.real.folder import ClusterFolder, NodeFile, NodeFolder
    from services.real.forks import Fork

_STARTS_WITHIN = 20.0  # seconds
_POLL = 0.01

_STAMP = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ \S+: ")  # see `services.node.main`

_AT_START = ("PYTHON", "LD_", "GRPC_")
"""Variables that an interpreter reads once: with other values of these, nodes come from another template."""

_templates: dict[tuple[object, ...], Forks] = {}


class Launch(Struct):
    """What the process of a node is told when it is forked.

    Attributes:
        cluster, name: whose node it is.
        owned: it dies with its parent.
        watch: pid and start of the process that it dies with, or nothing.
        cwd: where it runs.
        environment: its variables.
    """

    cluster: str
    name: str
    owned: bool
    watch: tuple[int, str] | None
    cwd: str
    environment: dict[str, str]


def template() -> Forks:
    """Returns the template of this process's nodes; it may not be ready yet."""
    for key, forks in list(_templates.items()):
        forks.hear()
        if not forks.alive:
            del _templates[key]
    fixed = {name: value for name, value in os.environ.items() if name.startswith(_AT_START)}
    key = (os.getpid(), sys.executable, *sorted(fixed.items()))
    if key not in _templates:
        _templates[key] = Forks.spawned("node")
    return _templates[key]


@atexit.register
def _end_templates() -> None:
    for (pid, *_), forks in _templates.items():
        if pid == os.getpid():
            forks.close()


class Child:
    """The process of a node, as far as this process started it.

    Attributes:
        status: its exit code, once it has ended and `poll` was called.
    """

    def __init__(self, forks: Forks, fork: Fork) -> None:
        self._forks = forks
        self._fork = fork

    @property
    def pid(self) -> int:
        """Its number; 0 while the template has not forked it yet."""
        self._forks.hear()
        return self._fork.pid

    def poll(self) -> int | None:
        """Returns its exit code; None while it lives."""
        self._forks.hear()
        return self._fork.status


async def launch(
    cluster: ClusterFolder, node: NodeFile, *, owned: bool = False, watch: Process | None = None
) -> Child:
    """Starts a node, in a session of its own, and returns when its program runs.

    Args:
        cluster: its folder.
        node: what to run; written to the node's folder.
        owned: it dies with this process.
        watch: a process that it dies with.

    Raises:
        ClusterError: it ended at once, or took too long; it is gone then.
    """
    folder = cluster.node(node.name)
    folder.control.unlink(missing_ok=True)
    write_struct(folder.node, node)
    folder.log.touch()
    what = Launch(
        str(cluster.path),
        node.name,
        owned,
        (watch.pid, watch.started) if watch is not None else None,
        node.cwd if Path(node.cwd).is_dir() else os.getcwd(),
        dict(os.environ),
    )
    forks = template()
    with tempfile.TemporaryFile() as file:  # the environment may be larger than a message
        file.write(msgspec.msgpack.encode(what))
        file.flush()
        child = Child(forks, forks.fork(b"", [file.fileno()], _ours(node.program)))
    try:
        await _runs(child, folder, node)
    except BaseException:
        _end(child)
        raise
    return child


def _ours(program: str) -> str:
    """Returns the module of a program that is one of ours: the template imports it for all nodes."""
    module = program.rpartition(":")[0]
    return module if module.startswith("services.") and not module.endswith(".py") else ""


async def _runs(child: Child, folder: NodeFolder, node: NodeFile) -> None:
    """Returns when the program runs."""
    deadline = time.monotonic() + _STARTS_WITHIN
    known = False
    while not folder.control.exists():
        status = child.poll()
        if status is not None:
            why = last_words(folder) if status else f"{node.program} returned at once"
            raise ClusterError(f"{node.name} did not start: {why}")
        if child.pid and not known:
            known = True
            with contextlib.suppress(ProcessLookupError):
                write_struct(folder.process, Process.of(child.pid))
        if time.monotonic() > deadline:
            raise ClusterError(f"{node.name} did not start within {_STARTS_WITHIN:g} s; see {folder.log}")
        await asyncio.sleep(_POLL)


def _end(child: Child) -> None:
    """Kills a process that is not to be; when it has not even been forked, once it is."""
    deadline = time.monotonic() + _STARTS_WITHIN
    while child.poll() is None and time.monotonic() < deadline:
        if child.pid:
            for kill in (os.killpg, os.kill):  # it may not lead a group yet
                with contextlib.suppress(ProcessLookupError):
                    kill(child.pid, signal.SIGKILL)
        time.sleep(_POLL / 10)  # not `await`: who is cancelled may be cancelled again


def last_words(folder: NodeFolder) -> str:
    """Returns the last line of a node's log, and where the log is."""
    lines = folder.log.read_text(errors="replace").split("\n") if folder.log.exists() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"{_STAMP.sub('', said)} ({folder.log})"


def search_path() -> list[str]:
    """Returns where this process finds modules, for a node to find the same."""
    return [str(Path(entry or ".").resolve()) for entry in sys.path]
