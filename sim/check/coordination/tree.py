"""Each reply agrees with the tree at some point of the one order of writes: prefix reads, results, versions.

*Prefix reads* (2.C 3): a read returns the state after some prefix of the writes, never a shorter one than
earlier replies of the session. *Versions* (2.C 11), and that results agree with sequential execution in the
order of zxids (2.C 1).

This is linearizability in another time: that of zxids. A write with zxid z happens at z, a read
answered at z right after it; a refusal, whose zxid nobody tells, between those of the replies around it; a
write whose end is unknown after all that had been answered when it was asked for, or never. So the search of
`sim.check.search` decides it, one znode at a time: the znode itself (`znode.py`), and the names of its
children (`Children`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sim.check.budget import Budget, GaveUp
from sim.check.coordination.evidence import Evidence, owner_of
from sim.check.coordination.record import (
    READS,
    Change,
    Record,
    asked_of,
    hexed,
    lines_of,
    name_of,
    parent_of,
    refusal_of,
    told_of,
    zxid_of,
)
from sim.check.coordination.znode import ANY, UNSEEN, Children, Step, Znode
from sim.check.coordination.zxids import Zxids
from sim.check.models.model import Hints
from sim.check.search import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.models import Model
    from sim.check.operations import Call

STEPS = 200_000  # of the search for one znode; a limit in seconds would not be the same everywhere


class PrefixReads:
    """Replies agree with the tree at their zxid, and refusals with one between the replies around them.

    Args:
        under: only znodes at and below this path are judged: those that the scenario records from their
            creation.
    """

    name = "prefix reads"

    def __init__(self, under: str = "/") -> None:
        self._under = under

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        steps = _Steps(record)
        if any(call.ended == "ok" for call in record.requests) and not any(map(zxid_of, record.requests)):
            return False, "nothing to judge: no reply tells its zxid"
        judged = unknown = 0
        for kind, made in ((Znode, steps.znodes), (Children, steps.children)):
            for path, these in made.items():
                if not self._concerns(path):
                    continue
                these.sort(key=lambda step: step.called)
                judged += sum(1 for step in these if not step.pending)
                try:
                    wrong = _judged(these, path, kind)
                except GaveUp:
                    unknown += 1
                    continue
                if wrong:
                    return False, wrong
        said = f"{judged:,} results on {len(steps.znodes):,} znodes agree with the order of writes"
        return True, said + (f"; of {unknown} it is not known, for lack of time" if unknown else "")

    def _concerns(self, path: str) -> bool:
        return self._under == "/" or path == self._under or path.startswith(self._under.rstrip("/") + "/")


def _judged(steps: Sequence[Call], path: str, kind: type[Znode | Children]) -> str:
    """Says what does not agree with the order of writes, or "".

    Raises:
        GaveUp: the search took too long.
    """
    model = kind()
    outcome = Search(steps, model, Budget(steps=STEPS)).run()
    if outcome.culprit is None:
        return ""
    with contextlib.suppress(GaveUp):  # the hints pass over what came and went and was never seen
        thorough = Search(steps, kind(Hints(pure=kind.known.pure)), Budget(steps=STEPS)).run()
        if thorough.culprit is None:
            return ""
    return _told(outcome.culprit, path, model, outcome.states)


def _told(culprit: Call, path: str, model: Model, states: Sequence[Any]) -> str:
    call: Call = culprit.value
    where = f" at {hexed(zxid_of(call))}" if zxid_of(call) else ""
    held = " or ".join(dict.fromkeys(model.show(state) for state in states[:3])) or "something else"
    return (
        f"{call.f} {call.key or ''} by {call.process} ({lines_of(call)}){where} was told "
        f"{model.tell(culprit)}, but "
        f"by the order of writes {path} was then {held}"
    )


class _Steps:
    """What each request did to or saw of each znode, and of each znode's children, in the time of zxids."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._time = Zxids(record)
        self.znodes: dict[str, list[Call]] = {}
        self.children: dict[str, list[Call]] = {}
        self._placed: set[tuple[str, str, int]] = set()  # (path, f, zxid) of creations and sets
        seen = Evidence(record)
        for change in record.changes:
            self._change(change, seen)
        for call in record.requests:
            self._refused(call)
            if call.f in READS and call.ended == "ok":
                self._read(call)
        self._ends(seen)
        for path, action, zxid, call in seen.shown(self._placed):
            self._shown(path, action, zxid, call)
        for path, by in seen.strangers():
            self._stranger(path, by)

    def _znode(self, path: str, step: Step) -> None:
        if path not in ("", "/") and not path.startswith("/zookeeper"):
            self.znodes.setdefault(path, []).append(step.call())

    def _children(self, path: str, step: Step) -> None:
        if not path.startswith("/zookeeper"):
            self.children.setdefault(path, []).append(step.call())

    def _change(self, change: Change, seen: Evidence) -> None:
        """A write that happened, or may have."""
        asked, path = change.asked, change.path
        owner = owner_of(change)
        zxid, version = change.zxid, change.told.get("version")
        pending = not change.happened
        if pending and change.f == "create" and asked.get("sequential"):
            return  # what came of it, if anything did, is a stranger
        if pending and change.f in ("create", "set"):
            zxid, version = seen.of(change)
        span = self._time.write(change, zxid)
        expected = asked.get("version", -1)
        data = asked.get("data", "")
        at: Any = zxid or ANY
        if pending and not zxid:
            data, at = seen.data(data), UNSEEN  # what reads have shown of such writes has a step of its own
        action: tuple[Any, ...] = (change.f, expected)
        if change.f == "create":
            action = ("create", data, at, owner)
        elif change.f == "set":
            action = ("set", data, expected, ANY if version is None else version, at)
        pending = pending and not zxid
        self._placed.add((path, change.f, zxid))
        self._znode(path, Step(change.call, action, span, pending))
        if change.f in ("create", "delete"):
            step = Step(change.call, (change.f, name_of(path), owner), span, pending)
            self._children(parent_of(path), step)
        if change.f == "create" and not pending:
            self._znode(parent_of(path), Step(change.call, ("may have children",), span, False))
        if change.f == "delete" and not pending:
            self._children(path, Step(change.call, ("none",), span, False))

    def _read(self, call: Call) -> None:
        told, span = told_of(call), self._time.read(call)
        if call.f == "children":
            names = frozenset(told.get("children") or ()) - ({"zookeeper"} if call.key == "/" else set())
            self._children(call.key, Step(call, ("list", names), span, False))
            self._znode(call.key, Step(call, ("there",), span, False))
            return
        if call.f == "exists" and not told.get("exists"):
            self._znode(call.key, Step(call, ("absent",), span, False))
            return
        shown = ("version", "data", "czxid", "mzxid", "owner")
        fields = (ANY if told.get(name) is None else told[name] for name in shown)
        self._znode(call.key, Step(call, ("read", *fields), span, False))

    def _refused(self, call: Call) -> None:
        """An error that says something of the tree."""
        refusal = refusal_of(call)
        if not refusal or call.f == "multi":
            return
        span = self._time.refusal(call)
        expected = asked_of(call).get("version", -1)
        if refusal == "NoNode":
            path = parent_of(call.key) if call.f == "create" else call.key
            self._znode(path, Step(call, ("absent",), span, False))
        elif refusal == "NodeExists":
            self._znode(call.key, Step(call, ("there",), span, False))
        elif refusal == "BadVersion":
            self._znode(call.key, Step(call, ("differs", expected), span, False))
        elif refusal == "NotEmpty":
            self._children(call.key, Step(call, ("some",), span, False))
        else:
            self._znode(parent_of(call.key), Step(call, ("ephemeral",), span, False))

    def _ends(self, seen: Evidence) -> None:
        """What the end of a session takes with it."""
        for session in self._record.sessions:
            span = self._time.end(session)
            call = session.end or next(iter(session.requests), None)
            if call is None:
                continue
            owner = session.id or -session.number
            for path in seen.ephemerals.get(id(session), ()):
                self._znode(path, Step(call, ("owner gone", owner), span, session.end is None))
                name = name_of(path)
                self._children(parent_of(path), Step(call, ("gone", name, owner), span, session.end is None))

    def _shown(self, path: str, action: tuple[Any, ...], zxid: int, call: Call) -> None:
        """A write that nobody was told of, but of which a read shows the zxid."""
        span = self._time.at(zxid)
        self._znode(path, Step(call, action, span, False))
        if action[0] == "create":
            self._children(parent_of(path), Step(call, ("create", name_of(path), action[3]), span, False))

    def _stranger(self, path: str, by: Sequence[Change]) -> None:
        """A sequential znode that nobody was told of, and that one of some writes of unknown end created."""
        owners = dict.fromkeys(owner_of(change) for change in by)
        owner: Any = next(iter(owners)) if len(owners) == 1 else ANY
        span = min(self._time.write(change, 0) for change in by)
        request, name, parent = by[0].call, name_of(path), parent_of(path)
        self._znode(path, Step(request, ("create", ANY, ANY, owner), span, True))
        self._children(parent, Step(request, ("create", name, owner), span, True))
        if owner == 0:
            return
        certain = len(by) == 1 and by[0].session.end is not None
        gone = self._time.end(by[0].session) if len(by) == 1 else (span[0], 0)
        self._znode(path, Step(request, ("owner gone", owner), gone, not certain))
        self._children(parent, Step(request, ("gone", name, owner), gone, not certain))
