"""The invariants of the paper that a run without bytes can still be held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from scenarios.papers.hardware import SPLIT

if TYPE_CHECKING:
    from scenarios.papers.experiment import Outcome
    from sim import World

CHECKS = (
    "all tasks completed",
    "task state machine",
    "one committed execution a task",
    "backups near the end, a few per cent",
    "maps run where their input is",
    "progress falls only by what died",
    "every byte once",
)

BACKUP_SHARE = 0.05
LOCAL = 0.5
"""3.4: "most input data is read locally"."""


def check(world: World, outcome: Outcome, *, backup: bool) -> None:
    """Reports every check."""
    watch, report = outcome.watch, outcome.report
    maps, reduces = watch.tasks["map"], watch.tasks["reduce"]
    done = watch.completed("map"), watch.completed("reduce")
    world.check(
        "all tasks completed",
        report.state == pb.Progress.DONE and done == (maps, reduces),
        f"{done[0]:,} of {maps:,} maps, {done[1]:,} of {reduces:,} reduces; {report.executions:,} executions",
    )
    world.check(
        "task state machine",
        not watch.wrong,
        "; ".join(watch.wrong[:3])
        or f"idle, in-progress, completed; back only for {len(watch.deaths)} failed workers (3.2, 3.3)",
    )
    several = [task for task, count in watch.commits.items() if count != 1]
    world.check(
        "one committed execution a task",
        not several and len(watch.commits) == maps + reduces,
        f"{several[:3]}" if several else f"{len(watch.commits):,} tasks (3.3)",
    )
    started = watch.backups["map"], watch.backups["reduce"]
    bound = all(
        count <= max(2, BACKUP_SHARE * tasks + 1)
        for count, tasks in zip(started, (maps, reduces), strict=True)
    )
    world.check(
        "backups near the end, a few per cent",
        bound and not watch.early and (backup or not any(started)),
        f"{started[0]} of maps, {started[1]} of reduces; none while a task of the kind was idle (3.6)",
    )
    total = sum(watch.near.values())
    local = watch.near.get("data-local", 0)
    world.check(
        "maps run where their input is",
        local >= LOCAL * total,
        f"{local / total:.1%} on the machine, {watch.near.get('rack-local', 0) / total:.1%} in the rack, "
        f"{watch.near.get('remote', 0) / total:.1%} remote (3.4)",
    )
    world.check(
        "progress falls only by what died",
        not watch.falls,
        "; ".join(watch.falls[:3])
        or f"{len(watch.progress)} reports, {len(watch.deaths)} failures of workers",
    )
    read = outcome.samples[-1][1]
    expected = maps * round(SPLIT)
    world.check(
        "every byte once",
        abs(read / expected - 1) < 1e-3,
        f"input read, less what was lost: {read / expected:.3%} of what there is",
    )
