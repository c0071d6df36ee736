"""Tasks that serve are used again only when nobody can tell."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import weakref
from typing import Any

import pytest

from protos.echo_pb2 import Words
from sim.world.stuck import Deadlock
from tests.world.rpc.worlds import TestWorld, outcome

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
kept: list[Any] = []


async def plain(request: Any, context: Any) -> Any:
    return request


async def waits(request: Any, context: Any) -> Any:
    await asyncio.sleep(0.001)
    return request


async def fails(request: Any, context: Any) -> Any:
    raise ValueError("no")


async def keeps_the_task(request: Any, context: Any) -> Any:
    kept.append(asyncio.current_task())
    return request


async def keeps_it_weakly(request: Any, context: Any) -> Any:
    kept.append(weakref.ref(asyncio.current_task()))  # type: ignore[arg-type]
    return request


async def sets_a_variable(request: Any, context: Any) -> Any:
    VARIABLE.set("set")
    return request


async def names_the_task(request: Any, context: Any) -> Any:
    asyncio.current_task().set_name("mine")  # type: ignore[union-attr]
    return request


async def gives_it_a_callback(request: Any, context: Any) -> Any:
    asyncio.current_task().add_done_callback(lambda task: kept.append("done"))  # type: ignore[union-attr]
    return request


async def cancels_itself(request: Any, context: Any) -> Any:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        return request


def tasks_used(behaviour: Any) -> int:
    world = TestWorld()
    world.serve(say=behaviour)
    kept.clear()

    async def main() -> int:
        stub = world.stub()
        for _ in range(5):
            await outcome(stub.Say(Words()))
        workers: int = world.servers[0]._core.tasks
        return workers

    return int(world.run(main))


@pytest.mark.parametrize("behaviour", [plain, waits, fails])
def test_an_untouched_task_serves_again(behaviour: Any) -> None:
    assert tasks_used(behaviour) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        keeps_the_task,
        keeps_it_weakly,
        sets_a_variable,
        names_the_task,
        gives_it_a_callback,
        cancels_itself,
    ],
)
def test_a_task_that_was_touched_is_used_up(behaviour: Any) -> None:
    assert tasks_used(behaviour) == 5


def test_a_callback_on_the_task_runs_when_the_handler_has_ended() -> None:
    tasks_used(gives_it_a_callback)
    assert kept == ["done"] * 5


def test_no_handler_sees_the_variables_of_another() -> None:
    world = TestWorld()

    async def say(request: Any, context: Any) -> Any:
        before = VARIABLE.get()
        VARIABLE.set(request.text)
        return Words(text=before)

    world.serve(say=say)

    async def main() -> list[Any]:
        stub = world.stub()
        return [await outcome(stub.Say(Words(text=text))) for text in "abc"]

    assert world.run(main) == ["unset", "unset", "unset"]


def test_an_idle_worker_can_be_cancelled() -> None:
    world = TestWorld()
    world.serve()

    async def main() -> Any:
        stub = world.stub()
        await stub.Say(Words())
        for task in asyncio.all_tasks():
            if task.get_name().startswith("rpc-"):
                task.cancel()
        await asyncio.sleep(0.01)
        return await outcome(stub.Say(Words(text="still here")))

    assert world.run(main) == "still here"


def test_concurrent_calls_have_a_task_each() -> None:
    world = TestWorld()
    names: list[str] = []

    async def say(request: Any, context: Any) -> Any:
        names.append(asyncio.current_task().get_name())  # type: ignore[union-attr]
        await asyncio.sleep(0.1)
        return request

    world.serve(say=say)

    async def main() -> None:
        stub = world.stub()
        await asyncio.gather(*(stub.Say(Words()) for _ in range(10)))
        await asyncio.gather(*(stub.Say(Words()) for _ in range(10)))

    world.run(main)
    assert len(set(names[:10])) == 10
    assert set(names[10:]) == set(names[:10])


def test_idle_workers_are_not_reported_as_stuck() -> None:
    world = TestWorld()

    async def say(request: Any, context: Any) -> Any:
        if request.text == "stuck":
            await asyncio.Event().wait()
        return request

    world.serve(say=say)

    async def main() -> None:
        stub = world.stub()
        await asyncio.gather(*(stub.Say(Words()) for _ in range(5)))
        await stub.Say(Words(text="stuck"))

    with pytest.raises(Deadlock) as caught:
        world.run(main)
    assert str(caught.value).count("Worker._run") == 1
    assert "in test_idle_workers_are_not_reported_as_stuck.<locals>.say" in str(caught.value)


def test_whether_a_task_serves_again_cannot_be_seen_in_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at tasks (a debugger, say) keeps them from being used again, and must not change the run."""

    def run() -> tuple[int, str]:
        world = TestWorld(seed=5)

        async def say(request: Any, context: Any) -> Any:
            if request.number % 3 == 1:
                await asyncio.sleep(request.number * 0.0001)
            if request.number % 5 == 2:
                await asyncio.create_task(asyncio.sleep(0))
            return request

        world.serve(say=say)

        async def main() -> None:
            stub = world.stub()
            for _ in range(5):
                await asyncio.gather(*(stub.Say(Words(number=number)) for number in range(20)))
                await asyncio.gather(*(outcome(stub.Say(Words(number=n), timeout=0.0015)) for n in range(20)))

        world.run(main)
        return world.servers[0]._core.tasks, world.recorder.sha256

    tasks, trace = run()
    numbers = itertools.count()
    monkeypatch.setattr("sim.world.rpc.worker.getrefcount", lambda task: next(numbers))
    assert run() == (200, trace)
    assert tasks < 100


def test_a_worker_that_is_cancelled_in_the_instant_of_a_request_does_not_lose_it() -> None:
    world = TestWorld()
    world.serve()
    cancelled: list[int] = []

    def requests() -> list[Any]:
        world.recorder.flush()
        return [message for message in world.kinds("Message") if message.part == "request"]

    async def main() -> Any:
        stub, loop = world.stub(), asyncio.get_running_loop()
        for _ in range(2):
            await stub.Say(Words(text="served"))
        worker = world.servers[0]._core.idle

        def cancel() -> None:
            cancelled.append(world.simulation.now())
            worker.task.cancel()

        before = requests()[-1]
        loop.call_later((before.time - before.sent) / 1e9, cancel)  # queued, and so due, before the request
        return await outcome(stub.Say(Words(text="served")))

    assert world.run(main) == "served"
    assert cancelled == [requests()[-1].time]
    assert world.servers[0]._core.tasks == 2
