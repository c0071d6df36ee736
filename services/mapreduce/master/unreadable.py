"""Who is to blame when a reduce cannot read a map's output (3.3): its worker, or the reader.

A worker that answers, and has the output no more, is believed at once. One that does not answer may be dead,
which pings will show, or out of reach for this reader alone; executing maps again at each such report
would let one machine with a broken network have the whole map phase done again. So:

- two readers on different workers cannot read from a worker: its maps are executed again;
- one reader alone cannot, for `ALONE_S`: if it cannot read from several workers, it is the reader that is
  moved, else the maps it misses are executed again.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.mapreduce.master.state import Worker

ALONE_S = 5.0
"""A single reader must have failed for so long, from its first report on."""

RECENT_S = 20.0
"""Reports older than this say nothing any more: readers repeat theirs at least every eight seconds."""


class Blame(Enum):
    """Who is to blame."""

    NOBODY = "nobody yet"
    SOURCE = "the worker that holds the output"
    READER = "the worker that reads"


class Unreadable:
    """The reports of one job."""

    def __init__(self) -> None:
        self._reports: dict[Worker, dict[Worker, tuple[float, float]]] = {}  # source, reader: first, last

    def report(self, source: Worker, reader: Worker, now: float) -> Blame:
        """Takes a report that a worker cannot be read from, and judges.

        Args:
            source: the worker that holds the output.
            reader: the one that does not get it.
            now: seconds.
        """
        first, last = self._reports.setdefault(source, {}).get(reader, (now, now))
        self._reports[source][reader] = (first if now - last < RECENT_S else now, now)
        if len(self._readers(source, now)) > 1:
            return Blame.SOURCE
        if now - self._reports[source][reader][0] < ALONE_S:
            return Blame.NOBODY
        alone = [other for other in self._reports if self._readers(other, now) == [reader]]
        return Blame.READER if len(alone) > 1 else Blame.SOURCE

    def _readers(self, source: Worker, now: float) -> list[Worker]:
        return [reader for reader, (_, last) in self._reports[source].items() if now - last < RECENT_S]
