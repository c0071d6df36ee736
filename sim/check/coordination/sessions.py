"""Sessions, and what goes with them: ephemeral znodes live as long as their session (2.C 10, 18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from sim.check.coordination.record import Record, hexed, lines_of, name_of, parent_of, told_of, zxid_of
from sim.check.operations import Call

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from protos.history import Operation
    from sim.check.coordination.record import Change, Session


class Life(Struct):
    """What was seen of a session's ephemeral znodes: (zxid, path, request) each."""

    there: list[tuple[int, str, Call]] = field(default_factory=list)
    gone: list[tuple[int, str, Call]] = field(default_factory=list)


class Ephemerals:
    """An ephemeral znode is there while its session lives, gone with it, all at once, and has no children."""

    name = "ephemeral lifetime"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        made = [change for change in record.order if change.f == "create" and change.happened]
        unsure = {change.path for change in record.changes if change.f == "create" and not change.happened}
        ephemeral = [change for change in made if change.asked.get("ephemeral")]
        wrong = _children(made, unsure)
        if wrong:
            return False, wrong
        lives = _lives(record, ephemeral)
        looks = 0
        for session, life in lives:
            looks += len(life.there) + len(life.gone)
            wrong = _judged(session, life)
            if wrong:
                return False, f"{session}: {wrong}"
        return True, f"{len(ephemeral):,} znodes of {len(lives):,} sessions, looked at {looks:,} times"


def _children(made: Sequence[Change], unsure: Container[str]) -> str:
    """Says whether something was created below an ephemeral znode."""
    kinds: dict[str, list[Change]] = {}
    for change in made:
        kinds.setdefault(change.path, []).append(change)
    for change in made:
        parent = parent_of(change.path)
        above = [] if parent in unsure else kinds.get(parent, [])
        if above and all(one.asked.get("ephemeral") for one in above):
            return f"{change.path} ({lines_of(change.call)}) was created below an ephemeral znode"
    return ""


def _lives(record: Record, ephemeral: Sequence[Change]) -> list[tuple[Session, Life]]:
    """Gathers what reads saw of each session's ephemeral znodes.

    A znode that somebody deleted, or may have, says nothing by its absence; a path that was created twice is
    told apart by czxid and owner, and not by its name among children.
    """
    created: dict[str, int] = {}
    deleted: dict[str, None] = {}
    for change in record.changes:
        if change.f == "create":
            created[change.path] = created.get(change.path, 0) + 1
        elif change.f == "delete":
            deleted[change.path] = None
    of: dict[str, list[Change]] = {}
    below: dict[str, list[Change]] = {}
    for change in ephemeral:
        of.setdefault(change.path, []).append(change)
        if created[change.path] == 1:
            below.setdefault(parent_of(change.path), []).append(change)
    lives: dict[int, tuple[Session, Life]] = {}
    for change in ephemeral:
        lives.setdefault(id(change.session), (change.session, Life()))
    for call in record.requests:
        zxid = zxid_of(call)
        if not zxid:
            continue
        for change, there in _looks(call, zxid, of, below):
            life = lives[id(change.session)][1]
            if there:
                life.there.append((zxid, change.path, call))
            elif change.path not in deleted and created[change.path] == 1:
                life.gone.append((zxid, change.path, call))
    return list(lives.values())


def _looks(
    call: Call, zxid: int, of: dict[str, list[Change]], below: dict[str, list[Change]]
) -> Iterator[tuple[Change, bool]]:
    """Yields the ephemeral znodes that a read says something about, and whether it is there."""
    told = told_of(call)
    if call.f == "children":
        names = set(told.get("children") or ())
        for change in below.get(call.key, ()):
            if change.zxid <= zxid:
                yield change, name_of(change.path) in names
    elif call.f in ("get", "exists"):
        absent = call.f == "exists" and not told.get("exists")
        for change in of.get(call.key, ()):
            if change.zxid > zxid:
                continue
            if absent:
                yield change, False
            elif told.get("czxid") == change.zxid or told.get("owner") == (change.session.id or None):
                yield change, True


def _judged(session: Session, life: Life) -> str:
    last = max(life.there, default=None, key=lambda look: look[0])
    first = min(life.gone, default=None, key=lambda look: look[0])
    if last is not None and session.end is not None and last[0] >= zxid_of(session.end):
        return (
            f"{last[1]} was there at {hexed(last[0])} ({lines_of(last[2])}), although the session was "
            f"closed at "
            f"{hexed(zxid_of(session.end))}"
        )
    if first is None:
        return ""
    for call in session.answered:
        if call is not session.end and zxid_of(call) >= first[0]:
            return (
                f"{first[1]} was gone at {hexed(first[0])} ({lines_of(first[2])}), although the session "
                f"lived at "
                f"{hexed(zxid_of(call))} ({lines_of(call)})"
            )
    if last is not None and last[0] >= first[0]:
        return (
            f"{first[1]} was gone at {hexed(first[0])} ({lines_of(first[2])}), and {last[1]} still there at "
            f"{hexed(last[0])} ({lines_of(last[2])}): they must go at once"
        )
    return ""


class Expiry:
    """No session expires before its time-out has passed since the last request that was answered was made.

    Args:
        slack: how much less than the time-out may pass, as a share of it: clocks of servers that run fast.
    """

    name = "no early expiry"

    def __init__(self, slack: float = 0.0) -> None:
        self._slack = slack

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        expired = 0
        for session in record.sessions:
            end = session.expired
            if end is None or not session.timeout_s:
                continue
            expired += 1
            line, ns = end
            heard = [call.start for call in session.answered if call.returned < line]
            silence = (ns - max(heard)) / 1e9 if heard else session.timeout_s
            if silence < session.timeout_s * (1 - self._slack):
                return False, (
                    f"{session} had expired (line {line}) {silence:.3f} s after a request of it that was "
                    f"answered; "
                    f"its time-out was {session.timeout_s:g} s"
                )
        return True, f"{expired:,} of {len(record.sessions):,} sessions expired, none early"
