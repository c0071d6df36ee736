"""What children run in `test_child.py`: plain synchronous functions, as a service's user would write them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.child import Inside


class Odd(Exception):
    """Cannot be pickled: what makes it does not take what it holds, and it holds a lock."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.lock = threading.Lock()


def add(inside: Inside, one: Any, two: Any = 1) -> Any:
    """Adds."""
    return one + two


def say(inside: Inside, *lines: str) -> None:
    """Prints."""
    for line in lines:
        print(line)
    print("to stderr", file=sys.stderr)


def say_elsewhere(inside: Inside, path: str) -> None:
    """Prints here, then there."""
    print("here")
    inside.log(path)
    print("there")


def count_to(inside: Inside, end: int) -> int:
    """Tells and marks each number."""
    for number in range(end):
        inside.mark(number)
        inside.tell({"number": number})
    return end


def fail(inside: Inside) -> None:
    """Raises."""
    raise ValueError("no good")


def fail_oddly(inside: Inside) -> None:
    """Raises what cannot be sent."""
    raise Odd(1, 2)


def interrupt(inside: Inside) -> None:
    """Raises what is no Exception."""
    raise KeyboardInterrupt("not yours")


def return_lambda(inside: Inside) -> Any:
    """Returns what cannot be sent."""
    return lambda: None


def die(inside: Inside, how: str, argument: Any = None) -> None:
    """Ends the process, in one of the ways that there are, after a mark; `finally` has no say in it."""
    inside.mark(41)
    file = inside.disk.open("lost", "wb")
    file.write(b"in a buffer")
    print("last words")
    inside.mark(42)
    try:
        if how == "kill":
            os.kill(os.getpid(), argument)
        elif how == "raise":
            signal.raise_signal(argument)
        elif how == "abort":
            os.abort()
        elif how == "_exit":
            os._exit(argument)
        elif how == "exit":
            sys.exit(argument)
    except Exception:
        inside.mark(43)


def survive(inside: Inside) -> str:
    """Signals itself without effect."""
    os.kill(os.getpid(), 0)
    os.kill(os.getpid(), signal.SIGINT)
    return "alive"


def write(inside: Inside, path: str, data: bytes) -> int:
    """Writes a file and says how long it is."""
    with inside.disk.open(path, "wb") as file:
        file.write(data)
    return inside.disk.size(path)


def read(inside: Inside, path: str) -> bytes:
    """Reads a file."""
    with inside.disk.open(path) as file:
        return file.read()


def files(inside: Inside) -> list[Any]:
    """Does all that `Storage` can do, and returns what it saw."""
    disk = inside.disk
    seen: list[Any] = [disk.list(), disk.exists("a/b"), disk.list("nowhere")]
    with disk.open("a/b", "xb") as file:
        file.write(b"0123456789" * 3)
    with disk.open("a/b", "ab", buffering=0) as file:
        file.write(b"end")
    with disk.open("a/b", "r+b") as file:
        file.seek(10)
        file.write(b"ABC")
        file.seek(-5, os.SEEK_END)
        seen.append(file.read())
    with disk.open("a/b", buffering=16) as file:
        seen += [file.read(12), file.tell(), file.readline(), file.seek(31), list(file)]
    seen += [disk.size("a/b"), disk.list("a"), disk.exists("a"), disk.exists("a/b")]
    disk.rename("a/b", "a/c")
    seen += [disk.list("a"), disk.list()]
    disk.remove("a/c")
    seen.append(disk.list("a"))
    return seen


def errors(inside: Inside) -> list[str]:
    """Does what cannot be done, and returns the errors."""
    disk = inside.disk
    write(inside, "file", b"x")
    seen = []
    for attempt in (
        lambda: disk.open("nowhere"),
        lambda: disk.open("file", "xb"),
        lambda: disk.open("file/below", "wb"),
        lambda: disk.open("file", "w"),
        lambda: disk.open("../out", "wb"),
        lambda: disk.remove("nowhere"),
        lambda: disk.rename("nowhere", "x"),
        lambda: disk.rename("file", "no/folder"),
        lambda: disk.size("nowhere"),
        lambda: disk.list("file"),
        lambda: disk.open("file").write(b"x"),
        lambda: disk.open("file", "ab").read(),
    ):
        try:
            attempt()
            seen.append("nothing")
        except OSError as error:
            seen.append(f"{type(error).__name__} {error.filename or ''}".strip())
        except ValueError as error:
            seen.append(type(error).__name__)
    return seen


def try_write(inside: Inside, path: str) -> str:
    """Writes, and returns what went wrong."""
    try:
        write(inside, path, b"x" * 1000)
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    return "written"


def try_write_open(inside: Inside, path: str) -> str:
    """Writes to a file that is there."""
    try:
        with inside.disk.open(path, "ab") as file:
            file.write(b"x")
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
    return "written"


def linger(inside: Inside, world: str, seconds: float = 60.0) -> str:
    """Takes its time; in the simulated world time is charged for instead."""
    if world == "real":
        time.sleep(seconds)
    return "done"


def remember(inside: Inside, value: int) -> int:
    """Keeps a value in the process, and returns the one before."""
    before = _kept[0]
    _kept[0] = value
    return before


_kept = [0]
