"""The invariants of the paper that a run without bytes can still be held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from scenarios.mapreduce.invariants import BackupsNearTheEnd, NetProgress, NothingBreaks, TaskStates
from scenarios.papers.hardware import SPLIT

if TYPE_CHECKING:
    from scenarios.papers.experiment import Outcome
    from sim import World

CHECKS = (
    "all tasks completed",
    "one committed execution a task",
    "backups are a few per cent",
    "most input is read where it is",
    "every byte once",
    TaskStates(),
    BackupsNearTheEnd(),
    NetProgress(),
    NothingBreaks(),
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
        "backups are a few per cent",
        bound and (backup or not any(started)),
        f"{started[0]} of maps, {started[1]} of reduces (3.6)",
    )
    total = sum(watch.near.values())
    local = watch.near.get("data-local", 0)
    world.check(
        "most input is read where it is",
        local >= LOCAL * total,
        f"{local / total:.1%} on the machine, {watch.near.get('rack-local', 0) / total:.1%} in the rack, "
        f"{watch.near.get('remote', 0) / total:.1%} remote (3.4); {watch.deaths} workers failed",
    )
    read = outcome.samples[-1][1]
    expected = maps * round(SPLIT)
    world.check(
        "every byte once",
        abs(read / expected - 1) < 1e-3,
        f"input read, less what was lost: {read / expected:.3%} of what there is",
    )
