"""The engine "dask": a job on a `dask.distributed` cluster, the way past one machine.

Tasks are dask tasks that call the same `run_map` and `run_reduce`; input, intermediate files and output are
in folders that all machines share (NFS and the like), so a completed map outlives its worker. What a
failure means is decided by the master's own rules (`master/state.py`). The workers need dsim installed, and
should have one thread each: user code has a process to itself. There are no backup tasks; reduces begin
when all maps are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protos import mapreduce_pb2 as pb
from services.mapreduce.code import pack, program_of
from services.mapreduce.commit import commit
from services.mapreduce.engines.prepare import prepare
from services.mapreduce.job import JobFailed, Result, SpecError, parts_of, reader_of
from services.mapreduce.master import state
from services.mapreduce.master.state import JobState, Kind
from services.mapreduce.message import result_of
from services.mapreduce.tasks.order import InputError, Order, UserError
from services.real.shared_folder import SharedFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from distributed import Client

    from services.mapreduce.engines.prepare import Prepared
    from services.mapreduce.job import Spec
    from services.mapreduce.master.state import Execution
    from services.mapreduce.tasks.order import Done

TELL_EVERY = 0.5  # seconds
CONNECT_WITHIN = 10.0
LOG_LINES = 40
_NOT_BEGUN = -2  # in the place of a record's number
_DASK = ("dask", 0)  # the one worker, as far as the rules go: dask chooses among its own


async def run(
    spec: Spec,
    *,
    workers: int | None = None,
    progress: Callable[[pb.Progress], None] | None = None,
    scheduler: str | None = None,
) -> Result:
    """Runs a job to its end.

    Args:
        spec: what to run; paths are those of the shared folders, the same on all machines.
        workers: how many processes to start, when there is no cluster yet; None: one a core.
        progress: called about twice a second.
        scheduler: a cluster's address; None: a cluster of local processes, for this job.

    Raises:
        SpecError: the specification cannot be run, dask is not installed, or there is no such cluster.
        JobFailed: the job ended without a result.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise SpecError("engine dask: dask is not installed (pip install 'dsim[dask]')") from None
    began = time.monotonic()
    files = SharedFolder("/")
    spec = replace(
        spec, inputs=[os.path.abspath(path) for path in spec.paths], output=os.path.abspath(spec.output)
    )
    prepared = await prepare(spec, files)
    async with _cluster(scheduler, workers or os.cpu_count() or 1) as client:
        job = _Job(prepared, files, client, progress)
        try:
            await files.create(spec.output, exclusive=True)
        except OSError as exc:
            raise SpecError(f"output: {exc.filename}: {exc.strerror}") from None
        try:
            last = await job.run()
        except state.JobFailed as exc:
            raise JobFailed(str(exc), job.log) from None
        except BaseException:  # cancelled: nothing stays
            await asyncio.shield(files.remove(spec.output))
            raise
    parts = await parts_of(spec.output, files)
    view = await files.view(())
    result = result_of(last, spec.output, parts, time.monotonic() - began, reader_of(prepared.spec, view))
    result.skipped = job.skipped
    return result


class _Job:
    """A job under way.

    Attributes:
        log: when it has failed, the last lines of the failing task's log.
        skipped: records left out, each "task: place".
    """

    def __init__(
        self,
        prepared: Prepared,
        files: SharedFolder,
        client: Client,
        progress: Callable[[pb.Progress], None] | None,
    ) -> None:
        self.log: list[str] = []
        self.skipped: list[str] = []
        self._spec = prepared.spec
        self._splits = prepared.splits
        self._files = files
        self._client = client
        self._progress = progress
        self._began = time.monotonic()
        self._code = pack(self._spec)
        self._reduces = program_of(self._spec).reduces
        self._id = f"dask-{secrets.token_hex(5)}"
        self._scratch = Path(self._spec.output) / ".temporary" / "dask"
        self._maps: dict[int, Done] = {}
        self._heard: dict[tuple[str, int, int], tuple[float, str, int]] = {}
        self._state = JobState(
            len(self._splits),
            self._reduces,
            max_failures=self._spec.max_attempts,
            skip_bad_records=self._spec.skip_bad_records,
        )
        self._sums = pb.Progress(
            job=self._id, maps=len(self._splits), reduces=self._reduces, total_input_bytes=prepared.total
        )

    async def run(self) -> pb.Progress:
        """Runs all tasks and commits their output; returns the last report."""
        self._scratch.mkdir(parents=True)
        self._client.subscribe_topic(self._id, self._hear)
        try:
            await self._phase(Kind.MAP)
            self._sums.map_phase_s = time.monotonic() - self._began
            await self._phase(Kind.REDUCE)
            await self._files.write(f"{self._spec.output}/_SUCCESS", b"")
            self._sums.state = pb.Progress.DONE
        finally:
            with contextlib.suppress(Exception):  # a cluster that is gone has no topics
                self._client.unsubscribe_topic(self._id)
            await asyncio.shield(self._files.remove(f"{self._spec.output}/.temporary"))
        return self._tell()

    async def _phase(self, kind: Kind) -> None:
        """Runs all tasks of a kind."""
        running: dict[asyncio.Task[Done], Execution] = {}
        try:
            while True:
                for task in list(self._state.idle[kind].values()):
                    execution = self._state.begin(task, _DASK, time.monotonic())
                    running[asyncio.create_task(self._execute(execution, task.skip))] = execution
                if not running:
                    return
                ended, _ = await asyncio.wait(
                    running, timeout=TELL_EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                for call in ended:
                    await self._ended(running.pop(call), call)
                self._tell()
        finally:
            for call in running:
                call.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _execute(self, execution: Execution, skip: tuple[int, ...]) -> Done:
        from services.mapreduce.engines.dask_tasks import RERUNS, die, execute

        kind, number = execution.kind, execution.number
        order = Order(
            job=self._id,
            code=self._code,
            number=number,
            attempt=execution.attempt * RERUNS,
            reduces=self._reduces,
            maps=len(self._splits),
            split=self._splits[number] if kind is Kind.MAP else (),
            output=self._spec.output,
            skip=skip,
            memory_bytes=self._spec.memory,
            settings=self._spec.settings,
        )
        regions = []
        if kind is Kind.REDUCE:
            regions = [(done.path, *done.offsets[number : number + 2]) for done in self._maps.values()]
        future = self._client.submit(
            execute,
            kind.word,
            order,
            str(self._scratch),
            self._id,
            regions,
            key=f"{self._id}-{kind.word}-{number}-{execution.attempt}",
            pure=False,
        )
        result = asyncio.ensure_future(_result(future))
        try:
            while not (await asyncio.wait([result], timeout=TELL_EVERY))[0]:
                heard, address, _ = self._heard.get(self._place(execution), (time.monotonic(), "", 0))
                if time.monotonic() - heard > self._spec.task_timeout:
                    await future.cancel()  # first: else dask starts it again when its worker has died
                    await self._client.run(die, workers=[address], wait=False, on_error="ignore")
                    raise _Hangs
            return result.result()
        finally:
            result.cancel()
            with contextlib.suppress(Exception):  # the cluster may be gone
                await asyncio.shield(future.cancel())

    async def _ended(self, execution: Execution, call: asyncio.Task[Done]) -> None:
        """Takes an execution's result, or failure.

        Raises:
            state.JobFailed: the task has failed too often.
        """
        kind, number = execution.kind, execution.number
        self._heard.pop(self._place(execution), None)
        trouble = call.exception()
        if trouble is None:
            await self._completed(execution, call.result())
            return
        record, mishap = -1, False
        if isinstance(trouble, UserError):
            error, record = str(trouble), trouble.number
        elif isinstance(trouble, InputError):
            error = str(trouble)
        elif isinstance(trouble, _Hangs):
            error, record = f"no progress for {self._spec.task_timeout:g} s", self._mark(execution)
        elif type(trouble).__name__ == "KilledWorker":
            record = self._mark(execution)
            mishap = record == _NOT_BEGUN  # another task has killed the worker
            error = f"the worker process died{f' on record {record}' if record >= 0 else ''}"
        else:
            error, mishap = f"{type(trouble).__name__}: {trouble}", isinstance(trouble, OSError | MemoryError)
        try:
            self._state.fail(kind, number, execution.attempt, error, record=record, mishap=mishap)
        except state.JobFailed as failed:
            where = self._keep_log(execution)
            raise state.JobFailed(f"{failed}{where}") from None

    async def _completed(self, execution: Execution, done: Done) -> None:
        kind, number = execution.kind, execution.number
        await commit(self._files, self._spec.output, done.outputs)
        self._state.complete(kind, number, execution.attempt, _DASK)
        sums = self._sums
        for name, amount in done.counters.items():
            sums.counters.values[name] = sums.counters.values.get(name, 0) + amount
        self.skipped += [f"{kind.word} {number}: {record.where}" for record in done.skipped]
        if kind is Kind.MAP:
            self._maps[number] = done
            sums.input_bytes += done.input_bytes
            sums.intermediate_bytes += done.offsets[-1] if done.offsets else 0
        if kind is Kind.REDUCE or not self._reduces:
            sums.output_bytes += done.output_bytes

    def _place(self, execution: Execution) -> tuple[str, int, int]:
        from services.mapreduce.engines.dask_tasks import RERUNS

        return execution.kind.word, execution.number, execution.attempt * RERUNS

    def _hear(self, event: tuple[float, Any]) -> None:
        """Takes what a worker tells: its task, its address, bytes of input read."""
        kind, number, attempt, address, input_bytes = event[1]
        self._heard[kind, number, attempt] = (time.monotonic(), address, input_bytes)

    def _mark(self, execution: Execution) -> int:
        """Returns the record that an execution was at, -1: at none; or that it had not begun."""
        from services.mapreduce.engines.dask_tasks import MARK, mark_names

        mark = _NOT_BEGUN
        for name in mark_names(*self._place(execution)):
            try:
                (mark,) = MARK.unpack((self._scratch / name).read_bytes())
            except (OSError, struct.error):
                break
        return mark

    def _keep_log(self, execution: Execution) -> str:
        """Copies the log of the execution by which the job failed, and returns what to say of it."""
        from services.mapreduce.engines.dask_tasks import RERUNS, log_name

        kind, number, first = self._place(execution)
        log = b""
        for attempt in range(first, first + RERUNS):
            try:
                log = (self._scratch / log_name(kind, number, attempt)).read_bytes()
            except OSError:
                break
        self.log = log.decode(errors="replace").splitlines()[-LOG_LINES:]
        if not log:
            return ""
        kept = Path(self._spec.output) / "_logs" / f"{kind}-{number:05}.{execution.attempt}"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(log)
        return f"; log: {kept}"

    def _tell(self) -> pb.Progress:
        """Returns how far the job is, and says it."""
        report = pb.Progress()
        report.CopyFrom(self._sums)
        report.elapsed_s = time.monotonic() - self._began
        report.executions = self._state.executions
        report.maps_completed = self._state.completed(Kind.MAP)
        report.reduces_completed = self._state.completed(Kind.REDUCE) if self._reduces else 0
        for (kind, _, _), (_, _, input_bytes) in self._heard.items():
            if kind == "map":
                report.maps_running += 1
                report.input_bytes += input_bytes
            else:
                report.reduces_running += 1
        if self._progress is not None:
            self._progress(report)
        return report


async def _result(future: Any) -> Done:
    done: Done = await future
    return done


@contextlib.asynccontextmanager
async def _cluster(scheduler: str | None, workers: int) -> AsyncIterator[Client]:
    """Yields a client of the cluster at an address, or of one that lives as long."""
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            client = await Client(scheduler, asynchronous=True, timeout=CONNECT_WITHIN)
        except (OSError, TimeoutError, ValueError) as exc:
            raise SpecError(f"scheduler {scheduler}: no dask cluster there ({exc})") from None
        try:
            yield client
        finally:
            await client.close()
        return
    ours = {"distributed.scheduler.allowed-failures": 0, "distributed.comm.retry.count": 3}
    with dask.config.set(ours), _main_unseen():
        async with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",
                memory_limit=0,
                silence_logs=logging.CRITICAL + 1,
                asynchronous=True,
            ) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            yield client


@contextlib.contextmanager
def _main_unseen() -> Iterator[None]:
    """Within, new processes do not run the user's script again, as multiprocessing would have them."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        if "__file__" in kept:
            del main.__file__
        main.__spec__ = None
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


class _Hangs(Exception):
    """A task makes no progress."""
