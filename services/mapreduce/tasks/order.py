"""What a worker asks of a child, and what comes back.

`services.mapreduce.tasks.map:run_map(inside, order, view)` and `tasks.reduce:run_reduce(inside, order,
view)` are the ways in; `view` is the shared file system as `FileSystem.view` gives it. Both return a
`Done` (with the view, when it has to be published) and tell `Progress` about twice a second. They
`mark` the record (map) or key group (reduce) before they give it to user code, so that a death says on
which.

Whatever the user's code raises comes out as `UserError`; what the machine does (a full disk, no memory)
as OSError or MemoryError.
"""

from __future__ import annotations

from msgspec import Struct

from services.child import Storage
from services.files.api import Range

STREAMING = "services.mapreduce.tasks.streaming:Streaming"
"""What the code's name begins with when the job is one of executables (`streaming.py`)."""


class Order(Struct, frozen=True, kw_only=True):
    """A task, as far as its data is concerned.

    Attributes:
        job: its id; intermediate files are below that folder of the host's disk.
        code: (name, pickled), as in `protos.mapreduce.Code`; loaded once a process.
        number, attempt: of the task.
        reduces: R; 0 in a map-only job, whose maps write final output.
        maps: M, as far as the task knows; 0: it does not.
        split: of a map task.
        segments: of a reduce task: files on the host's disk, each a concatenation of whole regions (see
            `tasks/segment.py`), in no order.
        output: the job's output folder in the shared file system; a task writes below `OUTPUT/.temporary/`.
        skip: records or key groups to leave out (4.6).
        memory_bytes: what the process may use, 0: as much as it likes. The sort buffer is a share of it.
        settings: the user's.
        log: file on the host's disk for what user code prints.
    """

    job: str
    code: tuple[str, bytes]
    number: int
    attempt: int
    reduces: int
    maps: int = 0
    split: tuple[Range, ...] = ()
    segments: tuple[str, ...] = ()
    output: str = ""
    skip: tuple[int, ...] = ()
    memory_bytes: int = 0
    settings: dict[str, str] = {}
    log: str = ""


class Progress(Struct):
    """How far a task is: told now and then (4.8, 4.9)."""

    fraction: float
    status: str
    counters: dict[str, int]
    input_bytes: int
    output_bytes: int


class Skipped(Struct):
    """A record that was left out, or on which user code failed."""

    number: int
    where: str  # file and byte offset, or the key


class Done(Struct):
    """What a task has done.

    Attributes:
        path: map: the file of R regions on the host's disk; reduce, and map of a map-only job: the main
            output file, still below `OUTPUT/.temporary/`.
        offsets: map: R + 1 offsets of the regions in that file.
        checksums: map: of the R regions, see `tasks/checksums.py`.
        outputs: (temporary, final) names of all files to commit, the main one last (4.5: several outputs).
        records_in, records_out: also in `counters`, under their automatic names (4.9).
    """

    path: str
    offsets: list[int] = []
    checksums: list[int] = []
    outputs: list[tuple[str, str]] = []
    counters: dict[str, int] = {}
    input_bytes: int = 0
    output_bytes: int = 0
    records_in: int = 0
    records_out: int = 0
    skipped: list[Skipped] = []
    view: Storage | None = None


class UserError(Exception):
    """The user's code failed.

    Attributes:
        what: in one line.
        number: the record or key group, or -1.
        where: file and byte offset, or the key.
    """

    def __init__(self, what: str, number: int = -1, where: str = "") -> None:
        super().__init__(what, number, where)
        self.what = what
        self.number = number
        self.where = where

    def __str__(self) -> str:
        return f"{self.what} (record {self.number}: {self.where})" if self.number >= 0 else self.what


class InputError(Exception):
    """An input file cannot be read, and why, in one line."""
