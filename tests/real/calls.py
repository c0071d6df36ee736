"""What children run in `test_child.py`."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.child import Inside


def pid(inside: Inside) -> int:
    """Returns the process's number."""
    return os.getpid()


def crash(inside: Inside) -> None:
    """Reads where nothing is."""
    inside.mark(7)
    ctypes.string_at(0)


def allocate(inside: Inside, size: int) -> int:
    """Takes memory."""
    return len(bytearray(size))


def hang(inside: Inside) -> None:
    """Says its number, marks, and never returns."""
    inside.tell(os.getpid())
    inside.mark(5)
    while True:
        time.sleep(0.01)


def hang_beside_another(inside: Inside) -> None:
    """Starts a program and hangs."""
    inside.tell(subprocess.Popen(["sleep", "60"]).pid)
    hang(inside)


def speak(inside: Inside) -> None:
    """Writes to stdout in all ways."""
    print("Python")
    os.write(1, b"C\n")
    subprocess.run(["sh", "-c", "echo a program; echo its stderr >&2"], check=True)


def write_until_full(inside: Inside) -> int:
    """Writes until the disk is full, and says how often it could."""
    inside.tell("begun")
    with inside.disk.open("a", "wb", buffering=0) as file:
        for count in range(100_000):
            try:
                file.write(b"x")
            except OSError:
                return count
            time.sleep(0.001)
    return -1


def write(inside: Inside, path: str, data: bytes) -> float:
    """Writes a file, and says how many seconds it took."""
    start = time.perf_counter()
    with inside.disk.open(path, "ab") as file:
        file.write(data)
    return time.perf_counter() - start


def write_and_hang(inside: Inside) -> None:
    """Appends without closing."""
    with inside.disk.open("torn", "wb", buffering=0) as file:
        file.write(b"0123456789")
        hang(inside)


def spin(inside: Inside, seconds: float) -> float:
    """Uses processor time, and says how much wall time that took."""
    start, used = time.perf_counter(), time.process_time()
    while time.process_time() - used < seconds:
        pass
    return time.perf_counter() - start
