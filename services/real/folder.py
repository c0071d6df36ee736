"""What lies where in the folder of a cluster, and files that are written whole or not at all.

cluster.json            what the cluster is
token                   its secret, mode 0600
names/kv1:50051         where a port of a host is
nodes/kv1/node.json     what a host runs
nodes/kv1/process.json  its process, until it is stopped
nodes/kv1/control       where its control service listens
nodes/kv1/rules.json    the rules of its door
nodes/kv1/data/         its disk
nodes/kv1/log.txt       what it said
nodes/kv1/trace-0.jsonl, sent-0.jsonl   the trace of its first life, and so on
faults.json, faults.jsonl               the faults that hold, and the trace of all
faults.lock             held by whoever changes them
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from services.real.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DRAFT = re.compile(r"\.(.+)\.\d+\.[0-9a-f]{8}")  # see `write_whole`

S = TypeVar("S", bound=Struct)


class ClusterError(Exception):
    """Something about a cluster that its user should know, in one line."""


class ClusterFile(Struct):
    """`cluster.json`."""

    listen: str
    created: float  # Unix time
    system: str = ""
    owner: Process | None = None  # who it dies with


class NodeFile(Struct):
    """`node.json`: how to start a host again."""

    name: str
    program: str
    parameters: dict[str, Any] = {}
    adopt: bool = False
    incarnation: int = 0
    since: float = 0.0  # Unix time of its first start
    path: list[str] = []  # sys.path of whoever started it
    cwd: str = ""


class ClusterFolder:
    """The files of one cluster."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cluster = path / "cluster.json"
        self.token = path / "token"
        self.names = path / "names"
        self.nodes = path / "nodes"
        self.faults = path / "faults.json"
        self.events = path / "faults.jsonl"
        self.lock = path / "faults.lock"
        self.rules = path / "rules.json"  # of hosts that have none of their own

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from making a cluster here meanwhile."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def foreign(self) -> str:
        """Returns the name of something in the folder that no cluster put there, "" when there is none.

        What a start left that was killed before there was a cluster is none of that.
        """
        files = {
            file.name for file in (self.cluster, self.token, self.faults, self.events, self.lock, self.rules)
        }
        for entry in sorted(self.path.iterdir()):
            if entry in (self.names, self.nodes):
                if self.cluster.exists() or (entry.is_dir() and not any(entry.iterdir())):
                    continue
            elif entry.is_file():
                draft = _DRAFT.fullmatch(entry.name)
                if (draft.group(1) if draft else entry.name) in files:
                    continue
            return entry.name
        return ""

    def clear(self) -> None:
        """Removes everything, if nothing is `foreign`; last what says that it is a cluster."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != self.cluster:
                entry.unlink(missing_ok=True)
        self.cluster.unlink(missing_ok=True)

    def node(self, name: str) -> NodeFolder:
        """Returns the folder of a host."""
        return NodeFolder(self.nodes / name)

    def record(self, event: Struct) -> None:
        """Adds a line to the trace of what was done to the cluster from outside."""
        with self.events.open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")

    def reachable(self) -> list[str]:
        """Returns the hosts that a fault may act on: those that run programs, then clients."""
        nodes = self.hosts()
        if not self.nodes.is_dir():
            return nodes
        return nodes + sorted(entry.name for entry in self.nodes.iterdir() if entry.name not in nodes)

    def rules_of(self, name: str) -> Path:
        """Returns the file with the rules that hold at a host's door; there may be none."""
        own = self.node(name).rules
        return own if own.exists() else self.rules

    def hosts(self) -> list[str]:
        """Returns the hosts that run programs, in the order in which they were first started."""
        if not self.nodes.is_dir():
            return []
        found = [read_struct(entry / "node.json", NodeFile) for entry in self.nodes.iterdir()]
        nodes = [node for node in found if node is not None]
        return [node.name for node in sorted(nodes, key=lambda node: (node.since, node.name))]

    def started(self) -> tuple[list[str], list[str]]:
        """Returns the hosts with a process file, in the order of `hosts`, and a line for each damaged file.

        For taking a cluster down, which must not fail over a file that nobody can read.
        """
        found: list[tuple[float, str]] = []
        damage = []
        for entry in sorted(self.nodes.iterdir()) if self.nodes.is_dir() else []:
            since = 0.0
            try:
                node = read_struct(entry / "node.json", NodeFile)
                since = node.since if node is not None else 0.0
            except ClusterError as exc:
                damage.append(str(exc))
            if (entry / "process.json").exists():
                found.append((since, entry.name))
        return [name for _, name in sorted(found)], damage


class NodeFolder:
    """The files of one host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.node = path / "node.json"
        self.process = path / "process.json"
        self.control = path / "control"
        self.rules = path / "rules.json"
        self.data = path / "data"
        self.log = path / "log.txt"


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes a file so that a reader sees either the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_struct(path: Path, value: Struct) -> None:
    """Writes a record as JSON, whole."""
    write_whole(path, msgspec.json.encode(value) + b"\n")


def read_struct(path: Path, kind: type[S]) -> S | None:
    """Reads a record; None when there is no such file.

    Raises:
        ClusterError: the file is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as exc:
        raise ClusterError(f"{path} is damaged: {exc}") from None
