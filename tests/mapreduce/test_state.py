"""The master's rules, by hand: no network, no clock (MapReduce 3.2, 3.3, 3.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mapreduce.master.state import JobFailed, JobState, Kind, State

A, B, C = ("a", 0), ("b", 0), ("c", 0)


def complete_all_maps(job: JobState, worker=A) -> None:
    while (picked := job.next_task(Kind.MAP, worker, 3)) is not None:
        task, attempt = picked
        assert job.complete(Kind.MAP, task.number, attempt, worker, [1])


def test_a_task_goes_from_idle_over_in_progress_to_completed() -> None:
    job = JobState(1, 1)
    assert job.maps[0].state is State.IDLE
    task, attempt = job.next_task(Kind.MAP, A, 3)
    assert task.state is State.IN_PROGRESS
    assert job.complete(Kind.MAP, 0, attempt, A, [5])
    assert task.state is State.COMPLETED
    assert (task.worker, task.region_bytes) == (A, [5])


def test_no_reduce_task_is_given_before_the_first_map_task_is_done() -> None:
    job = JobState(2, 1)
    task, attempt = job.next_task(Kind.MAP, A, 3)
    assert job.next_task(Kind.REDUCE, B, 3) is None
    job.complete(Kind.MAP, task.number, attempt, A, [1])
    assert job.next_task(Kind.REDUCE, B, 3) is not None


def test_3_3_completed_and_in_progress_map_tasks_of_a_failed_worker_become_idle() -> None:
    job = JobState(3, 1)
    first, attempt = job.next_task(Kind.MAP, A, 3)
    job.complete(Kind.MAP, first.number, attempt, A, [1])
    second, _ = job.next_task(Kind.MAP, A, 3)
    third, _ = job.next_task(Kind.MAP, B, 3)
    assert job.worker_failed(A) == [first]
    assert [t.state for t in (first, second, third)] == [State.IDLE, State.IDLE, State.IN_PROGRESS]


def test_3_3_a_completed_reduce_task_of_a_failed_worker_stays_completed() -> None:
    job = JobState(1, 2)
    complete_all_maps(job, B)
    task, attempt = job.next_task(Kind.REDUCE, A, 3)
    job.complete(Kind.REDUCE, task.number, attempt, A, [])
    other, _ = job.next_task(Kind.REDUCE, A, 3)
    job.worker_failed(A)
    assert task.state is State.COMPLETED
    assert other.state is State.IDLE


def test_3_3_a_completion_of_a_completed_task_is_ignored() -> None:
    job = JobState(1, 1)
    _, first = job.next_task(Kind.MAP, A, 3)
    _, backup = job.next_task(Kind.MAP, B, 3)
    assert job.complete(Kind.MAP, 0, backup, B, [1])
    assert not job.complete(Kind.MAP, 0, first, A, [2])
    assert not job.complete(Kind.MAP, 0, backup, B, [1])
    assert job.maps[0].worker == B


def test_a_completion_by_a_worker_that_was_marked_as_failed_is_ignored() -> None:
    job = JobState(1, 1)
    _, attempt = job.next_task(Kind.MAP, A, 3)
    job.worker_failed(A)
    assert not job.complete(Kind.MAP, 0, attempt, A, [1])
    assert job.maps[0].state is State.IDLE


def test_3_6_backup_executions_start_only_when_nothing_is_idle_and_only_one_a_task() -> None:
    job = JobState(2, 1)
    first, _ = job.next_task(Kind.MAP, A, 3)
    second, _ = job.next_task(Kind.MAP, B, 3)
    backup, _ = job.next_task(Kind.MAP, C, 3)
    assert backup is first, "the one that has been running longest"
    assert len(first.executions) == 2
    again, _ = job.next_task(Kind.MAP, A, 3)
    assert again is second
    assert job.next_task(Kind.MAP, C, 3) is None


def test_a_lost_input_is_executed_again_and_not_where_it_could_not_be_read() -> None:
    job = JobState(1, 1)
    complete_all_maps(job, A)
    assert job.input_lost(0, job.maps[0].attempt)
    assert job.maps[0].state is State.IDLE
    assert job.next_task(Kind.MAP, A, 2) is None
    assert job.next_task(Kind.MAP, B, 2) is not None


def test_a_worker_that_a_task_shuns_is_the_last_resort() -> None:
    job = JobState(1, 1)
    complete_all_maps(job, A)
    job.input_lost(0, job.maps[0].attempt)
    assert job.next_task(Kind.MAP, A, 1) is not None


def test_a_report_about_an_output_that_has_moved_is_ignored() -> None:
    job = JobState(1, 1)
    complete_all_maps(job, A)
    old = job.maps[0].attempt
    job.worker_failed(A)
    complete_all_maps(job, B)
    assert not job.input_lost(0, old)
    assert job.maps[0].worker == B


def test_a_task_that_fails_four_times_fails_the_job_and_says_why() -> None:
    job = JobState(1, 1)
    for _ in range(3):
        _, attempt = job.next_task(Kind.MAP, A, 3)
        job.attempt_failed(Kind.MAP, 0, attempt, "ValueError: no")
    _, attempt = job.next_task(Kind.MAP, A, 3)
    with pytest.raises(JobFailed, match="map task 0 failed 4 times; the last time: ValueError: no"):
        job.attempt_failed(Kind.MAP, 0, attempt, "ValueError: no")


@given(st.data())
def test_whatever_happens_the_job_can_be_finished_and_each_task_is_completed_once(
    data: st.DataObject,
) -> None:
    """Random workers execute, fail, lose inputs and report late; then one good worker ends the job."""
    job = JobState(data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4)))
    workers = [("w", n) for n in range(3)]
    running: list[tuple[Kind, int, int, tuple[str, int]]] = []
    for _ in range(data.draw(st.integers(0, 40))):
        step = data.draw(st.sampled_from(["take", "finish", "late", "die", "lose"]))
        worker = data.draw(st.sampled_from(workers))
        kind = data.draw(st.sampled_from(Kind))
        if step == "take" and (picked := job.next_task(kind, worker, len(workers))):
            running.append((kind, picked[0].number, picked[1], worker))
        elif step in ("finish", "late") and running:
            done = data.draw(st.sampled_from(running))
            before = job.tasks(done[0])[done[1]]
            was = before.state, before.worker
            if not job.complete(*done[:3], done[3], [1]):
                assert (before.state, before.worker) == was
            if step == "finish":
                running.remove(done)
        elif step == "die":
            job.worker_failed(worker)
        elif step == "lose" and job.maps[0].state is State.COMPLETED:
            job.input_lost(0, job.maps[0].attempt)
        for task in (*job.maps, *job.reduces):
            assert (task.state is State.IN_PROGRESS) == bool(task.executions)
            assert (task.state is State.COMPLETED) == (task.worker is not None)
    for worker in workers:
        job.worker_failed(worker)
    for kind in Kind:
        while (picked := job.next_task(kind, ("last", 0), 1)) is not None:
            assert job.complete(kind, picked[0].number, picked[1], ("last", 0), [1])
    assert job.done
