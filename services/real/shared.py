"""Memory that processes share: a few numbers, read and written without a system call.

A child marks its progress here, and its parent reads it even after the child is dead; a host keeps the rules
of its disk here, and its children look at them before each operation.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V", bool, float)


class Cells:
    """Some 64-bit numbers in shared memory.

    Args:
        format: "q" for integers, "d" for floats.
        descriptor: of cells that another process has made (taken over); None makes new ones, all zero.

    Attributes:
        descriptor: to be sent to another process.
        numbers: the cells.
    """

    def __init__(self, format: str, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        self._map = mmap.mmap(self.descriptor, mmap.PAGESIZE)
        self.numbers: memoryview[Any] = memoryview(self._map).cast(format)  # type: ignore[call-overload]

    def close(self) -> None:
        """Closes the descriptor; the memory goes with the last who uses it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dsim")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, mmap.PAGESIZE)
    return descriptor


class _Rule(Generic[V]):
    """An attribute kept in a cell."""

    def __init__(self, cell: int, kind: Callable[[Any], V]) -> None:
        self._cell = cell
        self._kind: Callable[[Any], V] = kind

    @overload
    def __get__(self, rules: None, owner: Any) -> _Rule[V]: ...
    @overload
    def __get__(self, rules: DiskRules, owner: Any) -> V: ...
    def __get__(self, rules: DiskRules | None, owner: Any) -> V | _Rule[V]:
        return self if rules is None else self._kind(rules.cells.numbers[self._cell])

    def __set__(self, rules: DiskRules, value: V) -> None:
        rules.cells.numbers[self._cell] = value


class DiskRules:
    """What faults do to a disk, for all processes that use it; a change holds at once.

    Args:
        descriptor: of the rules of another process; None makes new ones: no fault.

    Attributes:
        full: writing and creating fail with ENOSPC.
        sync_fails: syncs fail with EIO.
        slow: each operation takes this many times as long.
        tear: the newest append of a file is there only in part, until somebody looks at the file.
    """

    full = _Rule(0, bool)
    sync_fails = _Rule(1, bool)
    tear = _Rule(2, bool)
    slow = _Rule(3, float)

    def __init__(self, descriptor: int | None = None) -> None:
        self.cells = Cells("d", descriptor)
        if descriptor is None:
            self.slow = 1.0
