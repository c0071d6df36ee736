"""The papers' curves, read from the vector paths of their figures (error below 0.5 % of full scale)."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import TypeAlias

Curve: TypeAlias = list[tuple[float, float]]
"""(seconds, MB/s) with MB = 2^20 bytes: each value is the mean rate since the one before."""


def curve(name: str) -> Curve:
    """Returns a curve by the name of its file, without ".csv".

    Raises:
        FileNotFoundError: there is none.
    """
    text = (files(__name__) / f"{name}.csv").read_text(encoding="ascii")
    return [(float(seconds), float(rate)) for seconds, rate in list(csv.reader(text.splitlines()))[1:]]


def rows(name: str) -> list[dict[str, float]]:
    """Returns the rows of a table by the name of its file, without ".csv": each by the names of its columns.

    Raises:
        FileNotFoundError: there is none.
    """
    text = (files(__name__) / f"{name}.csv").read_text(encoding="ascii")
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(text.splitlines())]
