"""What servers hold in the end: every acknowledged write, and all the same (2.C 12 and 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protos.trace import Note
from sim.check.coordination.record import WRITES, Record, hexed, lines_of, told_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from protos.trace import TraceEvent
    from sim.check.coordination.record import Change
    from sim.check.operations import Call


class Durable:
    """Every acknowledged write is in each tree that a server has in the end, or was followed by another.

    The trees are the history's `dump` operations; a server that lags is not judged, but one must not.
    """

    name = "durability"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        acknowledged = [change for change in record.order if change.happened and change.f != "check"]
        if not acknowledged:
            asked = any(call.f in WRITES and call.ended == "ok" for call in record.requests)
            return not asked, f"no write was acknowledged{' with its zxid' if asked else ''}"
        last = {change.path: change for change in acknowledged}
        excused = _may_be_gone(record)
        newest = max(acknowledged, key=lambda change: change.zxid)
        whole = 0
        for dump in record.calls:
            if dump.f != "dump" or dump.ended != "ok" or dump.returned < newest.call.returned:
                continue
            told = told_of(dump)
            if int(told["zxid"]) < newest.zxid:
                continue
            whole += 1
            for path, change in last.items():
                wrong = _missing(change, told["nodes"].get(path), path in excused)
                if wrong:
                    return False, f"{wrong}, on {dump.key} at {hexed(int(told['zxid']))}"
        if not whole:
            return False, (
                f"no server has told a tree as new as the last acknowledged write, {newest.f} "
                f"{newest.path} at "
                f"{hexed(newest.zxid)} ({lines_of(newest.call)})"
            )
        return True, f"{len(acknowledged):,} acknowledged writes, looked for in {whole} trees"


def _may_be_gone(record: Record) -> dict[str, None]:
    """Returns the paths that something else than an acknowledged write may have deleted."""
    gone: dict[str, None] = {}
    for change in record.changes:
        if change.f == "delete" and not change.zxid:
            gone[change.path] = None
        elif change.f == "create" and change.asked.get("ephemeral"):
            gone[change.path] = None  # its session may have ended; `Ephemerals` judges that
    return gone


def _missing(change: Change, node: Sequence[Any] | None, excused: bool) -> str:
    """Says whether a change has not left what it should have."""
    what = f"{change.f} {change.path} at {hexed(change.zxid)} ({lines_of(change.call)}) was acknowledged"
    if node is None:
        return "" if change.f == "delete" or excused else f"{what}, but the znode is not there"
    data, version, czxid, mzxid = node[:4]
    if change.f == "delete":
        return "" if czxid > change.zxid else f"{what}, but the znode is there, created at {hexed(czxid)}"
    if mzxid < change.zxid:
        return f"{what}, but the znode is as of {hexed(mzxid)}"
    if mzxid == change.zxid and data != change.asked.get("data", ""):
        return f"{what} with {change.asked.get('data', '')!r}, but the znode holds {data!r}"
    expected = change.told.get("version")
    if mzxid == change.zxid and expected is not None and version != expected:
        return f"{what} as version {expected}, but the znode has version {version}"
    return ""


class Converged:
    """Servers that have applied the same writes hold the same: equal trees and digests at equal zxids.

    Rests on the history's `dump` and `digest` operations.
    """

    name = "replicas converge"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        seen: dict[tuple[str, int], tuple[Any, Call]] = {}
        compared = told = 0
        for call in record.calls:
            if call.f not in ("dump", "digest") or call.ended != "ok":
                continue
            told += 1
            result = told_of(call)
            holds = result["nodes"] if call.f == "dump" else result["digest"]
            before, other = seen.setdefault((call.f, int(result["zxid"])), (holds, call))
            if other is call:
                continue
            compared += 1
            if before != holds:
                return False, (
                    f"{other.key} (line {other.returned}) and {call.key} (line {call.returned}) differ at "
                    f"{hexed(int(result['zxid']))}{_difference(before, holds)}"
                )
        return bool(compared), f"{compared:,} of {told:,} trees compared with another at the same zxid"


def _difference(one: Any, other: Any) -> str:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return f": digests {one} and {other}"
    path = next(path for path in sorted({*one, *other}) if one.get(path) != other.get(path))
    return f": {path} is {one.get(path, 'not there')} and {other.get(path, 'not there')}"


class SameDigests:
    """The same over the trace: servers that note their digest at the same zxid note the same.

    Args:
        note: the name of the notes, which have the fields `zxid` and `digest`.
    """

    def __init__(self, note: str = "digest") -> None:
        self._note = note
        self.name = "digests agree"

    def begin(self) -> _Digests:
        """A run begins."""
        return _Digests(self._note)


class _Digests:
    def __init__(self, note: str) -> None:
        self._note = note
        self._seen: dict[int, tuple[Any, str]] = {}
        self._compared = 0
        self._wrong = ""

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if not isinstance(event, Note) or event.name != self._note:
                continue
            zxid, digest = int(event.fields["zxid"]), event.fields["digest"]
            before, host = self._seen.setdefault(zxid, (digest, event.host))
            self._compared += host != event.host
            if before != digest and not self._wrong:
                self._wrong = f"{host} and {event.host} differ at {hexed(zxid)}: {before} and {digest}"

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        if self._wrong:
            return False, self._wrong
        return True, f"{self._compared:,} digests compared with another server's"
