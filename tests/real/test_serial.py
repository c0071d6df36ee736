"""A thread that does one thing after another: in order, with what came of it, and to the end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.real.serial import SerialThread


def test_things_are_done_in_order_in_one_thread_and_the_loop_goes_on() -> None:
    async def main() -> None:
        thread, gate = SerialThread("t"), threading.Event()
        done: list[int] = []
        first = thread.run(gate.wait)
        others = [thread.run(done.append, number) for number in range(5)]
        await asyncio.sleep(0)
        assert not done
        gate.set()
        assert await first
        await asyncio.gather(*others)
        assert done == [0, 1, 2, 3, 4]
        assert await thread.run(threading.get_ident) == await thread.run(threading.get_ident)
        assert await thread.run(threading.get_ident) != threading.get_ident()
        thread.close()

    asyncio.run(main())


def test_what_is_raised_is_raised_where_it_is_awaited_and_the_next_thing_is_done() -> None:
    async def main() -> None:
        thread = SerialThread("t")
        failing, after = thread.run(int, "none"), thread.run(int, "7")
        with pytest.raises(ValueError, match="none"):
            await failing
        assert await after == 7
        thread.close()

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_done_nevertheless() -> None:
    done: list[str] = []

    async def main() -> SerialThread:
        thread, gate = SerialThread("t"), threading.Event()
        thread.run(gate.wait)
        thread.run(done.append, "cancelled").cancel()
        thread.submit(done.append, "told nobody")
        gate.set()
        return thread

    asyncio.run(main()).close()  # the loop is gone, and that stops nothing
    assert done == ["cancelled", "told nobody"]


def test_it_takes_nothing_once_closed() -> None:
    async def main() -> None:
        thread = SerialThread("t")
        thread.close()
        with pytest.raises(RuntimeError, match="closed"):
            thread.run(int)

    asyncio.run(main())
