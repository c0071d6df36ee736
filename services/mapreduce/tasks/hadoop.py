"""What an executable is told in its environment, under the names that Hadoop gives it.

Hadoop puts the whole configuration of a job there, with every character of a name that is not a letter or
digit turned into "_", under today's names (`mapreduce_map_input_file`) and, for scripts older than they
are, the names of Hadoop 1 (`map_input_file`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.files.api import Range
    from services.mapreduce.tasks.order import Order

OLD_NAMES = {
    "mapreduce.job.id": "mapred.job.id",
    "mapreduce.job.name": "mapred.job.name",
    "mapreduce.job.maps": "mapred.map.tasks",
    "mapreduce.job.reduces": "mapred.reduce.tasks",
    "mapreduce.task.id": "mapred.tip.id",
    "mapreduce.task.attempt.id": "mapred.task.id",
    "mapreduce.task.partition": "mapred.task.partition",
    "mapreduce.task.ismap": "mapred.task.is.map",
    "mapreduce.task.output.dir": "mapred.work.output.dir",
    "mapreduce.output.fileoutputformat.outputdir": "mapred.output.dir",
    "mapreduce.map.input.file": "map.input.file",
    "mapreduce.map.input.start": "map.input.start",
    "mapreduce.map.input.length": "map.input.length",
}
"""Names since Hadoop 0.21, and what each was called before."""

_UNSAFE = re.compile("[^0-9A-Za-z]")


def environment(order: Order, piece: Range | None = None, *, is_map: bool) -> dict[str, str]:
    """Returns the variables of a task, without those of the machine.

    Args:
        order: the task.
        piece: of the input, for a mapper.
        is_map: whether it is a map task.
    """
    kind = "m" if is_map else "r"
    task = f"task_{order.job}_{kind}_{order.number:06d}"
    values = {
        "mapreduce.job.id": f"job_{order.job}",
        "mapreduce.job.name": order.settings.get("mapreduce.job.name", "streaming"),
        "mapreduce.job.reduces": str(order.reduces),
        "mapreduce.task.id": task,
        "mapreduce.task.attempt.id": f"attempt{task.removeprefix('task')}_{order.attempt}",
        "mapreduce.task.partition": str(order.number),
        "mapreduce.task.ismap": "true" if is_map else "false",
        "mapreduce.output.fileoutputformat.outputdir": order.output,
    }
    if order.maps:
        values["mapreduce.job.maps"] = str(order.maps)
    if piece is not None:
        values["mapreduce.map.input.file"] = piece.path
        values["mapreduce.map.input.start"] = str(piece.offset)
        values["mapreduce.map.input.length"] = str(piece.size)
    values |= {old: values[new] for new, old in OLD_NAMES.items() if new in values}
    return {_UNSAFE.sub("_", name): value for name, value in (order.settings | values).items()}
