"""What replies say of writes whose end nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.check.coordination.record import Change, Record, told_of
from sim.check.coordination.znode import ANY, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from sim.check.operations import Call


def owner_of(change: Change) -> int:
    """Returns the owner of what a change creates: the session; a negative number if it told no id."""
    return (change.session.id or -change.session.number) if change.asked.get("ephemeral") else 0


class Evidence:
    """What reads say of writes whose end nobody knows. Their data must differ from that of all other writes.

    Attributes:
        ephemerals: by `id` of a session: the paths of what it created.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._seen: dict[tuple[str, str], tuple[int, Any]] = {}
        self._data: dict[str, None] = {}
        self.ephemerals: dict[int, dict[str, None]] = {}
        for call in record.requests:
            told = told_of(call)
            if call.f == "get" and isinstance(told.get("data"), str):
                self._data[told["data"]] = None
                if told.get("mzxid"):
                    shown = (int(told["mzxid"]), told.get("version"))
                    self._seen.setdefault((call.key, told["data"]), shown)
        self._writes: dict[tuple[str, Any], int] = {}
        for change in record.changes:
            key = (change.path, change.asked.get("data", ""))
            self._writes[key] = self._writes.get(key, 0) + 1
            if change.f == "create" and change.asked.get("ephemeral"):
                self.ephemerals.setdefault(id(change.session), {})[change.path] = None

    def of(self, change: Change) -> tuple[int, Any]:
        """Returns the zxid and the version that a read shows for a write; 0 and None if none does."""
        key = (change.path, change.asked.get("data", ""))
        if self._writes.get(key) != 1 or not key[1]:
            return 0, None
        return self._seen.get(key, (0, None))

    def data(self, data: Any) -> Any:
        """Returns the data, or one and the same thing for all data that nobody has read."""
        return data if data in self._data else UNSEEN

    def shown(
        self, placed: Container[tuple[str, str, int]]
    ) -> Iterator[tuple[str, tuple[Any, ...], int, Call]]:
        """Yields the writes that only a read shows, by its zxids: path, action, zxid, the read.

        Args:
            placed: (path, f, zxid) of the writes that are known.
        """
        unsure = {(change.path, change.f) for change in self._record.changes if not change.happened}
        found: dict[tuple[str, str, int], None] = {}
        for call in self._record.requests:
            told = told_of(call)
            czxid, mzxid = int(told.get("czxid") or 0), int(told.get("mzxid") or 0)
            for f, zxid in (("create", czxid), ("set", mzxid if mzxid != czxid else 0)):
                key = (call.key, f, zxid)
                if not zxid or key in placed or key in found or (call.key, f) not in unsure:
                    continue
                found[key] = None
                owner, version = told.get("owner"), told.get("version")
                if f == "create":
                    yield call.key, ("create", ANY, zxid, ANY if owner is None else owner), zxid, call
                else:
                    shown = ANY if version is None else version
                    yield call.key, ("set", told.get("data", ANY), -1, shown, zxid), zxid, call

    def strangers(self) -> Iterator[tuple[str, list[Change]]]:
        """Yields the sequential znodes that no known write created, with those writes of which one may have.

        Each such write has created one at most; that of which none was seen has a name that nobody knows.
        """
        made = (change for change in self._record.changes if change.f == "create" and change.happened)
        known = {change.path for change in made}
        asked: dict[str, list[Change]] = {}  # by path as asked for
        for change in self._record.changes:
            if change.f == "create" and change.asked.get("sequential") and not change.happened:
                asked.setdefault(change.path, []).append(change)
        seen: dict[str, dict[str, None]] = {}
        for call in self._record.requests:
            if call.f == "children" and call.ended == "ok":
                for name in told_of(call).get("children") or ():
                    path = f"{call.key.rstrip('/')}/{name}"
                    if path not in known and path[:-10] in asked and path[-10:].isdigit():
                        seen.setdefault(path[:-10], {})[path] = None
        for prefix, by in asked.items():
            named = list(seen.get(prefix, ()))[: len(by)]
            unnamed = [f"{prefix}?{number}" for number in range(len(by) - len(named))]
            for path in (*named, *unnamed):
                yield path, by
