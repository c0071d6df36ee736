"""The master's RPCs and life: start, recovery, jobs' beginnings and ends. Program `serve(host, files)`."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import mapreduce_pb2 as pb
from protos import mapreduce_pb2_grpc as rpc
from services.files import connect
from services.mapreduce.master import finish
from services.mapreduce.master.backups import Rule
from services.mapreduce.master.checkpoint import Claimed, Journal, Over
from services.mapreduce.master.job import RunningJob
from services.mapreduce.master.locality import most
from services.mapreduce.master.recovery import Recovery
from services.mapreduce.master.scheduler import Scheduler
from services.mapreduce.master.splits import MAX_PAIRS, PLANNED, SPLIT_BYTES, TooManyMaps, plan_splits
from services.mapreduce.master.status_page import StatusPage
from services.mapreduce.master.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

    from services.files.api import FileInfo, FileSystem, Range
    from services.host import Context, Host
    from services.mapreduce.master.checkpoint import Record

MAX_REDUCES = 100_000

OUTCOMES_KEPT = 100
"""Jobs that are over and can still be asked for."""

LOCATE_BATCH = 1_000
"""Ranges whose replicas are asked for in one call."""

ATTEMPTS_OF_ONE_LIFE = 1 << 32
"""Executions are numbered from here on by each incarnation of the master: unique over its restarts."""


class Master(rpc.MasterServicer):
    """The master of any number of jobs and workers.

    Args:
        host: its door.
        files: the shared file system.
        ping_interval_s: between two pings of a worker.
        ping_timeout_s: silence after which a worker is marked as failed (3.3).
        locations_interval_s: map outputs are told to reduces so often (3.1 step 4).
        progress_interval_s: who watches a job hears of it so often.
        no_worker_limit_s: without any worker for so long, jobs are given up.
        backups: when backup tasks are started (3.6).

    Attributes:
        scheduler: jobs and workers.
        view: what a status page may see.
        outcomes: last reports of jobs that are over, the latest last.
        claims: output folders that are being claimed, by job.
    """

    def __init__(
        self,
        host: Host,
        files: FileSystem,
        *,
        ping_interval_s: float = 0.5,
        ping_timeout_s: float = 5.0,
        locations_interval_s: float = 0.1,
        progress_interval_s: float = 0.2,
        no_worker_limit_s: float = 30.0,
        backups: Rule | None = None,
    ) -> None:
        self.outcomes: dict[str, pb.Progress] = {}
        self.claims: dict[str, str] = {}
        self.journal = Journal(host, self._snapshot)
        self.scheduler = Scheduler(
            host,
            self.journal,
            self._end,
            self._tidy,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            locations_interval_s=locations_interval_s,
            no_worker_limit_s=no_worker_limit_s,
        )
        self.view = View(self.scheduler, self.outcomes)
        self._page = StatusPage(self.view, host.name)
        self._host = host
        self._files = files
        self._rule = backups or Rule()
        self._progress_interval = progress_interval_s
        self._planning = asyncio.Lock()
        self._errands: dict[asyncio.Task[None], None] = {}
        self._tidying: dict[str, None] = {}

    async def run(self, server: grpc.aio.Server, status: tuple[str, int] | None = None) -> None:
        """Recovers what an earlier incarnation has left, and serves until cancelled.

        Args:
            server: not yet started.
            status: where the status page listens (4.8): address and port.
        """
        await Recovery(self, self._host).run(await self.journal.load())
        rpc.add_MasterServicer_to_server(self, server)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.journal.write(), name="journal")
            group.create_task(self.scheduler.tick(), name="tick")
            await self.journal.durable()
            if status is not None:
                started = asyncio.Event()
                group.create_task(self._page.run(*status, started), name="status page")
                await started.wait()
            await server.start()
            await server.wait_for_termination()

    # The user's side

    async def Submit(self, request: pb.Job, context: Context) -> pb.JobId:
        """Plans the splits and starts a job; repeated, it starts nothing."""
        if not request.id:
            await _refuse(context, "a job needs an id")
        async with self._planning:  # a repetition may come while the first call is still planning
            if request.id not in self.scheduler.jobs and request.id not in self.outcomes:
                await self._begin(request, context)
        if not await self.journal.durable():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the master's disk fails")
        return pb.JobId(job=request.id)

    async def _begin(self, spec: pb.Job, context: Context) -> None:
        if not 0 <= spec.reduces <= MAX_REDUCES:
            await _refuse(
                context, f"the number of reduces must be from 0 to {MAX_REDUCES:,}, not {spec.reduces}"
            )
        if spec.split_bytes < 0:
            await _refuse(context, f"the split size must be at least 1 byte, not {spec.split_bytes}")
        if spec.max_attempts < 0:
            await _refuse(context, f"the number of attempts must be at least 1, not {spec.max_attempts}")
        if not spec.output:
            await _refuse(context, "a job needs an output folder")
        if not spec.inputs and PLANNED not in spec.settings:
            await _refuse(context, "a job needs at least one input")
        files = await self._inputs(spec, context)
        try:
            splits = plan_splits(files, spec.split_bytes or SPLIT_BYTES, spec.settings)
        except (TooManyMaps, msgspec.MsgspecError) as error:
            await _refuse(context, str(error))
        if len(splits) * spec.reduces > MAX_PAIRS:
            await _refuse(
                context,
                f"{len(splits):,} maps times {spec.reduces:,} reduces are more than {MAX_PAIRS:,} pairs: "
                "choose larger splits or fewer reduces",
            )
        await self._claim(spec, context)
        job = await self.new_job(spec, splits, sum(file.size for file in files), self._host.clock.time())
        self.claims.pop(spec.id, None)
        self.journal.append(job.submitted())
        self._host.trace(
            "job started",
            job=job.id,
            title=spec.code.title,
            maps=len(splits),
            reduces=spec.reduces,
            input_bytes=job.input_bytes,
            output=spec.output,
            recovered=False,
        )
        self.scheduler.begin(job)

    async def _inputs(self, spec: pb.Job, context: Context) -> list[FileInfo]:
        """Lists the input; names everything that is not there, or cannot be read."""
        files: dict[str, FileInfo] = {}
        missing, wrong = [], []
        for path in spec.inputs:
            try:
                files.update((file.path, file) for file in await self._files.list(path))
            except FileNotFoundError:
                missing.append(path)
            except OSError as error:
                wrong.append(f"{path} ({error.strerror or error})")
        wrong += [f"{file!a} (its name is not UTF-8)" for file in files if not _is_utf8(file)]
        if missing:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such input: {', '.join(missing)}")
        if wrong:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"input that cannot be read: {', '.join(wrong)}"
            )
        return list(files.values())

    async def _claim(self, spec: pb.Job, context: Context) -> None:
        """Makes the output folder, which must be new; found after a crash, it may be this job's own."""
        mine = self.claims.get(spec.id) == spec.output
        self.claims[spec.id] = spec.output
        self.journal.append(Claimed(spec.id, spec.output))
        await self.journal.durable()
        try:
            await self._files.create(spec.output, exclusive=True)
        except FileExistsError:
            if not (mine and await self._is_empty(spec.output)):
                self.claims.pop(spec.id, None)
                await context.abort(
                    grpc.StatusCode.ALREADY_EXISTS, f"the output folder exists already: {spec.output}"
                )
        except OSError as error:
            self.claims.pop(spec.id, None)
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the output folder cannot be made: {spec.output} ({error.strerror or error})",
            )

    async def _is_empty(self, output: str) -> bool:
        try:
            return not await self._files.list(output) and not await self._files.exists(f"{output}/_SUCCESS")
        except FileNotFoundError:
            return True

    async def new_job(
        self, spec: pb.Job, splits: Sequence[tuple[Range, ...]], input_bytes: int, began: float
    ) -> RunningJob:
        """Puts a job together, with the positions of its input's replicas (3.4).

        Args:
            spec: the specification.
            splits: M of them.
            input_bytes: of all files.
            began: seconds of the wall clock.
        """
        now = asyncio.get_running_loop().time()
        return RunningJob(
            spec,
            splits,
            await self._hosts(splits),
            self.scheduler.racks,
            input_bytes=input_bytes,
            first_attempt=self._host.incarnation * ATTEMPTS_OF_ONE_LIFE + 1,
            rule=self._rule,
            began=(now - max(0.0, self._host.clock.time() - began), began),
        )

    async def _hosts(self, splits: Sequence[tuple[Range, ...]]) -> list[tuple[str, ...]]:
        ranges = [piece for split in splits for piece in split]
        held: list[dict[str, int]] = []
        try:
            for start in range(0, len(ranges), LOCATE_BATCH):
                held += await self._files.locate(ranges[start : start + LOCATE_BATCH])
        except OSError:
            return [()] * len(splits)  # locality is a preference
        hosts: list[tuple[str, ...]] = []
        same: dict[tuple[str, ...], tuple[str, ...]] = {}
        pieces = iter(held)
        for split in splits:
            total: dict[str, int] = {}
            for _ in split:
                for host, size in next(pieces).items():
                    total[host] = total.get(host, 0) + size
            names = most(total)
            hosts.append(same.setdefault(names, names))
        return hosts

    async def Watch(self, request: pb.JobId, context: Context) -> AsyncIterator[pb.Progress]:
        """Streams a job's progress until it is over."""
        told = -1
        while request.job not in self.outcomes:
            job = self.scheduler.jobs.get(request.job)
            if job is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"the master knows of no job {request.job}")
            if job.version != told:
                told = job.version
                yield self._progress(job)
            try:
                async with asyncio.timeout(self._progress_interval):
                    await job.over.wait()
            except TimeoutError:
                continue
        yield self.outcomes[request.job]

    async def Cancel(self, request: pb.JobId, context: Context) -> pb.Ack:
        """Ends a job; returns when it is over. Nothing of it is left."""
        job = self.scheduler.jobs.get(request.job)
        if job is not None:
            if not job.ending:
                self.scheduler.stop(job)
                self._errand(self._finish(job, pb.Progress.CANCELLED, "cancelled", None), f"end {job.id}")
            await job.over.wait()
        elif request.job not in self.outcomes:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"the master knows of no job {request.job}")
        return pb.Ack()

    async def Jobs(self, request: pb.JobsRequest, context: Context) -> pb.JobList:
        """Lists the jobs under way, and the last ones that are over."""
        running = [self._progress(job) for job in self.scheduler.jobs.values()]
        return pb.JobList(jobs=[*self.outcomes.values(), *running])

    def _progress(self, job: RunningJob) -> pb.Progress:
        now = asyncio.get_running_loop().time()
        report = job.progress(now, len(self.scheduler.workers.links))
        report.status_page = self._page.url
        return report

    # The workers' side

    async def Register(self, request: pb.Registration, context: Context) -> pb.Registered:
        """A worker says that it is there."""
        self.scheduler.register(request)
        return pb.Registered(master_incarnation=self._host.incarnation)

    async def GetJob(self, request: pb.JobId, context: Context) -> pb.Job:
        """Tells a worker what a job is."""
        job = self.scheduler.jobs.get(request.job)
        if job is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job} is under way")
        return job.spec

    async def Complete(self, request: pb.Completions, context: Context) -> pb.Ack:
        """Takes completion messages (3.3); acknowledged, they are durable.

        All are from one worker. One that is not registered says it again when it is: what it registers with
        may name the same execution as one under way, which must not end before it begins.
        """
        if not self.scheduler.knows(request.completions):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a worker must register first")
        self.scheduler.completed(request.completions)
        await self.journal.durable()
        return pb.Ack()

    async def Locate(self, request: pb.LocationsRequest, context: Context) -> AsyncIterator[pb.Locations]:
        """Tells a reduce worker where map outputs are, as they come and move, until the job is over."""
        job = self.scheduler.jobs.get(request.job)
        if job is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job} is under way")
        if not 0 <= request.reduce < job.spec.reduces:
            await _refuse(context, f"job {request.job} has no reduce task {request.reduce}")
        async for message in job.locations.follow(request.reduce):
            yield message
            del message  # the next may take long, and this one may be large

    async def ReportLostInput(self, request: pb.LostInput, context: Context) -> pb.Ack:
        """A reduce worker could not read a map task's output: the map is executed again, elsewhere."""
        self.scheduler.input_lost(request)
        return pb.Ack()

    # Ends

    def _end(self, job: RunningJob, error: str, why: pb.Completion | None) -> None:
        state = pb.Progress.FAILED if error else pb.Progress.DONE
        self._errand(self._finish(job, state, error, why), f"end {job.id}")

    async def _finish(
        self, job: RunningJob, state: pb.Progress.State.ValueType, error: str, why: pb.Completion | None
    ) -> None:
        log = b""
        if state == pb.Progress.DONE:
            await self.journal.durable()  # before anybody else hears that it is done
            error = await finish.leave_success(self._files, job)
            if error:
                state = pb.Progress.FAILED
        if why is not None:
            link = self.scheduler.workers.links.get((why.worker, why.incarnation))
            said, log = await finish.leave_log(self._files, job, why, link)
            error += said
        outcome = self._progress(job)
        outcome.state, outcome.error, outcome.failed_log = state, error, log
        outcome.skipped.extend(job.skipped())
        outcome.output = job.spec.output
        self.outcomes[job.id] = job.outcome = outcome
        while len(self.outcomes) > OUTCOMES_KEPT:
            del self.outcomes[next(iter(self.outcomes))]
        self.scheduler.forget(job.id)
        self.view.keep(job)
        self.journal.append(Over(outcome.SerializeToString()))
        await self.journal.durable()
        if state == pb.Progress.CANCELLED:
            await self._told(job.id)  # what still runs would write again
            await finish.clean(self._files, job.spec.output)
        elif state == pb.Progress.FAILED:
            await finish.leave_what_helps(self._files, job.spec.output)
        self._host.trace("job finished", job=job.id, state=pb.Progress.State.Name(state).lower(), error=error)
        job.over.set()
        self.journal.compact()
        self._tidy(job.id)

    def _tidy(self, job: str) -> None:
        """Cleans up again after a job that is over, for a worker may have written before it heard of the end.

        So may one that was given up, and comes back with what it has done meanwhile.
        """
        if job in self.outcomes and job not in self._tidying:
            self._tidying[job] = None
            self._errand(self._clean_again(job, self.outcomes[job].output), f"tidy {job}")

    async def _clean_again(self, job: str, output: str) -> None:
        await self._told(job, math.inf)
        del self._tidying[job]
        later = [other.spec.output for other in self.scheduler.jobs.values()]
        if output and output not in (
            *later,
            *self.claims.values(),
        ):  # it may have been removed, and made anew
            await finish.clean(self._files, f"{output}/.temporary")

    async def _told(self, job: str, limit_s: float = 1.0) -> None:
        """Returns when all workers have heard that a job is over, or failed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while loop.time() < deadline and any(
            job in link.forget for link in self.scheduler.workers.links.values()
        ):
            await asyncio.sleep(0.05)

    def _snapshot(self) -> Iterator[Record]:
        """Yields the records that lead to the present state."""
        yield from self.scheduler.snapshot()
        for job, output in self.claims.items():
            yield Claimed(job, output)
        for outcome in self.outcomes.values():
            yield Over(outcome.SerializeToString())

    def _errand(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._errands[task] = None
        task.add_done_callback(self._errands.pop)


def _is_utf8(text: str) -> bool:
    """Says whether it can be told to others: names of files may hold any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _refuse(context: Context, why: str) -> None:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)


async def serve(
    host: Host,
    files: str = "files",
    backups: dict[str, Any] | None = None,
    status_port: int | None = 0,
    status_address: str = "127.0.0.1",
    **settings: Any,
) -> None:
    """Serves as master until cancelled.

    Args:
        host: its door.
        files: address of the file system, as `services.files.connect` takes it.
        backups: of `backups.Rule`: when backup tasks are started.
        status_port: of the status page; 0: any that is free; None: there is none.
        status_address: where it listens. It shows everything to everybody who reaches it.
        settings: seconds, as `Master` takes them.
    """
    rule = Rule(**backups) if backups is not None else None
    page = (status_address, status_port) if status_port is not None else None
    await Master(host, connect(host, files), backups=rule, **settings).run(host.serve(), page)
