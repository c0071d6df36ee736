"""What must hold in every run of MapReduce, watched in its trace.

The master asserts its rules where it applies them; these checks know nothing of it but the notes that
it writes (`services/mapreduce/master/__init__.py` lists them; those of workers are in
`services/mapreduce/worker/shuffle.py`), so they would see a master that breaks its own rules. The numbers
are those of the invariants in `services/mapreduce/README.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Self, TypeAlias

from protos.trace import Log, Message, Note, TraceEvent

Key: TypeAlias = tuple[str, str, int]
"""A task: job, kind ("map" or "reduce"), number."""

BEGINS = ("assigned", "adopted")
ENDS = ("failed", "died", "withdrawn")


class Watcher(ABC):
    """An invariant: takes the master's notes it has asked for, by name; the first violation is kept."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.violation = ""
        self._takes: dict[str, Callable[[Note], None]] = {}

    def begin(self) -> Self:
        """A run begins: this one has seen nothing, and neither has its copy, which will."""
        return deepcopy(self)

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Note) and event.name in self._takes:
                self._takes[event.name](event)

    def take(self, names: Iterable[str], how: Callable[[Note], None]) -> None:
        """Says who takes notes of these names."""
        self._takes.update(dict.fromkeys(names, how))

    def violated(self, event: Note | Message | Log, what: str) -> None:
        """Keeps the first violation."""
        self.violation = self.violation or f"at {event.time / 1e9:.3f} s: {what}"

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict, and what it rests on."""
        return not self.violation, self.violation or self._seen()

    @abstractmethod
    def _seen(self) -> str:
        """Returns in words what was looked at."""


def _task(note: Note) -> Key:
    return note.fields["job"], note.fields["kind"], note.fields["number"]


def _said(key: Key) -> str:
    return f"{key[1]} {key[2]} of {key[0]}"


class TaskStates(Watcher):
    """Invariants 3 and 4: idle, in-progress, completed; back only as 3.3 says; one committed execution."""

    name = "tasks go idle, in-progress, completed, and back only as 3.3 says"

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[Key, dict[int, None]] = {}
        self._completed: dict[Key, int] = {}
        self._known: dict[str, None] = {}  # jobs whose beginning was seen
        self._completions = 0
        self._reopened = 0
        self.take(["job started"], self._started)
        self.take(BEGINS, self._begins)
        self.take(ENDS, self._ends)
        self.take(["completed"], self._completes)
        self.take(["reopened"], self._reopens)

    def _started(self, note: Note) -> None:
        # A job that was there before: what the dead master had decided and not yet made durable (perhaps the
        # job itself) did not happen. Its tasks may be executed, and completed, again.
        for tasks in (self._running, self._completed):
            for key in [key for key in tasks if key[0] == note.fields["job"]]:
                del tasks[key]

    def _begins(self, note: Note) -> None:
        key = _task(note)
        if key in self._completed:
            self.violated(note, f"{_said(key)} is executed though it is completed")
        self._running.setdefault(key, {})[note.fields["attempt"]] = None

    def _ends(self, note: Note) -> None:
        self._running.get(_task(note), {}).pop(note.fields["attempt"], None)

    def _completes(self, note: Note) -> None:
        key, attempt = _task(note), note.fields["attempt"]
        self._completions += 1
        if key in self._completed:
            self.violated(note, f"{_said(key)} is completed twice")
        if attempt not in self._running.get(key, {}):
            self.violated(note, f"{_said(key)} is completed by execution {attempt}, which is not under way")
        self._completed[key] = attempt
        self._running.get(key, {}).pop(attempt, None)

    def _reopens(self, note: Note) -> None:
        key = _task(note)
        self._reopened += 1
        if key[1] != "map":
            self.violated(note, f"{_said(key)} was completed and is idle again")
        self._completed.pop(key, None)

    def _seen(self) -> str:
        return f"{self._completions} completions, of which {self._reopened} maps had to be executed again"


class BackupsNearTheEnd(Watcher):
    """Invariant 12: a backup task begins only when no task of its kind is idle any more."""

    name = "backup tasks only near the end"

    def __init__(self) -> None:
        super().__init__()
        self._total: dict[tuple[str, str], int] = {}
        self._busy: dict[tuple[str, str], dict[int, dict[int, None]]] = {}  # in-progress: attempts
        self._completed: dict[tuple[str, str], dict[int, None]] = {}
        self._backups = 0
        self._executions = 0
        self.take(["job started"], self._started)
        self.take(BEGINS, self._begins)
        self.take(ENDS, self._ends)
        self.take(["completed"], self._completes)
        self.take(["reopened"], self._reopens)

    def _started(self, note: Note) -> None:
        for kind in ("map", "reduce"):
            of = (note.fields["job"], kind)
            self._total[of], self._busy[of] = note.fields[f"{kind}s"], {}
            if note.fields["recovered"]:
                # A real master that was killed has taken its last notes with it: what is idle is not known.
                self._total[of] = 0
            else:
                self._completed[of] = {}

    def _begins(self, note: Note) -> None:
        job, kind, number = _task(note)
        of = (job, kind)
        self._executions += 1
        if note.fields.get("backup") and note.name == "assigned":
            self._backups += 1
            idle = self._total[of] - len(self._busy[of]) - len(self._completed[of])
            if idle > 0:
                self.violated(note, f"a backup of {kind} {number} of {job}, with {idle} {kind} tasks idle")
        self._completed[of].pop(number, None)  # a master that died had not yet made its completion durable
        self._busy[of].setdefault(number, {})[note.fields["attempt"]] = None

    def _ends(self, note: Note) -> None:
        job, kind, number = _task(note)
        attempts = self._busy[job, kind].get(number, {})
        attempts.pop(note.fields["attempt"], None)
        if not attempts:
            self._busy[job, kind].pop(number, None)

    def _completes(self, note: Note) -> None:
        job, kind, number = _task(note)
        self._busy[job, kind].pop(number, None)
        self._completed[job, kind][number] = None

    def _reopens(self, note: Note) -> None:
        job, kind, number = _task(note)
        self._completed[job, kind].pop(number, None)

    def _seen(self) -> str:
        share = self._backups / self._executions if self._executions else 0.0
        return f"{self._backups} backups among {self._executions} executions ({share:.1%})"


class NetProgress(Watcher):
    """Invariant 16: what has been read, shuffled and written falls only by work that died."""

    name = "progress falls only by what died"

    TOTALS = ("input_bytes", "intermediate_bytes", "shuffled_bytes", "output_bytes")

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, dict[str, Any]] = {}
        self._loss: dict[str, None] = {}  # jobs some of whose work died since their last report
        self._reports = 0
        self._falls = 0
        self.take(["progress"], self._reported)
        self.take([*ENDS, "reopened", "job started"], self._lost)

    def _lost(self, note: Note) -> None:
        self._loss[note.fields["job"]] = None

    def _reported(self, note: Note) -> None:
        job = note.fields["job"]
        self._reports += 1
        last = self._last.get(job, {})
        for total in self.TOTALS:
            now, before = note.fields[total], last.get(total, 0)
            if now < 0:
                self.violated(note, f"{total} of {job} is {now}")
            if now < before:
                self._falls += 1
                if job not in self._loss:
                    self.violated(
                        note, f"{total} of {job} fell from {before} to {now} though nothing had died"
                    )
        self._last[job] = note.fields
        self._loss.pop(job, None)

    def _seen(self) -> str:
        return f"{self._reports} reports; {self._falls} falls, each after work had died"


class SkippedAfterTwo(Watcher):
    """Invariant 11: a record is left out only after two failures of its task."""

    name = "a record is skipped only after two reports"

    def __init__(self) -> None:
        super().__init__()
        self._failures: dict[Key, int] = {}
        self._skipped = 0
        self.take(["failed"], self._failed)
        self.take(["skipping"], self._skips)

    def _failed(self, note: Note) -> None:
        self._failures[_task(note)] = self._failures.get(_task(note), 0) + 1

    def _skips(self, note: Note) -> None:
        key = _task(note)
        self._skipped += 1
        if self._failures.get(key, 0) < 2:
            self.violated(
                note, f"record {note.fields['record']} of {_said(key)} is left out after one failure"
            )

    def _seen(self) -> str:
        return f"{self._skipped} records left out"


class Inputs(Watcher):
    """Invariants 3, 5 and 8: a reduce reads one output of every map, of an execution which the master has
    accepted, and none that it has been told is gone.
    """

    name = "a reduce reads each map once, and none that is known to be lost"

    def __init__(self) -> None:
        super().__init__()
        self._accepted: dict[tuple[str, int, int], None] = {}  # job, map, attempt
        self._read: dict[tuple[str, int], dict[int, int]] = {}  # by job and attempt of a reduce: map, attempt
        self._gone: dict[tuple[str, int], dict[tuple[int, int], None]] = {}
        self._regions = 0
        self._notices = 0
        self._shuffles = 0
        self.take(["completed"], self._completes)
        self.take(["regions read"], self._reads)
        self.take(["inputs withdrawn"], self._hears)
        self.take(["shuffled"], self._ends)

    def _completes(self, note: Note) -> None:
        if note.fields["kind"] == "map":
            self._accepted[note.fields["job"], note.fields["number"], note.fields["attempt"]] = None

    def _reads(self, note: Note) -> None:
        job, reader = note.fields["job"], (note.fields["job"], note.fields["attempt"])
        read = self._read.setdefault(reader, {})
        for number, attempt in zip(note.fields["maps"], note.fields["attempts"], strict=True):
            self._regions += 1
            if number in read:
                self.violated(note, f"reduce {note.fields['reduce']} of {job} has read map {number} twice")
            if (job, number, attempt) not in self._accepted:
                self.violated(
                    note, f"{job}: read of map {number}, execution {attempt}, which no one accepted"
                )
            if (number, attempt) in self._gone.get(reader, {}):
                self.violated(note, f"{job}: read of map {number}, execution {attempt}, after the notice")
            read[number] = attempt

    def _hears(self, note: Note) -> None:
        gone = self._gone.setdefault((note.fields["job"], note.fields["attempt"]), {})
        self._notices += 1
        gone.update(dict.fromkeys(zip(note.fields["maps"], note.fields["attempts"], strict=True)))

    def _ends(self, note: Note) -> None:
        self._shuffles += 1
        job, maps, empty = note.fields["job"], note.fields["maps"], note.fields["empty"]
        read = len(self._read.get((job, note.fields["attempt"]), {}))
        if read + empty != maps:
            self.violated(note, f"a reduce of {job} begins with {read} + {empty} of {maps} inputs")

    def _seen(self) -> str:
        return f"{self._regions} regions in {self._shuffles} shuffles, {self._notices} notices of lost ones"


class NothingBreaks(Watcher):
    """No assertion fails, no handler of a call raises, nothing is logged as an error, whatever happens."""

    name = "nothing breaks inside"

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace, of all kinds."""
        for event in events:
            if isinstance(event, Message):
                self._calls += bool(event.code)
                if event.code == "UNKNOWN":
                    self.violated(event, f"{event.source} raised in {event.method}")
            elif isinstance(event, Note) and event.name == "execution broke":
                self.violated(event, f"{event.host}: {event.fields['error']}")
            elif isinstance(event, Log) and event.level in ("ERROR", "CRITICAL"):
                self.violated(event, f"{event.host}: {event.message}")

    def _seen(self) -> str:
        return (
            f"{self._calls} calls ended as they should" if self._calls else "nothing was logged as an error"
        )


class LocalMaps(Watcher):
    """3.4: most maps are executed where a replica of their input is (how many, the story says).

    Args:
        share: of the executions of maps.
    """

    name = "maps run where their input is"

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share
        self._near: dict[str, int] = {}
        self.take(["assigned"], self._assigned)

    def _assigned(self, note: Note) -> None:
        if note.fields["kind"] == "map":
            near = note.fields["near"]
            self._near[near] = self._near.get(near, 0) + 1

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict, and what it rests on."""
        return self._near.get("data-local", 0) >= self._share * sum(self._near.values()), self._seen()

    def _seen(self) -> str:
        return ", ".join(f"{count} {near}" for near, count in sorted(self._near.items()))


class Ignored(Watcher):
    """3.3: completion messages that change nothing are ignored (at least so many, the story says)."""

    name = "completions that come twice or late are ignored"

    def __init__(self, least: int) -> None:
        super().__init__()
        self._least = least
        self._ignored = 0
        self.take(["ignored"], self._ignores)

    def _ignores(self, note: Note) -> None:
        self._ignored += 1

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict, and what it rests on."""
        return self._ignored >= self._least, self._seen()

    def _seen(self) -> str:
        return f"{self._ignored} were"


class Worked(Watcher):
    """Each of these workers has completed a task."""

    name = "who joins is given work"

    def __init__(self, workers: Iterable[str]) -> None:
        super().__init__()
        self._tasks = dict.fromkeys(workers, 0)
        self.take(["completed"], self._completes)

    def _completes(self, note: Note) -> None:
        if note.fields["worker"] in self._tasks:
            self._tasks[note.fields["worker"]] += 1

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict, and what it rests on."""
        return all(self._tasks.values()), self._seen()

    def _seen(self) -> str:
        return ", ".join(f"{worker}: {tasks} tasks" for worker, tasks in self._tasks.items())


WATCHED = (TaskStates(), BackupsNearTheEnd(), NetProgress(), SkippedAfterTwo(), Inputs(), NothingBreaks())
"""What is watched in every scenario."""
