"""Histories of an ensemble that keeps its promises, made without one: for tests of the checks.

One list of transactions; servers that have applied more or less of it; sessions that move between them, keep
several requests in flight, watch, lose connections and end. Whatever chance decides, all checks must pass.
"""

from __future__ import annotations

import copy
import random
from typing import Any

from protos.history import Operation
from sim.check.coordination.record import parent_of

Node = dict[str, Any]
Tree = dict[str, Node]


class Client:
    def __init__(self, name: str, number: int, server: int) -> None:
        self.name, self.id, self.server = name, 1000 + number, server
        self.session = self.id
        self.seen = 0
        self.life = 1
        self.queue: list[dict[str, Any]] = []
        self.watches: dict[tuple[str, str], None] = {}
        self.alive = True
        self.lanes = 0


class Ensemble:
    """Makes one history.

    Args:
        seed: decides everything.
        steps: how long it is, about.
    """

    def __init__(self, seed: int, *, clients: int = 4, servers: int = 3, steps: int = 150) -> None:
        self.chance = random.Random(seed)
        self.events: list[Operation] = []
        self.now = 0
        self.trees: list[Tree] = [{"/": self._node("", 0, 0)}]  # by number of transactions
        self.log: list[list[tuple[str, str]]] = []  # what each transaction did: (f, path)
        self.counters: dict[str, int] = {}
        self.applied = [0] * servers
        self.clients = [Client(f"c{number}", number, number % servers) for number in range(clients)]
        self.written = 0
        self.lives = 0
        for client in self.clients:
            self._instant(client, "session", {"event": "open", "id": client.session, "timeout": 6.0})
        for path in ("/a", "/b"):
            request = {
                "f": "create",
                "lane": 0,
                "process": "c0/0.1",
                "key": path,
                "value": {"data": f"of {path}"},
            }
            self.clients[0].queue.append(request)
            self._line("c0/0.1", "invoke", "create", request["value"], path)
            self._answer(self.clients[0])
        for _ in range(steps):
            self._step()
        for client in self.clients:
            while client.queue and client.alive:
                self._answer(client)
        for server in range(servers):
            self._apply(server, len(self.log))
            self._dump(server)

    # Lines

    def _line(self, process: str, kind: Any, f: str, value: Any, key: Any = None, error: str = "") -> None:
        self.now += 1_000_000
        event = Operation(process, kind, f, copy.deepcopy(value), self.now, len(self.events))
        event.error = error
        if key is not None:
            event.key = key
        self.events.append(event)

    def _instant(self, client: Client, f: str, value: Any, key: Any = None) -> None:
        for kind in ("invoke", "ok"):
            self._line(f"{client.name}/{f}", kind, f, value, key)

    def _dump(self, server: int) -> None:
        zxid = self.applied[server]
        nodes = {
            path: [node["data"], node["version"], node["czxid"], node["mzxid"], node["owner"]]
            for path, node in self.trees[zxid].items()
            if path != "/"
        }
        self._line(f"operator{server}", "invoke", "dump", None, f"zk{server}")
        self._line(f"operator{server}", "ok", "dump", {"zxid": zxid, "nodes": nodes}, f"zk{server}")

    # What happens

    def _step(self) -> None:
        what = self.chance.random()
        client = self.chance.choice(self.clients)
        if what < 0.45:
            self._ask(client)
        elif what < 0.8:
            if client.queue and client.alive:
                self._answer(client)
        elif what < 0.93:
            server = self.chance.randrange(len(self.applied))
            self._apply(server, min(len(self.log), self.applied[server] + 1))
        elif what < 0.98:
            self._cut(client)
        else:
            self._end(client)

    def _ask(self, client: Client) -> None:
        if not client.alive:
            self._open(client)
        if len(client.queue) >= 3:
            return
        lane = next(n for n in range(3) if all(request["lane"] != n for request in client.queue))
        f = self.chance.choice(
            ["create", "create", "delete", "set", "set", "get", "get", "exists", "children", "sync"]
        )
        f = "multi" if self.chance.random() < 0.05 else f
        path = self.chance.choice(["/a", "/b", "/a/x", "/a/y", "/b/x"])
        request = {"f": f, "lane": lane, "process": f"{client.name}/{lane}.{client.life}"}
        request["key"] = None if f == "multi" else path
        request["value"] = self._asked(f, path)
        client.queue.append(request)
        self._line(request["process"], "invoke", f, request["value"], request["key"])

    def _asked(self, f: str, path: str) -> Any:
        self.written += 1
        data = f"d{self.written}"
        if f == "create":
            asked: dict[str, Any] = {"data": data}
            for flag, share in (("ephemeral", 0.3), ("sequential", 0.25)):
                if self.chance.random() < share:
                    asked[flag] = True
            return asked
        version = self.chance.choice([-1, -1, -1, 0, 1, 2])
        if f == "set":
            return {"data": data, "version": version}
        if f == "delete":
            return {"version": version}
        if f in ("get", "exists", "children"):
            return {"watch": True} if self.chance.random() < 0.4 else {}
        if f == "multi":
            return {
                "ops": [
                    {"f": "set", "key": "/a", "data": data},
                    {"f": "create", "key": "/b/x", "data": data + "m"},
                ]
            }
        return None

    def _answer(self, client: Client) -> None:
        """The server of a session carries its next request out."""
        request = client.queue.pop(0)
        value, error = self._carried_out(client, request)
        if (
            request["f"] in ("get", "exists", "children")
            and not error
            and (request["value"] or {}).get("watch")
        ):
            kind = "children" if request["f"] == "children" else "data"
            client.watches[request["key"], kind] = None
        kind = "fail" if error else "ok"
        self._line(request["process"], kind, request["f"], value, request["key"], error)
        client.seen = max(client.seen, self.applied[client.server])

    def _carried_out(self, client: Client, request: dict[str, Any]) -> tuple[Any, str]:
        f, path, asked = request["f"], request["key"], request["value"]
        if f == "sync":
            self._apply(client.server, len(self.log))
            return {"zxid": self.applied[client.server]}, ""
        if f in ("get", "exists", "children"):
            zxid = self.applied[client.server]
            return self._read(f, path, self.trees[zxid], zxid)
        told, error = self._write(client, f, path, asked)
        self._apply(client.server, len(self.log))
        return (asked if error else told), error

    def _read(self, f: str, path: str, tree: Tree, zxid: int) -> tuple[Any, str]:
        node = tree.get(path)
        if f == "exists":
            if node is None:
                return {"exists": False, "zxid": zxid}, ""
            return {"exists": True, "zxid": zxid, **{name: node[name] for name in node if name != "data"}}, ""
        if node is None:
            return {}, "NoNode"
        if f == "children":
            names = [other[len(path) + 1 :] for other in tree if parent_of(other) == path and other != "/"]
            return {"children": names, "zxid": zxid}, ""
        return {"zxid": zxid, **node}, ""

    def _write(self, client: Client, f: str, path: str, asked: Any) -> tuple[Any, str]:
        tree = copy.deepcopy(self.trees[-1])
        did: list[tuple[str, str]] = []
        counters = dict(self.counters)
        zxid = len(self.log) + 1
        if f == "multi":
            results = []
            for part in asked["ops"]:
                told, error = self._changed(client, tree, part["f"], part["key"], part, zxid, did, counters)
                if error:
                    break
                results.append(told)
            told = {"results": results}
        else:
            told, error = self._changed(client, tree, f, path, asked, zxid, did, counters)
        if error:  # an error transaction has a zxid of its own
            self._commit(self.trees[-1], [])
            return None, error
        self.counters = counters
        self._commit(tree, did)
        return {**told, "zxid": zxid}, ""

    def _commit(self, tree: Tree, did: list[tuple[str, str]]) -> None:
        self.log.append(did)
        self.trees.append(tree)

    @staticmethod
    def _node(data: str, zxid: int, owner: int) -> Node:
        return {"data": data, "version": 0, "czxid": zxid, "mzxid": zxid, "owner": owner}

    def _changed(
        self,
        client: Client,
        tree: Tree,
        f: str,
        path: str,
        asked: Any,
        zxid: int,
        did: list[tuple[str, str]],
        counters: dict[str, int],
    ) -> tuple[Any, str]:
        if f == "create":
            parent = parent_of(path)
            if parent not in tree:
                return None, "NoNode"
            if tree[parent]["owner"]:
                return None, "NoChildrenForEphemerals"
            if asked.get("sequential"):
                path = f"{path}{counters.get(parent, 0):010d}"
            if path in tree:
                return None, "NodeExists"
            counters[parent] = counters.get(parent, 0) + 1
            tree[path] = self._node(asked["data"], zxid, client.session if asked.get("ephemeral") else 0)
            did.append(("create", path))
            return {"path": path}, ""
        node = tree.get(path)
        if node is None:
            return None, "NoNode"
        if asked.get("version", -1) not in (-1, node["version"]):
            return None, "BadVersion"
        if f == "delete":
            if any(parent_of(other) == path for other in tree if other != "/"):
                return None, "NotEmpty"
            del tree[path]
            did.append(("delete", path))
            return {}, ""
        node |= {"data": asked["data"], "version": node["version"] + 1, "mzxid": zxid}
        did.append(("set", path))
        return {"version": node["version"]}, ""

    def _apply(self, server: int, until: int) -> None:
        """A server applies transactions; watches fire first of all."""
        for zxid in range(self.applied[server] + 1, until + 1):
            self.applied[server] = zxid
            for client in self.clients:
                if client.alive and client.server == server:
                    for f, path in self.log[zxid - 1]:
                        self._fire(client, f, path)

    def _fire(self, client: Client, f: str, path: str) -> None:
        type_ = {"create": "created", "delete": "deleted", "set": "changed"}[f]
        hit = client.watches.pop((path, "data"), 0) is None
        if f == "delete":
            hit |= client.watches.pop((path, "children"), 0) is None
        if hit:
            self._instant(client, "event", {"type": type_}, path)
        if f != "set" and client.watches.pop((parent_of(path), "children"), 0) is None:
            self._instant(client, "event", {"type": "children"}, parent_of(path))

    def _lost(self, client: Client) -> None:
        """Nobody knows what becomes of the requests of a session that lost its connection."""
        happens = True
        for request in client.queue:
            happens &= self.chance.random() < 0.5
            if happens and request["f"] in ("create", "delete", "set", "multi"):
                self._write(client, request["f"], request["key"], request["value"])
            self._line(
                request["process"], "info", request["f"], request["value"], request["key"], "connection loss"
            )
        client.queue.clear()
        client.life += 1

    def _cut(self, client: Client) -> None:
        if not client.alive:
            return
        self._instant(client, "session", {"event": "suspended"})
        self._lost(client)
        behind = client.seen
        client.server = self.chance.randrange(len(self.applied))
        waiting = client.watches
        client.watches = {}
        since = self.applied[client.server]
        self._apply(client.server, max(behind, since))
        self._instant(client, "session", {"event": "connected"})
        tree = self.trees[self.applied[client.server]]
        for path, kind in list(waiting):
            if (path, kind) not in waiting:
                continue
            changed = [
                (f, at)
                for zxid in range(behind + 1, self.applied[client.server] + 1)
                for f, at in self.log[zxid - 1]
                if (at == path and (kind == "data" or f == "delete"))
                or (kind == "children" and f != "set" and parent_of(at) == path)
            ]
            if not changed:
                client.watches[path, kind] = None
            elif path not in tree:
                if changed[-1] == ("delete", path) and changed[0][0] == "create" and kind == "data":
                    continue  # created and deleted meanwhile: the case that is missed
                self._instant(client, "event", {"type": "deleted"}, path)
                for other in ("data", "children"):  # one event for both
                    waiting.pop((path, other), None)
            elif kind == "data":
                self._instant(client, "event", {"type": "changed"}, path)
            else:
                self._instant(client, "event", {"type": "children"}, path)

    def _end(self, client: Client) -> None:
        """A session is closed, or expires."""
        if not client.alive:
            return
        closes = self.chance.random() < 0.5 and not client.queue
        process = f"{client.name}/0.{client.life}"
        if closes:
            self._line(process, "invoke", "close", None)
        else:
            self._lost(client)
        tree = copy.deepcopy(self.trees[-1])
        mine = [path for path, node in tree.items() if node["owner"] == client.session]
        for path in mine:
            del tree[path]
        if closes:
            self._apply(client.server, len(self.log))
        self._commit(tree, [("delete", path) for path in mine])
        client.alive = False
        client.watches = {}
        if closes:
            self._apply(client.server, len(self.log))
            self._line(process, "ok", "close", {"zxid": len(self.log)})
        else:
            self.now += 7_000_000_000
            self._instant(client, "session", {"event": "expired"})

    def _open(self, client: Client) -> None:
        self.lives += 1
        client.session = client.id + 100 * self.lives
        client.alive, client.life = True, client.life + 1
        client.seen = 0
        self._instant(client, "session", {"event": "open", "id": client.session, "timeout": 6.0})
