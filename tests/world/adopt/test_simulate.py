"""`sim.simulate` runs a program as `asyncio.run` does."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

from protos.trace import Log
from services.recorder import Recorder
from sim.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_it_returns_what_main_returns_and_raises_what_it_raises() -> None:
    async def good() -> str:
        await asyncio.sleep(1_000_000)
        return "done"

    async def bad() -> None:
        raise LookupError("lost")

    assert simulate(good) == "done"
    with pytest.raises(LookupError, match="lost"):
        simulate(bad)


def test_what_main_left_running_is_cancelled_and_generators_are_closed() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("task")

    async def generate() -> Any:
        try:
            yield 1
        finally:
            ended.append("generator")

    kept: list[Any] = []

    async def main() -> None:
        kept.append(asyncio.create_task(forever()))
        kept.append(generate())
        await anext(kept[1])

    simulate(main)
    assert ended == ["task", "generator"]


def test_it_takes_an_async_function_and_nothing_else() -> None:
    async def main() -> None:
        pass

    with pytest.raises(TypeError, match=r"simulate\(main\), without \(\)"):
        simulate(main())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async function, not 5"):
        simulate(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="returned None"):
        simulate(lambda: None)  # type: ignore[arg-type, return-value]


def test_it_cannot_be_called_from_a_running_loop() -> None:
    async def inner() -> None:
        pass

    async def main() -> None:
        simulate(inner)

    with pytest.raises(RuntimeError, match="running event loop"):
        simulate(main)


def test_the_seed_decides_the_interleaving() -> None:
    def order(seed: int) -> list[int]:
        async def main() -> list[int]:
            seen: list[int] = []

            async def work(number: int) -> None:
                await asyncio.sleep(1)
                seen.append(number)

            await asyncio.gather(*(work(number) for number in range(10)))
            return seen

        return simulate(main, seed=seed, interleave=True)

    assert order(1) == order(1) != order(2)


def test_logs_carry_virtual_time_and_host_and_go_to_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    records: list[Any] = []
    recorder = Recorder(keep=records.extend)

    async def main() -> None:
        log = logging.getLogger("shop")
        log.propagate = True
        await asyncio.sleep(2.5)
        log.info("sold %d", 3)
        log.debug("not let through")
        try:
            raise KeyError("apple")
        except KeyError:
            log.exception("none left in %r", object())
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with caplog.at_level(logging.INFO):
        simulate(main, trace=recorder)
    recorder.close()
    sold, none_left, failed = [record for record in records if isinstance(record, Log)]
    assert sold == Log(2_500_000_000, "localhost", "INFO", "shop", "sold 3")
    assert none_left.message == "none left in <object object at 0x>: KeyError: 'apple'"
    assert (failed.logger, failed.level) == ("asyncio", "ERROR")
    assert "ZeroDivisionError" in failed.message
    seen = [record for record in caplog.records if record.name == "shop"]
    assert (seen[0].getMessage(), seen[0].host) == ("sold 3", "localhost")
    assert seen[0].created == 946_684_802.5
    assert seen[0].relativeCreated == 2500


def test_log_records_outside_a_run_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("shop").warning("closed")
    (record,) = caplog.records
    assert not hasattr(record, "host")
    assert record.created > 1.7e9


def test_a_generator_left_in_a_cycle_is_closed_whole_before_the_run_ends() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append("begun")
            await asyncio.sleep(1)
            closed.append("ended")

    async def main() -> None:
        generator = numbers()
        await anext(generator)
        cycle: list[Any] = [generator]
        cycle.append(cycle)

    threshold = gc.get_threshold()
    gc.set_threshold(1)  # the garbage collector runs whenever it may
    try:
        simulate(main)
    finally:
        gc.set_threshold(*threshold)
    assert closed == ["begun", "ended"]
