"""Named counters and status text (4.8, 4.9), and what else user code can ask of the task it runs in.

Anywhere below map, combine or reduce:

    count("upper case words")
    status("half way through")
    current().number

The master sums the counters of one successful execution of each task.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

MAP_IN, MAP_OUT = "map input records", "map output records"
COMBINE_IN, COMBINE_OUT = "combine input records", "combine output records"
GROUPS, REDUCE_IN, REDUCE_OUT = "reduce input groups", "reduce input records", "reduce output records"
SKIPPED = "skipped records"
"""The automatic counters."""


class Task:
    """An execution of a map or reduce task, as user code sees it.

    Attributes:
        kind: "map" or "reduce".
        number: from 0.
        attempt: unique in the job.
        settings: the job's.
        counters: so far.
        status: the last text.
    """

    def __init__(
        self, kind: Literal["map", "reduce"], number: int, attempt: int, settings: Mapping[str, str]
    ) -> None:
        self.kind = kind
        self.number = number
        self.attempt = attempt
        self.settings = settings
        self.counters: dict[str, int] = {}
        self.status = ""
        self.writers: Outside | None = None

    def count(self, name: str, amount: int = 1) -> None:
        """Adds to a counter."""
        self.counters[name] = self.counters.get(name, 0) + amount

    def write(self, output: str, key: Any, value: Any) -> None:
        """Writes a pair to another output of this task, the file `NAME-00003` beside `part-00003`.

        It is no part of the job's result: iterating over that does not give its pairs.
        """
        assert self.writers is not None
        self.writers.write(output, key, value)

    def side_file(self, name: str) -> BinaryIO:
        """Opens a file to write that will be `name` below the output folder once the task is committed (4.5).

        It may lie in folders of its own: "images/7.png". Two tasks must not use one name.
        """
        assert self.writers is not None
        return self.writers.side_file(name)


class Outside:
    """Where a task's other outputs go."""

    def __init__(self, write: Callable[[str, Any, Any], None], side_file: Callable[[str], BinaryIO]) -> None:
        self.write = write
        self.side_file = side_file


CURRENT: ContextVar[Task] = ContextVar("mapreduce task")


def current() -> Task:
    """Returns the task that this code runs in.

    Raises:
        RuntimeError: it runs in none.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError("this code runs in no map or reduce task") from None


def count(name: str, amount: int = 1) -> None:
    """Adds to a counter of the job."""
    current().count(name, amount)


def status(text: str) -> None:
    """Says in a few words what the task is at; the status page shows it."""
    current().status = text
