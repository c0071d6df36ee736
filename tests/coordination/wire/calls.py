"""What is asked of a server through kazoo, and the answers in a form that can be compared.

Each step gets a scene of two clients and returns something. Zxids become names in the order in which they
appear, times go, and an exception is its class.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.protocol.serialization import Create, GetData, SetData
from kazoo.protocol.states import WatchedEvent, ZnodeStat
from kazoo.security import ACL, OPEN_ACL_UNSAFE, Id, make_acl, make_digest_acl

SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
"""What a server must be told of its super-user, whose password is "test"."""


class Scene:
    """Two clients of one server, and what their watches saw.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.hosts = f"127.0.0.1:{port}"
        self.zk = self.client()
        self.other = self.client()
        self.seen: list[WatchedEvent] = []
        self._arrived = threading.Condition()
        self._zxids: dict[int, str] = {}

    def client(self, **options: Any) -> KazooClient:
        """Returns one more client, connected."""
        client = KazooClient(options.pop("hosts", self.hosts), timeout=10, **options)
        client.start(30)
        return client

    def watch(self, event: WatchedEvent) -> None:
        """Takes note of an event."""
        with self._arrived:
            self.seen.append(event)
            self._arrived.notify_all()

    def events(self, count: int) -> list[Any]:
        """Returns the next events, sorted: kazoo calls watchers of different paths in no order of ours."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.seen) >= count, 10), self.seen
            found, self.seen = self.seen[:count], self.seen[count:]
        return sorted((event.type, event.state, event.path) for event in found)

    def plain(self, value: Any) -> Any:
        """Returns a value in its comparable form."""
        match value:
            case ZnodeStat():
                return {
                    "czxid": self._zxid(value.czxid),
                    "mzxid": self._zxid(value.mzxid),
                    "pzxid": self._zxid(value.pzxid),
                    "version": value.version,
                    "cversion": value.cversion,
                    "aversion": value.aversion,
                    "owner": self._owner(value.ephemeralOwner),
                    "length": value.dataLength,
                    "children": value.numChildren,
                    "touched": value.mtime >= value.ctime,
                }
            case BaseException():
                return f"raises {type(value).__name__}"
            case bytes():
                return value.decode("latin-1")
            case ACL():
                return [value.perms, value.id.scheme, value.id.id]
            case list() | tuple():
                return [self.plain(part) for part in value]
            case dict():
                return {str(key): self.plain(part) for key, part in value.items()}
            case None | bool() | int() | str():
                return value
            case _:
                return repr(value)

    def _zxid(self, zxid: int) -> str:
        return self._zxids.setdefault(zxid, f"z{len(self._zxids)}") if zxid else "0"

    def _owner(self, session: int) -> str:
        ids = {0: "nobody", self.zk.client_id[0]: "first", self.other.client_id[0]: "second"}
        return ids.get(session, "another")

    def close(self) -> None:
        """Ends the clients."""
        for client in (self.zk, self.other):
            client.stop()
            client.close()


def _transaction(*operations: tuple[Any, ...]) -> Callable[[Scene], Any]:
    def step(scene: Scene) -> Any:
        transaction = scene.zk.transaction()
        for name, *arguments in operations:
            getattr(transaction, name)(*arguments)
        return transaction.commit()

    return step


def _denied(scene: Scene) -> Any:
    scene.zk.create("/secret", b"x", acl=[make_digest_acl("jane", "pw", all=True)])
    results = []
    for call in (
        lambda: scene.zk.get("/secret"),
        lambda: scene.zk.set("/secret", b"y"),
        lambda: scene.zk.get_children("/secret"),
        lambda: scene.zk.create("/secret/child"),
        lambda: scene.zk.get_acls("/secret"),
        lambda: scene.zk.set_acls("/secret", [make_acl("world", "anyone", all=True)]),
        lambda: scene.zk.exists("/secret").version,
    ):
        try:
            results.append(call())
        except Exception as exc:
            results.append(exc)
    return results


def _proven(scene: Scene) -> Any:
    scene.zk.add_auth("digest", "jane:pw")
    return [
        scene.zk.get("/secret"),
        scene.zk.set("/secret", b"y"),
        scene.zk.get_acls("/secret"),
        scene.zk.create("/secret/child"),
        scene.zk.create("/mine", acl=[ACL(31, Id("auth", ""))]),
        scene.zk.get_acls("/mine")[0],
    ]


def _super(scene: Scene) -> Any:
    client = scene.client(auth_data=[("digest", "super:test")])
    try:
        return [client.get("/secret")[0], client.get_acls("/secret")[0], client.delete("/secret/child")]
    finally:
        client.stop()
        client.close()


def _data_watches(scene: Scene) -> Any:
    zk, other = scene.zk, scene.other
    zk.create("/watched", b"0")
    zk.get("/watched", watch=scene.watch)
    zk.exists("/watched/later", watch=scene.watch)
    zk.get_children("/watched", watch=scene.watch)
    other.set("/watched", b"1")
    other.set("/watched", b"2")
    found = [scene.events(1)]
    other.create("/watched/later")
    found.append(scene.events(2))
    zk.get("/watched/later", watch=scene.watch)
    zk.get_children("/watched", watch=scene.watch)
    other.delete("/watched/later")
    found.append(scene.events(2))
    zk.get_children("/watched", watch=scene.watch)
    zk.exists("/watched", watch=scene.watch)
    other.delete("/watched")
    return [*found, scene.events(2)]


def _no_watch_where_nothing_is(scene: Scene) -> Any:
    results = []
    for call in (scene.zk.get, scene.zk.get_children):
        try:
            results.append(call("/absent", watch=scene.watch))
        except Exception as exc:
            results.append(exc)
    scene.other.create("/absent")
    scene.zk.sync("/absent")
    return [results, len(scene.seen)]


def _watchers(scene: Scene) -> Any:
    scene.zk.create("/observed", b"0")
    data: list[Any] = []
    children: list[Any] = []
    scene.zk.DataWatch("/observed", lambda value, stat, event: data.append((value, event and event.type)))
    scene.zk.ChildrenWatch("/observed", lambda names: children.append(sorted(names)))
    scene.other.set("/observed", b"1")
    _until(lambda: len(data) == 2)
    scene.other.create("/observed/a")
    _until(lambda: len(children) == 2)
    scene.other.create("/observed/b")
    _until(lambda: len(children) == 3)
    return [data, children]


def _ephemerals_end(scene: Scene) -> Any:
    third = scene.client()
    third.create("/gone", ephemeral=True)
    third.create("/gone-too-", ephemeral=True, sequence=True)
    scene.zk.exists("/gone", watch=scene.watch)
    before = scene.zk.exists("/gone")
    third.stop()
    third.close()
    return [before, scene.events(1), scene.zk.exists("/gone")]


def _session_goes_on(scene: Scene) -> Any:
    third = scene.client()
    third.create("/kept", ephemeral=True)
    session, password = third.client_id
    fourth = KazooClient(scene.hosts, timeout=10, client_id=(session, password))
    fourth.start(30)
    same = fourth.client_id[0] == session
    found = fourth.exists("/kept") is not None
    fourth.stop()
    fourth.close()
    third.stop()
    third.close()
    scene.zk.sync("/")
    return [same, found, scene.zk.exists("/kept")]


def _wrong_password(scene: Scene) -> Any:
    third = scene.client()
    session = third.client_id[0]
    states: list[str] = []
    fourth = KazooClient(scene.hosts, timeout=10, client_id=(session, b"\1" * 16))
    fourth.add_listener(states.append)
    fourth.start(30)
    other = fourth.client_id[0] != session
    for client in (third, fourth):
        client.stop()
        client.close()
    return [other, states[0]]


def _chroot(scene: Scene) -> Any:
    scene.zk.ensure_path("/base/of")
    inner = scene.client(hosts=f"{scene.hosts}/base/of")
    try:
        return [
            inner.create("/x", b"1"),
            inner.get_children("/"),
            scene.zk.get("/base/of/x")[0],
            inner.transaction().commit(),
            inner.create("/seq-", sequence=True),
        ]
    finally:
        inner.stop()
        inner.close()


def _pipelined(scene: Scene) -> Any:
    zk = scene.zk
    zk.create("/pipe", b"")
    pending = []
    for number in range(200):
        pending.append(zk.set_async("/pipe", b"%d" % number))
        pending.append(zk.get_async("/pipe"))
    results = [one.get(30) for one in pending]
    return [result[0] for result in results[1::2]] == [b"%d" % number for number in range(200)]


def _large(scene: Scene) -> Any:
    data = b"x" * 1_000_000
    scene.zk.create("/large", data)
    return [scene.zk.get("/large")[0] == data, scene.zk.set("/large", b"").dataLength]


def _server_version(scene: Scene) -> Any:
    return scene.zk.server_version()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _null(s: Scene) -> Any:
    """Null data, which kazoo can send only by its inner parts, and Java's clients send often."""

    def call(request: Any) -> Any:
        result = s.zk.handler.async_result()
        s.zk._call(request, result)
        return result.get(10)

    def read(path: str) -> Any:
        data, stat = call(GetData(path, None))
        return None if data is None else data.decode(), stat.dataLength

    seen = []
    call(Create("/null", None, OPEN_ACL_UNSAFE, 0))
    call(Create("/null/empty", b"", OPEN_ACL_UNSAFE, 0))
    seen += [read("/null"), read("/null/empty")]
    call(SetData("/null", b"", -1))
    call(SetData("/null/empty", None, -1))
    return [*seen, read("/null"), read("/null/empty")]


STEPS: dict[str, Callable[[Scene], Any]] = {
    "create": lambda s: s.zk.create("/a", b"1"),
    "create again": lambda s: s.zk.create("/a", b"1"),
    "create without parent": lambda s: s.zk.create("/no/parent"),
    "create with parents": lambda s: s.zk.create("/p/q/r", b"deep", makepath=True),
    "create and stat": lambda s: s.zk.create("/a/stat", b"12", include_data=True),
    "create sequential": lambda s: [s.zk.create("/a/s-", sequence=True) for _ in range(3)],
    "create sequential, name of digits": lambda s: s.zk.create("/a/", sequence=True),
    "create ephemeral": lambda s: s.zk.create("/a/e", ephemeral=True, include_data=True),
    "child of an ephemeral": lambda s: s.zk.create("/a/e/c"),
    "create ephemeral sequential": lambda s: s.zk.create("/a/es-", ephemeral=True, sequence=True),
    "sequence goes on after deletions": lambda s: [
        s.zk.delete("/a/s-0000000003"),
        s.zk.create("/a/s-", sequence=True),
    ],
    "ensure_path": lambda s: s.zk.ensure_path("/en/sure"),
    "ensure_path again": lambda s: s.zk.ensure_path("/en/sure"),
    "exists": lambda s: s.zk.exists("/a"),
    "exists not": lambda s: s.zk.exists("/b"),
    "exists as seen by the other": lambda s: s.other.exists("/a/e"),
    "get": lambda s: s.zk.get("/a"),
    "get nothing": lambda s: s.zk.get("/b"),
    "get root": lambda s: s.zk.get("/")[0],
    "get_children": lambda s: sorted(s.zk.get_children("/a")),
    "get_children of root": lambda s: sorted(s.zk.get_children("/")),
    "get_children of system": lambda s: sorted(s.zk.get_children("/zookeeper")),
    "get_children and stat": lambda s: s.zk.get_children("/p", include_data=True),
    "get_children of nothing": lambda s: s.zk.get_children("/b"),
    "set": lambda s: s.zk.set("/a", b"22"),
    "set with version": lambda s: s.zk.set("/a", b"333", 1),
    "set with wrong version": lambda s: s.zk.set("/a", b"x", 1),
    "set nothing": lambda s: s.zk.set("/b", b"x"),
    "get after set": lambda s: s.other.retry(s.other.get, "/a"),
    "delete with children": lambda s: s.zk.delete("/p"),
    "delete with wrong version": lambda s: s.zk.delete("/p/q/r", 3),
    "delete nothing": lambda s: s.zk.delete("/b"),
    "delete": lambda s: s.zk.delete("/p/q/r", 0),
    "delete recursive": lambda s: [s.zk.delete("/p", recursive=True), s.zk.exists("/p")],
    "delete system": lambda s: s.zk.delete("/zookeeper"),
    "parent after all that": lambda s: s.zk.exists("/a"),
    "sync": lambda s: s.zk.sync("/a"),
    "get_acls": lambda s: s.zk.get_acls("/a"),
    "set_acls": lambda s: s.zk.set_acls("/a/stat", [make_acl("world", "anyone", read=True, admin=True)]),
    "set_acls with wrong version": lambda s: s.zk.set_acls("/a/stat", [make_acl("world", "anyone")], 7),
    "not permitted": lambda s: s.zk.set("/a/stat", b"x"),
    "not permitted in a transaction": _transaction(("create", "/a/t9"), ("set_data", "/a/stat", b"y")),
    "acl of an unknown scheme": lambda s: s.zk.create("/bad", acl=[make_acl("what", "x", all=True)]),
    "empty acl": lambda s: s.zk.create("/empty", acl=[]),
    "acl by address": lambda s: s.zk.create("/here", acl=[make_acl("ip", "127.0.0.0/8", all=True)]),
    "get by address": lambda s: s.zk.get("/here")[0],
    "acl by another address": lambda s: s.zk.create("/there", acl=[make_acl("ip", "10.1.1.1", all=True)]),
    "get by another address": lambda s: s.zk.get("/there"),
    "digest: denied": _denied,
    "digest: proven": _proven,
    "digest: super-user": _super,
    "transaction": _transaction(
        ("create", "/t", b"0"),
        ("create", "/t/c-", b"", None, False, True),
        ("check", "/t", 0),
        ("set_data", "/t", b"1"),
        ("delete", "/t/c-0000000000"),
    ),
    "transaction that fails": _transaction(
        ("create", "/t/1"), ("check", "/t", 5), ("create", "/t/2"), ("delete", "/t")
    ),
    "after the failure": lambda s: [s.zk.exists("/t/1"), s.zk.get("/t")],
    "transaction within itself": _transaction(
        ("create", "/u"), ("create", "/u/1"), ("set_data", "/u/1", b"x"), ("delete", "/u/1"), ("delete", "/u")
    ),
    "data watches": _data_watches,
    "no watch where nothing is": _no_watch_where_nothing_is,
    "DataWatch and ChildrenWatch": _watchers,
    "ephemerals end with their session": _ephemerals_end,
    "a session goes on elsewhere": _session_goes_on,
    "a session with the wrong password": _wrong_password,
    "chroot": _chroot,
    "pipelined": _pipelined,
    "large data": _large,
    "path with strange letters": lambda s: [s.zk.create("/äö ß", b"x"), s.zk.get("/äö ß")[0]],
    "path beyond the first plane": lambda s: s.zk.create("/\U0001f600"),
    "path with a forbidden letter": lambda s: s.zk.create("/bad\u0001"),
    "path with a private letter": lambda s: s.zk.create("/bad\uf123"),
    "reconfig": lambda s: s.zk.reconfig(joining="server.9=127.0.0.1:1:2;3", leaving=None, new_members=None),
    "command": lambda s: s.zk.command(b"ruok"),
    "server_version": _server_version,
    "config node": lambda s: s.zk.exists("/zookeeper/config") is not None,
    "quota node": lambda s: sorted(s.zk.get_children("/zookeeper/quota")),
    "null data": _null,
}


def transcript(port: int) -> dict[str, Any]:
    """Returns what a server on loopback answers to each step."""
    scene = Scene(port)
    answers = {}
    try:
        for name, step in STEPS.items():
            try:
                answers[name] = scene.plain(step(scene))
            except Exception as exc:
                answers[name] = scene.plain(exc)
    finally:
        scene.close()
    return answers
