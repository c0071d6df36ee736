"""A naive model of the service: a dict of paths, everything recomputed, nothing pipelined.

It says what the answer to each request and the events must be. It shares no code with what it is a model of.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from services.coordination import api
from services.coordination.api import Acl, Code, CoordinationError, CreateMode, EventType, Stat
from services.coordination.state.znode import is_session


@dataclass
class Node:
    """A znode."""

    data: bytes
    acl: tuple[Acl, ...]
    owner: int
    czxid: int
    ctime: int
    mzxid: int = 0
    mtime: int = 0
    pzxid: int = 0
    version: int = 0
    aversion: int = 0
    creations: int = 0
    deletions: int = 0


def refuse(code: Code) -> None:
    """Raises."""
    raise CoordinationError(code)


@dataclass
class Model:
    """The service."""

    identities: dict[int, list[api.Identity]]
    nodes: dict[str, Node] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    watches: list[tuple[int, str, str]] = field(default_factory=list)  # session, kind, path
    events: list[tuple[int, str, str]] = field(default_factory=list)
    highest: dict[tuple[str, int], int] = field(default_factory=dict)  # of a parent's sequential names

    def __post_init__(self) -> None:
        for path, acl in (
            ("/", api.OPEN_ACL),
            ("/zookeeper", api.OPEN_ACL),
            ("/zookeeper/quota", api.OPEN_ACL),
            ("/zookeeper/config", (Acl(1, "world", "anyone"),)),
        ):
            self.nodes[path] = Node(b"", acl, 0, 0, 0)

    def children(self, path: str) -> list[str]:
        """Names of the children."""
        stem = path.rstrip("/") + "/"
        return sorted(
            p[len(stem) :]
            for p in self.nodes
            if p != "/" and p.startswith(stem) and "/" not in p[len(stem) :]
        )

    def stat(self, path: str) -> Stat:
        """The stat."""
        n, children = self.nodes[path], len(self.children(path))
        before = {"/": -1, "/zookeeper": -2}.get(path, 0)  # Apache's count from below zero there
        return Stat(
            n.czxid, n.mzxid, n.ctime, n.mtime, n.version, before + n.creations + n.deletions, n.aversion,
            n.owner if is_session(n.owner) else 0, len(n.data or b""), children, n.pzxid,
        )  # fmt: skip

    def do(self, request: Any, session: int, zxid: int, time: int) -> tuple[Code, Any]:
        """Does what is asked, and returns the code and the result."""
        backup = copy.deepcopy((self.nodes, self.sessions, self.watches, self.events, self.highest))
        try:
            if isinstance(request, api.CreateSession):
                if session in self.sessions:
                    refuse(Code.BAD_ARGUMENTS)
                self.sessions[session] = request.timeout
                return Code.OK, api.Nothing()
            if session not in self.sessions:
                refuse(Code.SESSION_EXPIRED)
            if isinstance(request, api.CloseSession):
                for path in sorted(p for p, n in self.nodes.items() if n.owner == session):
                    self.remove(path, zxid)
                del self.sessions[session]
                return Code.OK, api.Nothing()
            if not isinstance(request, api.Multi):
                return Code.OK, self.one(request, session, zxid, time)
            results: list[Any] = []
            for index, part in enumerate(request.operations):
                try:
                    results.append(self.one(part, session, zxid, time))
                except CoordinationError as error:
                    self.nodes, self.sessions, self.watches, self.events, self.highest = backup
                    codes = [Code.OK] * index + [error.code]
                    codes += [Code.RUNTIME_INCONSISTENCY] * (len(request.operations) - index - 1)
                    return error.code, api.Several(tuple(map(api.Failed, codes)))
            return Code.OK, api.Several(tuple(results))
        except CoordinationError as error:
            return error.code, None

    def one(self, request: Any, session: int, zxid: int, time: int) -> Any:
        """Does one operation."""
        path = request.path
        parent = path.rpartition("/")[0] or "/"
        who = self.identities[session]
        match request:
            case api.Create(_, data, acl, mode, ttl):
                if mode in (CreateMode.PERSISTENT_TTL, CreateMode.PERSISTENT_SEQUENTIAL_TTL):
                    if not 0 < ttl < 1 << 40:
                        refuse(Code.BAD_ARGUMENTS)
                elif ttl > 0:
                    refuse(Code.BAD_ARGUMENTS)
                acl = self.expand(acl, who)
                if parent not in self.nodes:
                    refuse(Code.NO_NODE)
                above = self.nodes[parent]
                self.permit(above, 4, who)
                if mode.sequential:
                    path = f"{path}{above.creations:010d}"
                if path in self.nodes:
                    refuse(Code.NODE_EXISTS)
                if above.owner in self.sessions:
                    refuse(Code.NO_CHILDREN_FOR_EPHEMERALS)
                owner = 0
                if mode.ephemeral:
                    owner = session
                elif mode is CreateMode.CONTAINER:
                    owner = -0x8000_0000_0000_0000
                elif ttl:
                    owner = ttl - 0x0100_0000_0000_0000
                if mode.sequential:  # invariant 9
                    last = self.highest.get((parent, above.czxid), -1)
                    assert above.creations > last
                    self.highest[parent, above.czxid] = above.creations
                above.creations += 1
                above.pzxid = zxid
                self.nodes[path] = Node(data, acl, owner, zxid, time, zxid, time, zxid)
                self.tell(EventType.CREATED, path, acl)
                self.tell(EventType.CHILDREN_CHANGED, parent, above.acl)
                return api.Created(path, self.stat(path))
            case api.Delete(_, version):
                if path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
                    refuse(Code.BAD_ARGUMENTS)
                if parent not in self.nodes:
                    refuse(Code.NO_NODE)
                self.permit(self.nodes[parent], 8, who)
                self.expect(path, version)
                if self.children(path):
                    refuse(Code.NOT_EMPTY)
                self.remove(path, zxid)
                return api.Nothing()
            case api.SetData(_, data, version):
                if path not in self.nodes:
                    refuse(Code.NO_NODE)
                node = self.nodes[path]
                self.permit(node, 2, who)
                self.expect(path, version)
                node.data, node.version, node.mzxid, node.mtime = data, node.version + 1, zxid, time
                self.tell(EventType.DATA_CHANGED, path, node.acl)
                return api.Written(self.stat(path))
            case api.SetAcl(_, acl, version):
                acl = self.expand(acl, who)
                if path not in self.nodes:
                    refuse(Code.NO_NODE)
                node = self.nodes[path]
                self.permit(node, 16, who)
                if version not in (-1, node.aversion):
                    refuse(Code.BAD_VERSION)
                node.acl, node.aversion = acl, node.aversion + 1
                return api.Written(self.stat(path))
            case api.Check(_, version):
                if path not in self.nodes:
                    refuse(Code.NO_NODE)
                self.permit(self.nodes[path], 1, who)
                self.expect(path, version)
                return api.Nothing()
        raise AssertionError(request)

    def expect(self, path: str, version: int) -> None:
        """Checks a version."""
        if path not in self.nodes:
            refuse(Code.NO_NODE)
        if version not in (-1, self.nodes[path].version):
            refuse(Code.BAD_VERSION)

    def remove(self, path: str, zxid: int) -> None:
        """Deletes."""
        parent = path.rpartition("/")[0] or "/"
        node = self.nodes.pop(path)
        self.nodes[parent].deletions += 1
        self.nodes[parent].pzxid = zxid
        self.tell(EventType.DELETED, path, node.acl)
        self.tell(EventType.CHILDREN_CHANGED, parent, self.nodes[parent].acl)

    def allowed(self, acl: tuple[Acl, ...], permission: int, who: list[api.Identity]) -> bool:
        """Says whether somebody may."""
        if any(identity.scheme == "super" for identity in who):
            return True
        return any(
            entry.permissions & permission
            and (entry.scheme == "world" or api.Identity(entry.scheme, entry.id) in who)
            for entry in acl
        )

    def permit(self, node: Node, permission: int, who: list[api.Identity]) -> None:
        """Checks an access control list."""
        if not self.allowed(node.acl, permission, who):
            refuse(Code.NO_AUTH)

    def expand(self, acl: tuple[Acl, ...], who: list[api.Identity]) -> tuple[Acl, ...]:
        """Replaces "auth"."""
        found: list[Acl] = []
        for entry in acl:
            if entry.scheme == "auth":
                mine = [Acl(entry.permissions, i.scheme, i.id) for i in who if i.scheme == "digest"]
                if not mine:
                    refuse(Code.INVALID_ACL)
                found += mine
            else:
                found.append(entry)
        if not found:
            refuse(Code.INVALID_ACL)
        return tuple(found)

    def tell(self, kind: EventType, path: str, acl: tuple[Acl, ...]) -> None:
        """Fires watches, and disarms the one-shot ones."""
        if kind is EventType.CHILDREN_CHANGED:
            hit = [w for w in self.watches if w[1] in ("CHILDREN", "PERSISTENT") and w[2] == path]
        else:
            kinds = {"DATA", "PERSISTENT"} | ({"CHILDREN"} if kind is EventType.DELETED else set())
            hit = [w for w in self.watches if w[1] in kinds and w[2] == path]
            hit += [
                w
                for w in self.watches
                if w[1] == "PERSISTENT_RECURSIVE" and (path + "/").startswith(w[2].rstrip("/") + "/")
            ]
        self.watches = [w for w in self.watches if w not in hit or w[1].startswith("PERSISTENT")]
        for session in sorted({w[0] for w in hit}):
            if self.allowed(acl, 1, self.identities.get(session, [])):
                self.events.append((session, kind.name, path))
