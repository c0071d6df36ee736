"""Runs CPython's own asyncio tests on the simulated loop: `python stdlib_suite.py MODULE...`.

Only the loop that the tests get is another one. Prints one JSON object a module: how many tests ran,
and for those that failed their names and last lines. `EXCLUDED` names those that cannot hold in a
simulation, with the reason.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import signal
import sys
import unittest
from typing import TYPE_CHECKING, Any
from unittest import mock

from test.test_asyncio import utils

from sim.world.loop import Loop, new_event_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = "hands work to a loop from another thread and blocks on it; a simulated process has one thread"
REAL_CLOCK = "the test's fake clock counts even sleeps that the loop was stopped before"
SOCKETS = "connects to a real socket, Unix path or pipe that the test makes itself"
POLLS = "polls with sleep(0) for what takes time, which does not pass while anybody is ready"
BLOCKS = "blocks on time.sleep, which a simulated task may not"
HANDLES = "looks into asyncio.Handle, which is a cheaper class here"
EXCLUDED = {
    "test_nested_timeouts_concurrent": BLOCKS,
    "test_nested_timeouts_loop_busy": BLOCKS,
    "HandleTests.test_handle_source_traceback": HANDLES,
    "RunCoroutineThreadsafeTests": THREADS,
    "TestServer2.test_abort_clients": POLLS,
    **dict.fromkeys(
        (
            "UnixServerCleanupTests",
            "StreamTests.test_unclosed_server_resource_warnings",
            "StreamTests.test_async_writer_api",
            "StreamTests.test_drain_raises",
            "StreamTests.test_eof_feed_when_closing_writer",
            "StreamTests.test_loop_is_closed_resource_warnings",
            "StreamTests.test_open_connection",
            "StreamTests.test_open_unix_connection",
            "StreamTests.test_read_all_from_pipe_reader",
            "StreamTests.test_start_server",
            "StreamTests.test_start_tls",
            "StreamTests.test_start_unix_server",
            "StreamTests.test_unclosed_resource_warnings",
            "StreamTests.test_wait_closed_on_close",
        ),
        SOCKETS,
    ),
    "test_stop_while_run_in_complete": REAL_CLOCK,
}

PER_TEST_S = 30


class Bench(Loop):
    """The simulated loop, with the few names that these tests expect of their own `TestLoop`."""

    _selector = mock.MagicMock()

    def advance_time(self, seconds: float) -> None:
        """Virtual time needs no push."""

    def _run_once(self) -> None:
        self.stop()
        self.run_forever()


def new_loop(generator: Any = None) -> Loop:
    loop = new_event_loop()
    loop.__class__ = Bench
    return loop


class Policy(asyncio.DefaultEventLoopPolicy):
    """Hands out simulated loops."""

    def new_event_loop(self) -> Loop:
        return new_loop()


def new_test_loop(case: Any, generator: Any = None) -> Loop:
    loop = new_loop()
    case.set_event_loop(loop)
    return loop


utils.TestLoop = new_loop
utils.TestCase.new_test_loop = new_test_loop
utils.TestCase.close_loop = staticmethod(lambda loop: loop.close())


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def excluded(name: str) -> bool:
    return any(word in name for word in EXCLUDED)


class Result(unittest.TestResult):
    """Ends a test that hangs."""

    def startTest(self, test: unittest.TestCase) -> None:
        signal.signal(signal.SIGALRM, hung)  # some tests take it away
        signal.alarm(PER_TEST_S)
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        signal.alarm(0)
        super().stopTest(test)


def hung(*_: object) -> None:
    raise TimeoutError(f"did not end within {PER_TEST_S} s of real time")


def run(module: str) -> dict[str, Any]:
    found = importlib.import_module(f"test.test_asyncio.{module}")
    asyncio.set_event_loop_policy(Policy())
    every = list(cases(unittest.defaultTestLoader.loadTestsFromModule(found)))
    suite = unittest.TestSuite(test for test in every if not excluded(test.id()))
    left_out = len(every) - suite.countTestCases()
    del every  # a test that has run is forgotten, and its loop with it
    result = Result()
    suite.run(result)
    bad = {test.id(): trace.strip().splitlines()[-1] for test, trace in result.failures + result.errors}
    return {
        "module": module,
        "ran": result.testsRun - len(result.skipped),
        "excluded": left_out,
        "bad": bad,
    }


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # many of these tests collect garbage: let them not wade through the modules
    for name in sys.argv[1:]:
        print(json.dumps(run(name)), flush=True)
