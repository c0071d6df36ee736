"""The master's rules, by hand and by chance: no network, no clock (MapReduce 3.2, 3.3, 3.6, 4.6)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protos import mapreduce_pb2 as pb
from services.mapreduce.master.backups import Backups, Rule
from services.mapreduce.master.state import MAX_MISHAPS, JobFailed, JobState, Kind, State

A, B, C = ("a", 0), ("b", 0), ("c", 0)
MAP, REDUCE = Kind.MAP, Kind.REDUCE


def take(job: JobState, kind: Kind = MAP, worker=A, workers=3):
    execution = job.take(kind, worker, workers, 0.0)
    return None if execution is None else (job.tasks[kind][execution.number], execution.attempt)


def complete_all(job: JobState, worker=A, kind: Kind = MAP) -> None:
    while (taken := take(job, kind, worker)) is not None:
        assert job.complete(kind, taken[0].number, taken[1], worker) == ()


def test_a_task_goes_from_idle_over_in_progress_to_completed() -> None:
    job = JobState(1, 1)
    assert job.tasks[MAP][0].state is State.IDLE
    task, attempt = take(job)
    assert task.state is State.IN_PROGRESS
    assert job.complete(MAP, 0, attempt, A) == ()
    assert task.state is State.COMPLETED
    assert (task.worker, task.attempt) == (A, attempt)


def test_no_reduce_task_is_given_before_the_first_map_task_is_done() -> None:
    job = JobState(2, 1)
    task, attempt = take(job)
    assert take(job, REDUCE, B) is None
    job.complete(MAP, task.number, attempt, A)
    assert take(job, REDUCE, B) is not None


def test_reduce_tasks_of_an_empty_input_are_given_at_once() -> None:
    job = JobState(0, 2)
    complete_all(job, A, REDUCE)
    assert job.done


def test_a_map_only_job_is_done_with_its_maps_and_keeps_them_when_a_worker_dies() -> None:
    job = JobState(2, 0)
    complete_all(job)
    assert job.worker_failed(A) == ([], [])
    assert job.done


def test_3_3_completed_and_in_progress_map_tasks_of_a_failed_worker_become_idle() -> None:
    job = JobState(3, 1)
    first, attempt = take(job)
    job.complete(MAP, first.number, attempt, A)
    second, running = take(job)
    third, _ = take(job, worker=B)
    lost, died = job.worker_failed(A)
    assert (lost, [e.attempt for e in died]) == ([first], [running])
    assert [t.state for t in (first, second, third)] == [State.IDLE, State.IDLE, State.IN_PROGRESS]


def test_3_3_a_completed_reduce_task_of_a_failed_worker_stays_completed() -> None:
    job = JobState(1, 2)
    complete_all(job, B)
    task, attempt = take(job, REDUCE, A)
    job.complete(REDUCE, task.number, attempt, A)
    other, _ = take(job, REDUCE, A)
    job.worker_failed(A)
    assert task.state is State.COMPLETED
    assert other.state is State.IDLE


def test_3_3_a_completion_of_a_completed_task_is_ignored_and_the_losers_are_named() -> None:
    job = JobState(1, 1)
    task, first = take(job)
    backup = job.begin(task, B, 0.0, backup=True)
    assert [e.attempt for e in job.complete(MAP, 0, backup.attempt, B)] == [first]
    assert job.complete(MAP, 0, first, A) is None
    assert job.complete(MAP, 0, backup.attempt, B) is None
    assert task.worker == B


def test_a_completion_by_a_worker_that_was_marked_as_failed_is_ignored() -> None:
    job = JobState(1, 1)
    _, attempt = take(job)
    job.worker_failed(A)
    assert job.complete(MAP, 0, attempt, A) is None
    assert job.tasks[MAP][0].state is State.IDLE


def test_a_completion_in_another_workers_name_is_ignored() -> None:
    job = JobState(1, 1)
    _, attempt = take(job)
    assert job.complete(MAP, 0, attempt, B) is None


def test_an_execution_begun_before_the_masters_restart_may_complete_its_task() -> None:
    job = JobState(1, 1, first_attempt=1001)
    assert job.complete(MAP, 0, 7, A) == ()
    assert job.begin(job.tasks[REDUCE][0], B, 0.0).attempt == 1001, "numbers are not used twice"


def test_but_not_with_an_output_that_could_not_be_read() -> None:
    job = JobState(1, 1, first_attempt=1001)
    job.complete(MAP, 0, 7, A)
    job.input_lost(0, 7)
    assert job.complete(MAP, 0, 7, A) is None


def test_an_execution_that_a_worker_still_has_is_taken_over_when_its_task_is_idle() -> None:
    job = JobState(2, 1, first_attempt=1001)
    assert job.adopt(MAP, 0, 7, A, 0.0) is not None
    assert job.tasks[MAP][0].state is State.IN_PROGRESS
    assert job.adopt(MAP, 0, 8, B, 0.0) is None, "it is under way"
    assert job.complete(MAP, 0, 7, A) == ()
    assert job.adopt(MAP, 0, 8, B, 0.0) is None, "it is completed"


def test_a_lost_input_is_executed_again_and_not_where_it_could_not_be_read() -> None:
    job = JobState(1, 1)
    complete_all(job, A)
    assert job.input_lost(0, job.tasks[MAP][0].attempt)
    assert job.tasks[MAP][0].state is State.IDLE
    assert take(job, worker=A, workers=2) is None
    assert take(job, worker=B, workers=2) is not None


def test_a_worker_that_a_task_shuns_is_the_last_resort() -> None:
    job = JobState(1, 1)
    complete_all(job, A)
    job.input_lost(0, job.tasks[MAP][0].attempt)
    assert take(job, worker=A, workers=1) is not None


def test_a_report_about_an_output_that_has_moved_is_ignored() -> None:
    job = JobState(1, 1)
    complete_all(job, A)
    old = job.tasks[MAP][0].attempt
    job.worker_failed(A)
    complete_all(job, B)
    assert not job.input_lost(0, old)
    assert job.tasks[MAP][0].worker == B


def test_a_task_that_fails_four_times_fails_the_job_and_says_why() -> None:
    job = JobState(1, 1)
    for worker in (A, B, C):
        _, attempt = take(job, worker=worker)
        assert job.fail(MAP, 0, attempt, "ValueError: no")
    _, attempt = take(job, worker=A)
    with pytest.raises(JobFailed, match="map task 0 failed 4 times; the last time: ValueError: no"):
        job.fail(MAP, 0, attempt, "ValueError: no")


def test_a_failure_of_an_execution_that_was_given_up_does_not_count() -> None:
    job = JobState(1, 1, max_failures=1)
    _, attempt = take(job)
    job.worker_failed(A)
    assert not job.fail(MAP, 0, attempt, "late")


def test_what_the_machine_fails_does_not_count_against_user_code_but_not_for_ever() -> None:
    job = JobState(1, 1, max_failures=1)
    for _ in range(MAX_MISHAPS - 1):
        _, attempt = take(job, workers=1)
        job.fail(MAP, 0, attempt, "No space left on device", mishap=True)
    _, attempt = take(job, workers=1)
    with pytest.raises(JobFailed, match=r"map task 0 could not be executed.*No space left on device"):
        job.fail(MAP, 0, attempt, "No space left on device", mishap=True)


def test_4_6_a_record_is_skipped_after_two_reports_which_do_not_count_as_failures() -> None:
    job = JobState(1, 1, max_failures=1, skip_bad_records=True)
    for reports in range(2):
        assert job.tasks[MAP][0].skip == (), reports
        _, attempt = take(job, workers=1)
        job.fail(MAP, 0, attempt, "SIGSEGV", record=17)
    assert job.tasks[MAP][0].skip == (17,)
    _, attempt = take(job, workers=1)
    with pytest.raises(JobFailed, match="map task 0 failed once"):
        job.fail(MAP, 0, attempt, "no record is to blame")


def test_4_6_nothing_is_skipped_unless_the_user_asks_for_it() -> None:
    job = JobState(1, 1, max_failures=3)
    for _ in range(2):
        _, attempt = take(job, workers=1)
        job.fail(MAP, 0, attempt, "SIGSEGV", record=17)
    assert job.tasks[MAP][0].skip == ()
    assert job.tasks[MAP][0].failures == 2


def test_3_6_backups_start_for_what_is_slow_when_nothing_is_idle() -> None:
    job = JobState(4, 1)
    backups = Backups(job, Rule(slow=2.0, least_s=1.0))
    for _ in range(2):
        execution = job.take(MAP, A, 3, 0.0)
        backups.completed(execution, 10.0)
        job.complete(MAP, execution.number, execution.attempt, A)
    slow = job.take(MAP, B, 3, 0.0)
    assert backups.candidates(MAP, 1000.0) == [], "one is idle"
    fresh = job.take(MAP, A, 3, 995.0)
    assert backups.candidates(MAP, 15.0) == [], "not yet twice the median"
    assert backups.candidates(MAP, 1000.0) == [job.tasks[MAP][slow.number]]
    backup = backups.begin(job.tasks[MAP][slow.number], C, 1000.0)
    assert backup.backup
    assert backups.candidates(MAP, 1000.0) == [], "it has one"
    assert [task.number for task in backups.candidates(MAP, 1020.0)] == [fresh.number]


def test_3_6_no_backup_of_what_will_be_done_sooner_by_itself() -> None:
    job = JobState(2, 1)
    backups = Backups(job, Rule())
    execution = job.take(MAP, A, 3, 0.0)
    backups.completed(execution, 10.0)
    job.complete(MAP, execution.number, execution.attempt, A)
    slow = job.take(MAP, B, 3, 0.0)
    slow.report = pb.Report(progress=0.9)
    assert backups.candidates(MAP, 30.0) == [], "3.3 s are left, a new one takes 10"
    slow.report = pb.Report(progress=0.5)
    assert backups.candidates(MAP, 30.0) == [job.tasks[MAP][slow.number]]


def test_3_6_backups_of_all_that_remains_once_that_is_little() -> None:
    job = JobState(20, 1)
    backups = Backups(job, Rule(least=3, least_s=1.0, rest=True))
    executions = [job.take(MAP, A, 3, 0.0) for _ in range(20)]
    for execution in executions[:16]:
        backups.completed(execution, 10.0)
        job.complete(MAP, execution.number, execution.attempt, A)
    assert backups.candidates(MAP, 12.0) == [], "four are in progress, and no more than three may have one"
    job.complete(MAP, executions[16].number, executions[16].attempt, A)
    assert backups.candidates(MAP, 0.5) == []
    assert [task.number for task in backups.candidates(MAP, 12.0)] == [e.number for e in executions[17:]]


def test_3_6_backups_are_a_few_per_cent() -> None:
    job = JobState(100, 0)
    backups = Backups(job, Rule(share=0.05, least=2))
    for _ in range(60):
        execution = job.take(MAP, A, 3, 0.0)
        backups.completed(execution, 1.0)
        job.complete(MAP, execution.number, execution.attempt, A)
    while job.take(MAP, B, 3, 0.0):
        pass
    for task in backups.candidates(MAP, 100.0):
        backups.begin(task, C, 100.0)
    assert job.backups == 5
    assert backups.candidates(MAP, 200.0) == []


class Life(RuleBasedStateMachine):
    """Workers execute, fail, lose inputs and report late; whatever they do, the job can be finished."""

    workers = (A, B, C)

    @initialize(maps=st.integers(0, 5), reduces=st.integers(0, 4), skip=st.booleans())
    def begin(self, maps: int, reduces: int, skip: bool) -> None:
        self.job = JobState(maps, reduces, max_failures=1000, skip_bad_records=skip)
        self.given: list[tuple[Kind, int, int, tuple[str, int]]] = []
        self.committed: dict[int, int] = {}

    @rule(kind=st.sampled_from(Kind), worker=st.sampled_from(workers))
    def takes(self, kind: Kind, worker) -> None:
        execution = self.job.take(kind, worker, len(self.workers), 0.0)
        if execution is not None:
            assert execution.attempt not in [attempt for _, _, attempt, _ in self.given]
            self.given.append((kind, execution.number, execution.attempt, worker))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def says_that_it_is_done(self, data: st.DataObject) -> None:
        kind, number, attempt, worker = data.draw(st.sampled_from(self.given))
        task = self.job.tasks[kind][number]
        before, known = (task.state, task.worker, task.attempt), task.execution(attempt)
        if self.job.complete(kind, number, attempt, worker) is None:
            assert (task.state, task.worker, task.attempt) == before
        else:
            assert known is not None
            if kind is REDUCE:
                assert number not in self.committed, "two executions of a reduce task were committed"
                self.committed[number] = attempt

    @precondition(lambda self: self.given)
    @rule(data=st.data(), record=st.integers(-1, 1), mishap=st.booleans())
    def says_that_it_failed(self, data: st.DataObject, record: int, mishap: bool) -> None:
        kind, number, attempt, _ = data.draw(st.sampled_from(self.given))
        if self.job.tasks[kind][number].mishaps < MAX_MISHAPS - 1:
            self.job.fail(kind, number, attempt, "no", record=record, mishap=mishap)

    @rule(kind=st.sampled_from(Kind), worker=st.sampled_from(workers))
    def backs_up(self, kind: Kind, worker) -> None:
        for task in list(self.job.running[kind].values()):
            if len(task.executions) == 1 and task.executions[0].worker != worker:
                execution = self.job.begin(task, worker, 0.0, backup=True)
                self.given.append((kind, task.number, execution.attempt, worker))
                return

    @rule(worker=st.sampled_from(workers))
    def dies(self, worker) -> None:
        lost, died = self.job.worker_failed(worker)
        assert all(task.kind is MAP for task in lost)
        assert all(execution.worker == worker for execution in died)

    @rule(data=st.data())
    def cannot_read(self, data: st.DataObject) -> None:
        if self.job.tasks[MAP] and self.job.tasks[REDUCE]:
            task = data.draw(st.sampled_from(self.job.tasks[MAP]))
            there = task.state is State.COMPLETED
            assert self.job.input_lost(task.number, task.attempt) == there

    @invariant()
    def states_agree(self) -> None:
        if not hasattr(self, "job"):
            return
        for kind in Kind:
            for task in self.job.tasks[kind]:
                assert bool(task.executions) == (task.state is State.IN_PROGRESS)
                assert (task.worker is not None) == (task.state is State.COMPLETED)
                assert (task.number in self.job.idle[kind]) == (task.state is State.IDLE)
                assert (task.number in self.job.running[kind]) == (task.state is State.IN_PROGRESS)
                assert all(task.reports.count(record) >= 2 for record in task.skip)
                for execution in task.executions:
                    assert self.job.executing(execution.worker)[execution.attempt] is task
        for number, attempt in self.committed.items():
            assert self.job.tasks[REDUCE][number].attempt == attempt, "a completed reduce went back"

    def teardown(self) -> None:
        if not hasattr(self, "job"):
            return
        for worker in self.workers:
            self.job.worker_failed(worker)
        for kind in Kind:
            while (execution := self.job.take(kind, ("last", 0), 1, 0.0)) is not None:
                assert self.job.complete(kind, execution.number, execution.attempt, ("last", 0)) == ()
        assert self.job.done


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
