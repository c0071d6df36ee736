"""A history in the words of coordination scenarios: sessions, requests, replies, changes.

`Record` is what the checks of this folder read; the words are in `sim/check/README.md`.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from sim.check.operations import Call, calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protos.history import Operation

WRITES = ("create", "delete", "set", "multi", "close")
READS = ("get", "exists", "children")
REQUESTS = (*WRITES, *READS, "sync", "watch")
REFUSALS = ("NoNode", "NodeExists", "BadVersion", "NotEmpty", "NoChildrenForEphemerals")
"""Errors that say something of the tree, so that a request that failed with one was answered."""


class Session(Struct, eq=False, dict=True):
    """A session of a client.

    Attributes:
        number: 1 for the client's first.
        id: as the service named it; 0 if nobody said.
        timeout_s: as negotiated; 0 if nobody said.
        requests: in the order of their invocations.
        events: watch events, in the order of their delivery.
        states: (line, ns, what) of `suspended`, `connected`, `expired`.
        end: the call that closed it, if that was answered.
    """

    client: str
    number: int
    id: int = 0
    timeout_s: float = 0.0
    requests: list[Call] = field(default_factory=list)
    events: list[Call] = field(default_factory=list)
    states: list[tuple[int, int, str]] = field(default_factory=list)
    end: Call | None = None

    def __str__(self) -> str:
        return self.client if self.number == 1 else f"{self.client} (session {self.number})"

    @cached_property
    def answered(self) -> list[Call]:
        """Returns the requests that were answered, in the order of the answers."""
        return sorted(filter(is_answered, self.requests), key=lambda call: call.returned)

    @property
    def expired(self) -> tuple[int, int] | None:
        """Returns line and ns at which the client learned that its session had expired."""
        return next(((line, ns) for line, ns, what in self.states if what == "expired"), None)


class Change(Struct, eq=False):
    """What a write does, or may do, to one znode.

    Attributes:
        f: "create", "delete", "set", "check".
        path: of the znode; of a sequential one whose name nobody knows, as asked for.
        asked: what it was asked with.
        told: what the answer says of it; empty if there was none.
        zxid: 0 if nobody knows it.
        position: among the changes of the same transaction.
    """

    call: Call
    session: Session
    f: str
    path: str
    asked: dict[str, Any]
    told: dict[str, Any]
    zxid: int
    position: int = 0

    @property
    def happened(self) -> bool:
        """It certainly happened."""
        return self.call.ended == "ok"


def refusal_of(call: Call) -> str:
    """Returns the error that says something of the tree, in ZooKeeper's spelling; "" if there is none."""
    if call.ended != "fail":
        return ""
    word = re.split(r"[^A-Za-z_]", call.error)[0].replace("_", "").lower().removesuffix("error")
    return next((name for name in REFUSALS if name.lower() == word), "")


def is_answered(call: Call) -> bool:
    """Says whether the service has answered a request."""
    return call.ended == "ok" or bool(refusal_of(call))


def zxid_of(call: Call) -> int:
    """Returns the zxid in a reply; 0 if there is none."""
    if call.ended != "ok" or not isinstance(call.result, dict):
        return 0
    return int(call.result.get("zxid") or 0)


def asked_of(call: Call) -> dict[str, Any]:
    """Returns what a call was invoked with."""
    return call.value if isinstance(call.value, dict) else {}


def told_of(call: Call) -> dict[str, Any]:
    """Returns what the reply said."""
    return call.result if call.ended == "ok" and isinstance(call.result, dict) else {}


def parent_of(path: str) -> str:
    """Returns the path of a znode's parent."""
    return path.rpartition("/")[0] or "/"


def name_of(path: str) -> str:
    """Returns the last part of a path."""
    return path.rpartition("/")[2]


def lines_of(call: Call) -> str:
    """Returns where a call stands in the history."""
    return f"lines {call.called} to {call.returned}" if call.returned else f"line {call.called}"


def hexed(zxid: int) -> str:
    """Returns a zxid as operators write it."""
    return f"0x{zxid:x}"


class Record:
    """A history, sorted.

    Attributes:
        calls: all operations, in the order of their invocations.
        sessions: in the order of their beginnings.
        of: the session of each operation of a client, by the call's `called`.

    Raises:
        Unusable: it is no history.
    """

    def __init__(self, history: Sequence[Operation]) -> None:
        self.calls = calls(history, [event.index + 1 for event in history])
        self.sessions: list[Session] = []
        self.of: dict[int, Session] = {}
        current: dict[str, Session] = {}
        for call in self.calls:
            client = re.split(r"[/.]", str(call.process), maxsplit=1)[0]
            opens = call.f == "session" and asked_of(call).get("event") == "open"
            if client not in current or (opens and (current[client].requests or current[client].id)):
                number = current[client].number + 1 if client in current else 1
                current[client] = Session(client, number)
                self.sessions.append(current[client])
            session = self.of[call.called] = current[client]
            self._add(session, call)

    def _add(self, session: Session, call: Call) -> None:
        if call.f == "session":
            told = asked_of(call)
            what = told.get("event")
            if what == "open":
                session.id = int(told.get("id") or 0)
                session.timeout_s = float(told.get("timeout") or 0)
            else:
                session.states.append((call.called, call.start, str(what)))
        elif call.f == "event":
            session.events.append(call)
        elif call.f in REQUESTS:
            session.requests.append(call)
            if call.f == "close" and call.ended == "ok":
                session.end = call

    @cached_property
    def requests(self) -> list[Call]:
        """All requests to the service, in the order of their invocations."""
        return [call for call in self.calls if call.f in REQUESTS]

    @cached_property
    def acknowledged(self) -> list[Call]:
        """The writes that were acknowledged with a zxid, in the order of the answers."""
        writes = [call for call in self.requests if call.f in WRITES and zxid_of(call)]
        return sorted(writes, key=lambda call: call.returned)

    @cached_property
    def changes(self) -> list[Change]:
        """What all writes did or may have done to znodes, in the order of their invocations."""
        return [change for call in self.requests for change in self._changes(call)]

    def _changes(self, call: Call) -> Iterator[Change]:
        if call.f not in WRITES or call.f == "close" or call.ended == "fail":
            return
        zxid, session = zxid_of(call), self.of[call.called]
        if call.f != "multi":
            told = told_of(call)
            path = told.get("path") or call.key
            yield Change(call, session, call.f, path, asked_of(call), told, zxid)
            return
        results = told_of(call).get("results") or []
        for position, part in enumerate(asked_of(call).get("ops") or []):
            told = results[position] if position < len(results) else {}
            told = told if isinstance(told, dict) else {}
            path = told.get("path") or part["key"]
            yield Change(call, session, part["f"], path, part, told, zxid, position)

    @cached_property
    def deletions(self) -> dict[str, list[Change]]:
        """The changes that deleted a znode, or may have, by its path."""
        found: dict[str, list[Change]] = {}
        for change in self.changes:
            if change.f == "delete":
                found.setdefault(change.path, []).append(change)
        return found

    @cached_property
    def order(self) -> list[Change]:
        """Those changes whose zxid is known, in that order."""
        known = [change for change in self.changes if change.zxid]
        return sorted(known, key=lambda change: (change.zxid, change.position))
