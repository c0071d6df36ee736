import asyncio
from typing import Any

import msgspec
import pytest

from protos.history import Operation
from services.recorder import Recorder
from sim.scenario.history import History


class Written:
    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.recorder = Recorder(keep=self.operations.extend)
        self.history = History(self.recorder, lambda: 7)

    def events(self) -> list[tuple[Any, ...]]:
        self.recorder.flush()
        return [(o.process, o.type, o.f, o.value, o.error) for o in self.operations]


@pytest.fixture
def written() -> Written:
    return Written()


def test_an_operation_is_invoked_and_completed(written: Written) -> None:
    async def client() -> None:
        async with written.history.operation("c1", "read", key="x") as op:
            op.ok(5)
        async with written.history.operation("c1", "write", 6, key="x") as op:
            op.fail("mismatch")

    asyncio.run(client())
    assert written.events() == [
        ("c1", "invoke", "read", None, ""),
        ("c1", "ok", "read", 5, ""),
        ("c1", "invoke", "write", 6, ""),
        ("c1", "fail", "write", 6, "mismatch"),
    ]
    assert [o.index for o in written.operations] == [0, 1, 2, 3]
    assert written.operations[0].key == "x"
    assert written.history.invoked == 2


def test_left_without_a_word_nobody_knows_and_the_client_goes_on_as_another(written: Written) -> None:
    async def client() -> None:
        async with written.history.operation(1, "write", 1):
            pass
        with pytest.raises(ZeroDivisionError):
            async with written.history.operation(1, "write", 2):
                raise ZeroDivisionError("by zero")
        async with written.history.operation(1, "write", 3) as op:
            op.ok()

    asyncio.run(client())
    assert written.events() == [
        (1, "invoke", "write", 1, ""),
        (1, "info", "write", 1, "left without a word"),
        ("1.2", "invoke", "write", 2, ""),
        ("1.2", "info", "write", 2, "ZeroDivisionError: by zero"),
        ("1.3", "invoke", "write", 3, ""),
        ("1.3", "ok", "write", 3, ""),
    ]


def test_a_client_has_one_operation_open_at_a_time(written: Written) -> None:
    async def client() -> None:
        async with written.history.operation("c", "read") as op:
            with pytest.raises(RuntimeError, match="client c has an operation open already"):
                async with written.history.operation("c", "read"):
                    pass
            op.ok()
            with pytest.raises(RuntimeError, match="was completed before"):
                op.ok()

    asyncio.run(client())


def test_what_is_open_at_the_end_of_the_run_is_info(written: Written) -> None:
    async def client() -> None:
        async with written.history.operation("c", "read"):
            written.history.close()

    asyncio.run(client())
    assert written.events()[-1] == ("c", "info", "read", None, "the run ended")


def test_a_line_has_the_fields_of_jepsens_vocabulary(written: Written) -> None:
    async def client() -> None:
        async with written.history.operation("c", "cas", [1, 2], key="x") as op:
            op.fail("mismatch")

    asyncio.run(client())
    written.recorder.flush()
    assert msgspec.to_builtins(written.operations[-1]) == {
        "process": "c",
        "type": "fail",
        "f": "cas",
        "key": "x",
        "value": [1, 2],
        "time": 7,
        "index": 1,
        "error": "mismatch",
    }
