"""What the loop adds to asyncio's behaviour (which `test_stdlib` covers): virtual time and a fixed order."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
import simpy

from sim.simulate import simulate
from sim.world.loop import Loop, new_event_loop
from sim.world.process import Process

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run(main: Coroutine[Any, Any, Any], loop: Loop | None = None) -> Any:
    with asyncio.Runner(loop_factory=lambda: loop or Loop()) as runner:
        return runner.run(main)


def test_time_passes_only_while_everybody_waits() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(3600)
        return [before, loop.time()]

    assert run(main()) == [0, 3600]


def test_all_timers_that_are_due_fire_before_the_tasks_run() -> None:
    async def main() -> list[bool]:
        try:
            async with asyncio.timeout(1) as outer, asyncio.timeout(1) as inner:
                await asyncio.sleep(5)
        except TimeoutError:
            pass
        return [outer.expired(), inner.expired()]

    assert run(main()) == [True, True]


def test_a_timeout_shorter_than_a_nanosecond_lets_time_pass() -> None:
    """Who waits for the rest of a time, reckoned in floats, does not wait at one instant for ever."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(12.7)
        start, waited = loop.time(), loop.create_future()
        until = start + 4e-10
        while (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await asyncio.shield(waited)
            except TimeoutError:
                pass
        return loop.time() - start

    assert run(main()) == pytest.approx(1e-9, rel=1e-3)


def test_a_simpy_process_runs_beside_tasks() -> None:
    loop = Loop()
    seen: list[tuple[str, float]] = []

    def hardware(env: simpy.Environment) -> Any:
        for _ in range(3):
            yield env.timeout(1_000_000_000)
            seen.append(("hardware", loop.time()))

    async def main() -> None:
        loop.env.process(hardware(loop.env))
        await asyncio.sleep(1.5)
        seen.append(("task", loop.time()))
        await asyncio.sleep(10)

    run(main(), loop)
    assert seen == [("hardware", 1), ("task", 1.5), ("hardware", 2), ("hardware", 3)]


def test_a_simpy_event_that_fails_ends_the_run() -> None:
    loop = Loop()

    async def main() -> None:
        loop.env.event().fail(OSError("the disk is on fire"))
        await asyncio.sleep(1)

    with pytest.raises(OSError, match="on fire"):
        run(main(), loop)


def test_as_completed_starts_coroutines_in_the_order_given() -> None:
    async def main() -> list[int]:
        started: list[int] = []

        async def work(number: int) -> None:
            started.append(number)

        for done in asyncio.as_completed([work(number) for number in range(50)]):
            await done
        return started

    assert run(main()) == list(range(50))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="`async for` over as_completed is new in Python 3.13")
def test_as_completed_can_be_iterated_asynchronously() -> None:
    async def main() -> list[float]:
        tasks = [asyncio.create_task(asyncio.sleep(delay, delay)) for delay in (3, 1, 2)]
        return [await task async for task in asyncio.as_completed(tasks)]

    assert run(main()) == [1, 2, 3]


def test_sets_of_tasks_and_gatherings_iterate_in_order_of_first_use() -> None:
    async def main() -> list[int]:
        gatherings: dict[Any, int] = {
            asyncio.gather(asyncio.sleep(1), asyncio.sleep(2)): number for number in range(30)
        }
        done, _ = await asyncio.wait(list(gatherings))
        return [gatherings[gathering] for gathering in done]

    assert run(main()) == list(range(30))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_tasks_start_at_once_and_are_ordered_too() -> None:
    async def main() -> list[str]:
        seen = []
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

        async def eager() -> None:
            seen.append("eager")
            await asyncio.sleep(1)

        task = asyncio.create_task(eager())
        seen.append("creator")
        assert hash(task) < 1000  # an order, not an address
        await task
        return seen

    assert run(main()) == ["eager", "creator"]


def test_suspended_generators_are_closed_in_the_order_of_their_first_use() -> None:
    closed: list[int] = []

    async def generate(number: int) -> Any:
        try:
            yield number
        finally:
            closed.append(number)

    async def main() -> list[Any]:
        generators = [generate(number) for number in range(20)]
        for generator in generators:
            await anext(generator)
        return generators  # alive until the loop shuts down

    run(main())
    assert closed == list(range(20))


def test_interleaving_permutes_tasks_by_the_seed_and_keeps_plain_callbacks_in_order() -> None:
    def order(seed: int) -> tuple[list[int], list[int]]:
        tasks, callbacks = [], []

        async def work(number: int) -> None:
            await asyncio.sleep(1)
            tasks.append(number)

        async def main() -> None:
            for number in range(10):
                asyncio.get_running_loop().call_soon(callbacks.append, number)
            await asyncio.gather(*(work(number) for number in range(10)))

        run(main(), Loop(interleave=random.Random(seed)))
        return tasks, callbacks

    assert order(1) == order(1)
    assert order(1)[0] != order(2)[0]
    assert sorted(order(1)[0]) == list(range(10))
    assert order(1)[1] == list(range(10))


def test_an_executor_runs_inline_and_charges_the_host() -> None:
    async def main() -> tuple[int, bool]:
        loop = asyncio.get_running_loop()

        def work() -> bool:
            return asyncio._get_running_loop() is None

        before = loop.time()
        apart = await asyncio.to_thread(work)
        return round((loop.time() - before) * 1e6), apart

    assert simulate(main) == (100, True)


def test_an_executor_s_error_reaches_who_awaits_it() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, int, "no number")

    with pytest.raises(ValueError, match="no number"):
        simulate(main)


def test_the_exception_handler_is_told_of_failing_callbacks() -> None:
    told: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        loop.call_soon(lambda: 1 / 0)
        loop.call_later(1, lambda: 1 / 0)
        await asyncio.sleep(2)

    run(main())
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError] * 2


def test_a_signal_reaches_the_handler_of_the_process() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        assert loop.home is not None
        stopped = asyncio.Event()
        assert not loop.home.signal(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        assert loop.home.signal(signal.SIGTERM)
        await stopped.wait()
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.home.signal(signal.SIGTERM)
        return "stopped"

    assert simulate(main) == "stopped"


def test_what_the_simulated_world_has_not_is_refused_by_name() -> None:
    async def main() -> list[str]:
        said = []
        loop = asyncio.get_running_loop()
        for attempt in (
            lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("localhost", 1)),
            lambda: asyncio.open_unix_connection("/run/socket"),
            lambda: asyncio.create_subprocess_exec("true"),
            lambda: asyncio.open_connection("localhost", 1, ssl=True),
        ):
            with pytest.raises(NotImplementedError) as refused:
                await attempt()
            said.append(str(refused.value))
        with pytest.raises(NotImplementedError, match="file descriptors"):
            loop.add_reader(0, print)
        return said

    datagram, unix, process, tls = simulate(main)
    assert "no datagrams" in datagram
    assert "no Unix sockets" in unix
    assert "no subprocesses" in process
    assert "no TLS" in tls


def test_new_event_loop_serves_runners_and_test_frameworks() -> None:
    async def main() -> tuple[float, bytes]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        async with await asyncio.start_server(answer, "localhost", 4000):
            reader, writer = await asyncio.open_connection("localhost", 4000)
            writer.write(b"hello\n")
            heard = await reader.read()
            writer.close()
        await asyncio.sleep(60)
        return asyncio.get_running_loop().time(), heard

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        now, heard = runner.run(main())
    assert heard == b"hello\n"
    assert 60 < now < 60.01


def test_a_loop_can_be_run_again_and_again() -> None:
    loop = new_event_loop()
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(1))
    assert loop.time() == 3
    loop.close()
    assert loop.is_closed()


def test_what_a_dead_process_was_doing_has_no_effect() -> None:
    loop = Loop()
    process = Process(loop, "victim")
    effects: list[str] = []

    async def victim() -> None:
        try:
            await asyncio.sleep(2)
            effects.append("went on")
        finally:
            effects.append("finally")

    async def main() -> None:
        task = loop.create_task(victim(), context=process.context.copy())
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(5)
        assert not task.done()

    run_and_leave = loop.run_until_complete
    run_and_leave(main())
    assert effects == []
