"""What `dsim mr` tells a person: how far a job is, and what came of it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sim.scenario.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protos import mapreduce_pb2 as pb
    from services.mapreduce.job import Result

MAP_SHARE = 0.6  # of a job's time, when nothing is known: for the time that is left
_WIDTH = 20
_UNITS = ("B", "KB", "MB", "GB", "TB")


def amount(count: float) -> str:
    """Returns bytes as a person reads them, in powers of 1,000."""
    for unit in _UNITS:
        if abs(count) < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return (
        f"{count:.0f} {unit}"
        if unit == "B"
        else f"{count:.3g} {unit}"
        if count < 999.5
        else f"{count:.0f} {unit}"
    )


def span(seconds: float) -> str:
    """Returns a time as a person reads it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60}:{whole % 60:02d} min" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02d} h"
    )


def fraction(now: pb.Progress) -> float:
    """Returns how much of the job is done, from 0 to 1."""
    if now.total_input_bytes:
        maps = min(1.0, now.input_bytes / now.total_input_bytes)
    else:
        maps = now.maps_completed / now.maps if now.maps else 0.0
    if not now.reduces:
        return maps
    return MAP_SHARE * maps + (1 - MAP_SHARE) * now.reduces_completed / now.reduces


def line(now: pb.Progress, rate: float) -> str:
    """Returns the line that shows how far a job is.

    Args:
        now: the report.
        rate: bytes of input a second, lately.
    """
    done = fraction(now)
    filled = int(done * _WIDTH)
    parts = [f"[{'#' * filled}{'.' * (_WIDTH - filled)}] map {now.maps_completed}/{now.maps}"]
    if now.reduces:
        parts.append(f"reduce {now.reduces_completed}/{now.reduces}")
    if now.maps_completed < now.maps:
        parts.append(f"{amount(rate)}/s")
    if now.backups:
        parts.append(f"backups {now.backups}")
    if now.failed_workers:
        parts.append(f"failed workers {len(now.failed_workers)}")
    if done > 0.02 and now.elapsed_s > 1:
        parts.append(f"{span(now.elapsed_s * (1 - done) / done)} left")
    return "  ".join(parts)


@contextmanager
def progress_bar() -> Iterator[Callable[[pb.Progress], None]]:
    """Shows reports on a terminal as they come, nothing in a pipe; the status page's address once, and each
    execution that failed.
    """
    if not sys.stderr.isatty():
        yield lambda now: None
        return
    page = trouble = ""
    before: list[tuple[float, int]] = []

    def show(now: pb.Progress) -> None:
        nonlocal page, trouble
        if now.status_page and now.status_page != page:
            page = now.status_page
            print(f"\r\033[Kstatus page: {page}", file=sys.stderr)
        if now.trouble != trouble:
            trouble = now.trouble
            print(f"\r\033[Kfailed, and is tried again: {trouble}", file=sys.stderr)
        before.append((now.elapsed_s, now.input_bytes))
        while len(before) > 2 and now.elapsed_s - before[0][0] > 3:
            before.pop(0)
        seconds = now.elapsed_s - before[0][0]
        rate = (now.input_bytes - before[0][1]) / seconds if seconds > 0 else 0.0
        print(f"\r\033[K{line(now, max(0.0, rate))}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def told(result: Result) -> str:
    """Returns what came of a job, in words."""
    parts = len(result.parts)
    lines = [
        f"{shown(result.output)}: {parts} part{'s' if parts != 1 else ''}, "
        f"{amount(result.bytes.get('output', 0))}, in {result.seconds:.1f} s"
    ]
    for phase, tasks, what in (("map", result.maps, "input"), ("reduce", result.reduces, "intermediate")):
        if tasks or phase == "map":
            lines.append(
                f"  {phase:6}  {tasks} task{'s' if tasks != 1 else ''}, {amount(result.bytes.get(what, 0))}, "
                f"{result.phases.get(phase, 0.0):.1f} s"
            )
    lines += [f"  skipped  {record}" for record in result.skipped]
    if result.counters:
        width = max(map(len, result.counters))
        lines += [f"  {name:{width}}  {value:,}" for name, value in sorted(result.counters.items())]
    return "\n".join(lines)
