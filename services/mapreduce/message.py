"""A specification as the message that goes to a master, and the master's last report as the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import mapreduce_pb2 as pb
from services.mapreduce.code import load, pack
from services.mapreduce.job import SPLIT_BYTES, Result, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from services.mapreduce.job import Spec


def job_message(spec: Spec, job_id: str = "") -> pb.Job:
    """Returns the message.

    Args:
        spec: what to run, as `engines.prepare` returns it; its paths are those of the cluster's file system.
        job_id: empty: the client chooses one.

    Raises:
        SpecError: the specification cannot be run, or its code not be sent.
    """
    spec.check()
    code = pack(spec)
    try:
        return pb.Job(
            id=job_id,
            code=pb.Code(name=code[0], pickled=code[1], title=spec.title),
            inputs=spec.paths,
            output=spec.output,
            reduces=load(code).reduces,
            split_bytes=spec.split_bytes or SPLIT_BYTES,
            memory_bytes=spec.memory,
            max_attempts=spec.max_attempts,
            no_backups=not spec.backups,
            skip_bad_records=spec.skip_bad_records,
            task_timeout_s=spec.task_timeout,
            settings=spec.settings,
        )
    except UnicodeEncodeError as exc:  # the name of a file may hold any bytes, a message may not
        raise SpecError(f"cannot be sent to a master, for it is not UTF-8: {exc.object!a}") from None


def result_of(
    last: pb.Progress,
    output: str,
    parts: Sequence[str],
    seconds: float,
    reader: Callable[[str], Iterator[tuple[Any, Any]]] | None = None,
) -> Result:
    """Returns the result.

    Args:
        last: the report with which the job was done.
        output: the folder.
        parts: the names of its part files.
        seconds: from the user's call to its return.
        reader: of a part's pairs.
    """
    map_s = last.map_phase_s
    phases = {"start": seconds - last.elapsed_s, "map": map_s, "reduce": last.elapsed_s - map_s}
    return Result(
        output=output,
        parts=list(parts),
        counters=dict(sorted(last.counters.values.items())),
        seconds=seconds,
        phases=phases,
        bytes={
            "input": last.input_bytes,
            "intermediate": last.intermediate_bytes,
            "output": last.output_bytes,
        },
        skipped=[
            f"{pb.Kind.Name(record.kind).lower()} {record.task}: {record.where or f'record {record.number}'}"
            for record in last.skipped
        ],
        maps=last.maps,
        reduces=last.reduces,
        extra={
            "executions": last.executions,
            "backups": last.backups,
            "workers": last.workers,
            "failed_workers": list(last.failed_workers),
        },
        reader=reader,
    )
