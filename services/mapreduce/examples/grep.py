"""Distributed grep (2.3): the lines that match a pattern, and how many there are in all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.mapreduce.counters import Task, count
from services.mapreduce.job import Job
from services.mapreduce.outputs import ValuesOutput


class Grep(Job):
    """Gives the lines in which the setting `pattern`, a regular expression, is found."""

    reduces = 0  # what map gives is the output; the paper's has an identity reduce
    output = ValuesOutput()

    def setup(self, task: Task) -> None:
        """Compiles the pattern once a task."""
        self.find = re.compile(task.settings["pattern"].encode()).search

    def map(self, offset: int, line: bytes) -> Iterator[tuple[int, bytes]]:
        """Gives the line if it matches."""
        if self.find(line):
            count("matching lines")
            yield offset, line
