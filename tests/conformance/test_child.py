"""Children: `services.host.Host.child`, forked on a real machine, run inline on a simulated one."""

from __future__ import annotations

import asyncio
import signal
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

import pytest

from services.child import ChildDied
from tests.conformance import calls
from tests.conformance.rig import outcome
from tests.conformance.test_files import get, put

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.conformance.rig import Rig


async def death(call: Awaitable[Any]) -> tuple[str, int]:
    """Returns how the child died in a call, and what it had marked."""
    with pytest.raises(ChildDied) as caught:
        await call
    return caught.value.how, caught.value.mark


async def test_calls(rig: Rig) -> None:
    """A child runs one call after the other and returns what the functions return."""
    child = rig.host.child()
    assert await child.run(calls.add, 1, 2) == 3
    assert await child.run(calls.add, "a", two="b") == "ab"
    assert await child.run(calls.add, b"x" * 3_000_000, b"y") == b"x" * 3_000_000 + b"y"
    await child.close()


async def test_one_call_at_a_time(rig: Rig) -> None:
    """A second call is refused; the first goes on."""
    child = rig.host.child(cost=lambda result: 1.0)
    first = asyncio.ensure_future(child.run(calls.linger, rig.world, 0.3))
    await asyncio.sleep(0.001)
    assert await outcome(child.run(calls.add, 3, 4)) == (
        "RuntimeError",
        "this child is running a call: one at a time",
    )
    assert await first == "done"
    await child.close()


async def test_two_children_at_once(rig: Rig) -> None:
    """They do not wait for each other's calls."""
    one, two = rig.host.child(), rig.host.child()
    assert await asyncio.gather(one.run(calls.add, 1), two.run(calls.add, 2)) == [2, 3]
    await one.close()
    await two.close()


async def test_messages_and_marks(rig: Rig) -> None:
    """What is told arrives in order, before the result; the mark is the last one, or -1."""
    heard: list[Any] = []
    child = rig.host.child(heard=heard.append)
    assert child.mark == -1
    assert await child.run(calls.count_to, 50) == 50
    assert heard == [{"number": number} for number in range(50)]
    assert child.mark == 49
    assert await child.run(calls.add, 1) == 2
    assert child.mark == -1
    await child.close()


async def test_errors(rig: Rig) -> None:
    """What a function raises is raised here, with the child's traceback in its notes; the child lives on."""
    child = rig.host.child()
    with pytest.raises(ValueError, match="no good") as caught:
        await child.run(calls.fail)
    assert "calls.py" in caught.value.__notes__[0] and 'ValueError("no good")' in caught.value.__notes__[0]
    assert await child.run(calls.add, 1) == 2
    await child.close()


async def test_errors_that_cannot_be_sent(rig: Rig) -> None:
    """They are named, nevertheless; so is what is no Exception, and a result that cannot be sent."""
    child = rig.host.child()
    assert await outcome(child.run(calls.fail_oddly)) == (
        "RuntimeError",
        "tests.conformance.calls.Odd: 1 and 2",
    )
    assert await outcome(child.run(calls.interrupt)) == ("RuntimeError", "KeyboardInterrupt: not yours")
    kind, text = await outcome(child.run(calls.return_lambda))
    assert (kind, text.startswith("what return_lambda returned cannot be pickled: ")) == ("TypeError", True)
    assert await child.run(calls.add, 1) == 2
    await child.close()


async def test_arguments_that_cannot_be_sent(rig: Rig) -> None:
    """The call fails here, and the child does not notice."""
    child = rig.host.child()
    with pytest.raises((PicklingError, AttributeError), match="local object"):  # Pythons word it differently
        await child.run(calls.add, lambda: None)
    assert await child.run(calls.add, 1) == 2
    await child.close()


@pytest.mark.parametrize(
    ("how", "argument", "said"),
    [
        ("kill", signal.SIGSEGV, "killed by SIGSEGV"),
        ("kill", signal.SIGKILL, "killed by SIGKILL"),
        ("kill", signal.SIGTERM, "killed by SIGTERM"),
        ("raise", signal.SIGUSR1, "killed by SIGUSR1"),
        ("abort", None, "killed by SIGABRT"),
        ("_exit", 3, "exit status 3"),
        ("_exit", 0, "exit status 0"),
    ],
)
async def test_death(rig: Rig, how: str, argument: Any, said: str) -> None:
    """A process that ends in the middle of a call says how, and how far it was; the next call has a new one.

    Nothing that it does on its way out counts, and what its buffers held is lost; what it printed is not.
    """
    child = rig.host.child(log="log")
    assert await death(child.run(calls.die, how, argument)) == (said, 42)
    assert await get(rig.host.disk, "lost") == b""
    assert (await get(rig.host.disk, "log")).startswith(b"last words\n")
    assert await child.run(calls.add, 1) == 2
    await child.close()


@pytest.mark.parametrize(
    ("code", "said", "printed"),
    [(None, "exit status 0", b""), (7, "exit status 7", b""), ("why", "exit status 1", b"why\n")],
)
async def test_exit(rig: Rig, code: Any, said: str, printed: bytes) -> None:
    """`sys.exit` ends the process, as it would end any program."""
    child = rig.host.child(log="log")
    assert await death(child.run(calls.die, "exit", code)) == (said, 42)
    assert await get(rig.host.disk, "log") == b"last words\n" + printed
    await child.close()


async def test_signals_without_effect(rig: Rig) -> None:
    """Ctrl-C is the host's to answer: SIGINT does nothing to a child."""
    child = rig.host.child()
    assert await child.run(calls.survive) == "alive"
    await child.close()


async def test_a_new_process_remembers_nothing(rig: Rig) -> None:
    """What a function left in its process is there in the next call of the same process."""
    child = rig.host.child()
    await child.run(calls.remember, 5)
    assert await child.run(calls.remember, 0) == 5
    await child.close()


async def test_killing(rig: Rig) -> None:
    """The call under way raises the reason; without a call, the next one has a new process."""
    child = rig.host.child(cost=lambda result: 10.0)
    call = asyncio.ensure_future(child.run(calls.linger, rig.world))
    await asyncio.sleep(0.001)
    child.kill("no progress")
    child.kill("again")
    assert await death(call) == ("no progress", -1)
    child.kill()
    assert await child.run(calls.add, 1) == 2
    await child.close()


async def test_cancelling(rig: Rig) -> None:
    """Whoever no longer waits for a call ends the process; the next call has a new one."""
    child = rig.host.child(cost=lambda result: 10.0)
    call = asyncio.ensure_future(child.run(calls.linger, rig.world))
    await asyncio.sleep(0.001)
    call.cancel()
    assert await outcome(call) == "CancelledError"
    assert await child.run(calls.add, 1) == 2
    await child.close()


async def test_output(rig: Rig) -> None:
    """Stdout and stderr are appended to the log, until the function takes another."""
    child = rig.host.child(log="logs/one")
    await put(rig.host.disk, "logs/one", b"before\n")
    await child.run(calls.say, "é", "\udcff")
    await child.run(calls.say_elsewhere, "logs/two")
    await child.run(calls.say)
    assert await get(rig.host.disk, "logs/one") == "before\né\n\\udcff\nto stderr\nhere\n".encode()
    assert await get(rig.host.disk, "logs/two") == b"there\nto stderr\n"
    await child.close()


async def test_storage(rig: Rig) -> None:
    """A child sees the host's disk, and the host what the child has written."""
    child = rig.host.child()
    await put(rig.host.disk, "mine", b"from the host")
    assert await child.run(calls.read, "mine") == b"from the host"
    assert await child.run(calls.write, "new/yours", b"from the child") == 14
    assert await get(rig.host.disk, "new/yours") == b"from the child"
    await child.close()


async def test_what_storage_can_do(rig: Rig) -> None:
    """All modes, with and without buffers; names."""
    child = rig.host.child()
    assert await child.run(calls.files) == [
        [],
        False,
        [],
        b"89end",
        b"0123456789AB",
        12,
        b"C34567890123456789end",
        31,
        [b"nd"],
        33,
        ["b"],
        True,
        True,
        ["c"],
        ["a"],
        [],
    ]
    await child.close()


async def test_what_storage_cannot_do(rig: Rig) -> None:
    """Errors are those of the builtin, and name the path as the caller knows it."""
    child = rig.host.child()
    assert await child.run(calls.errors) == [
        "FileNotFoundError nowhere",
        "FileExistsError file",
        "NotADirectoryError file/below",
        "ValueError",
        "ValueError",
        "FileNotFoundError nowhere",
        "FileNotFoundError nowhere",
        "FileNotFoundError file",
        "FileNotFoundError nowhere",
        "NotADirectoryError file",
        "UnsupportedOperation",
        "UnsupportedOperation",
    ]
    await child.close()


async def test_a_full_disk(rig: Rig) -> None:
    """It is full for children too, from the moment of the fault to its end."""
    child, disk = rig.host.child(), rig.host.disk
    await put(disk, "there", b"old")
    disk.full = True  # type: ignore[attr-defined]
    assert await child.run(calls.try_write, "new") == "OSError 28"
    assert await child.run(calls.try_write_open, "there") == "OSError 28"
    assert await child.run(calls.read, "there") == b"old"
    disk.full = False  # type: ignore[attr-defined]
    assert await child.run(calls.try_write, "new") == "written"
    assert await disk.list() == ["new", "there"]
    await child.close()


async def test_memory(rig: Rig) -> None:
    """A limit is above zero."""
    with pytest.raises(ValueError, match="a child's memory is 0 bytes: must be above 0"):
        rig.host.child(memory=0)
