"""A simulated cluster around a master: fake workers, faults, and its invariants, seen after every note."""

from __future__ import annotations

import asyncio
from typing import Any

from protos import mapreduce_pb2 as pb
from services.mapreduce import client
from services.mapreduce.master.backups import Rule
from services.mapreduce.master.service import Master
from services.mapreduce.master.state import Kind, State
from sim.world.faults import Faults
from sim.world.simulation import Simulation

from .fakes import FakeWorker, MemoryFiles, fake_worker

JOB = {"inputs": ["in"], "output": "out", "reduces": 2, "split_bytes": 100}
MASTER = {"ping_interval_s": 0.5, "ping_timeout_s": 2.0, "no_worker_limit_s": 20.0}


class Rig:
    """A master, some workers and a user."""

    def __init__(self, workers=3, *, maps=6, seed=0, interleave=False, limit_s=600.0, worker=None, **master):
        self.simulation = Simulation(seed, limit_s=limit_s, interleave=interleave)
        self.faults = Faults(self.simulation)
        self.files = MemoryFiles({"in/a": 100 * maps} if maps else {"in/empty": 0})
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.violations: list[Exception] = []
        self.workers: dict[str, FakeWorker] = {}
        self.master: Master | None = None
        self._worker = worker or {}
        rule = master.pop("backups", Rule())
        settings = {**MASTER, **master}

        async def program(host):
            checked = Checked(host, self)
            self.master = Master(checked, self.files, backups=rule, **settings)
            await self.master.run(host.serve())

        self.simulation.boot("master", program)
        for number in range(workers):
            self.add(f"w{number}")
        self.user = self.simulation.boot("user")

    def add(self, name, **how):
        """Boots a worker."""
        parameters = {"files": self.files, "made": self.workers, **self._worker, **how}
        return self.simulation.boot(name, fake_worker, parameters)

    def job(self, **fields) -> pb.Job:
        """Returns a specification."""
        return pb.Job(**{**JOB, **fields})

    def run(self, story):
        """Runs `async def story(rig)` as the user; no program may have failed."""
        try:
            result = self.simulation.run(story(self), name="user")
        finally:
            broken = [*self.violations, *self.simulation.failures]
        assert broken == []
        return result

    async def do(self, job=None, progress=None) -> pb.Progress:
        """Runs a job."""
        return await client.run(self.user, "master", job or self.job(), progress)

    def start(self, job=None, progress=None) -> asyncio.Task[pb.Progress]:
        """Begins to run a job."""
        return asyncio.create_task(self.do(job, progress), name="job")

    async def until(self, name, **fields):
        """Returns when a note of that name and fields has been written, and its fields."""
        async with asyncio.timeout(60):
            while not (found := self.noted(name, **fields)):
                await asyncio.sleep(0.01)
        return found[0]

    def noted(self, name, **fields):
        """Returns the fields of the notes of that name that have these fields."""
        return [f for n, f in self.notes if n == name and fields.items() <= f.items()]

    def note(self, name, fields):
        """Takes a note of the master's."""
        self.notes.append((name, fields))


class Checked:
    """A master's door which has its invariants looked at after each note."""

    def __init__(self, host, rig: Rig):
        self._host, self._rig, self._due = host, rig, False

    def __getattr__(self, name):
        return getattr(self._host, name)

    def trace(self, name, **fields):
        self._rig.note(name, fields)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._check)

    def _check(self):
        self._due = False
        try:
            check(self._rig.master)
        except Exception as error:
            self._rig.violations.append(error)
            raise


def check(master: Master) -> None:
    """Asserts what must hold of a master at any moment (3, 4, 10, 11, 14)."""
    scheduler = master.scheduler
    links = scheduler.workers.links
    assert scheduler.workers.usable == sum(link.usable for link in links.values())
    queued = {
        (job, e.attempt): e
        for link in links.values()
        for queue in link.queue
        for (job, _), e in queue.items()
    }
    for job in scheduler.jobs.values():
        state = job.state
        for kind in Kind:
            for task in state.tasks[kind]:
                assert (task.number in state.idle[kind]) == (task.state is State.IDLE)
                assert (task.number in state.running[kind]) == (task.state is State.IN_PROGRESS)
                assert bool(task.executions) == (task.state is State.IN_PROGRESS)
                assert (task.worker is not None) == (task.state is State.COMPLETED)
                assert bool(job.records[kind][task.number]) == (task.state is State.COMPLETED)
                assert len({e.worker for e in task.executions}) == len(task.executions) <= 2
                for skipped in task.skip:
                    assert job.spec.skip_bad_records and task.reports.count(skipped) >= 2
                if job.ending:
                    continue
                for execution in task.executions:
                    assert execution.worker in links, "an execution on a worker that failed"
                    assert queued[job.id, execution.attempt] is execution
                if kind is Kind.MAP and not job.map_only and task.state is State.COMPLETED:
                    assert task.worker in links, "the output of a map on a worker that failed"
        if not job.map_only:
            assert job.locations.bytes_of_sizes <= state.executions * job.spec.reduces
        live: dict[str, int] = {}
        for record in (record for records in job.records for record in records if record):
            for name, value in pb.Completion.FromString(record).counters.values.items():
                live[name] = live.get(name, 0) + value
        assert {n: v for n, v in job.tally.counters.items() if v} == {n: v for n, v in live.items() if v}


def check_story(notes, files: MemoryFiles, outcome: pb.Progress, maps: int, reduces: int) -> None:
    """Asserts what must hold of a job that is done, from the notes of its master (3, 4, 8, 10, 16)."""
    state: dict[tuple[str, int], str] = {}
    alive: dict[str, None] = {}
    dead: dict[int, None] = {}  # attempts
    falls = False
    read = 0
    for name, fields in notes:
        task = (fields.get("kind", ""), fields.get("number", -1))
        if name == "worker registered":
            alive[fields["worker"]] = None
        elif name == "worker failed":
            alive.pop(fields["worker"], None)
            falls = True
        elif name in ("assigned", "adopted"):
            assert state.get(task) != "completed", "a completed task was executed again"
            assert name == "adopted" or fields["attempt"] not in dead, "an attempt's number was used twice"
            state[task] = "in-progress"
        elif name == "completed":
            assert state.get(task) != "completed", "a task was completed twice"
            state[task] = "completed"
            dead[fields["attempt"]] = None
        elif name in ("died", "failed", "withdrawn"):
            falls = True
        elif name == "reopened":
            assert task[0] == "map" and state.get(task, "completed") == "completed", (
                "a completed reduce went back"
            )
            state[task] = "idle"
            falls = True
        elif name == "job started":  # by a restarted master: what was not yet durable is not known
            state = {}
            falls = True
        elif name == "progress":
            assert fields["input_bytes"] >= read or falls, "progress fell, and nothing had died"
            read, falls = fields["input_bytes"], False
        elif name == "job finished":
            break
    assert outcome.maps_completed == outcome.maps == maps
    assert outcome.reduces_completed == outcome.reduces == reduces
    assert outcome.counters.values["tasks"] == maps + reduces, "counted once a task"
    assert outcome.counters.values["bytes"] == 7 * (sum(range(maps)) + sum(range(reduces)))
    left = [path for path in sorted(files.data) if not path.startswith("out/.temporary/")]
    assert left == ["out/_SUCCESS", *(f"out/part-{n:05}" for n in range(reduces or maps))]
    if not any(name == "worker failed" for name, _ in notes):
        assert left == sorted(files.data), "temporary files were left, though all workers could be told"
