"""What crosses between a child and its parent in both worlds: calls, results, errors, and deaths in words."""

from __future__ import annotations

import pickle
import signal
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_PROTOCOL = 5  # of pickle; fixed, so that all Pythons write the same


def pack(value: Any) -> bytes:
    """Returns a value as bytes.

    Raises:
        Exception: it cannot be pickled.
    """
    return pickle.dumps(value, _PROTOCOL)


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Returns the value."""
    return pickle.loads(data)


def pack_result(value: Any, of: Any) -> bytes:
    """Returns the result of a function as bytes.

    Raises:
        TypeError: it cannot be pickled; says what of.
    """
    try:
        return pack(value)
    except MemoryError:
        raise
    except Exception as exc:
        name = getattr(of, "__qualname__", repr(of))
        raise TypeError(f"what {name} returned cannot be pickled: {exc}") from exc


def pack_error(error: BaseException, since: TracebackType | None) -> bytes:
    """Returns what a function raised as bytes, with its traceback in a note.

    What cannot be pickled, or is no `Exception` (KeyboardInterrupt), becomes a RuntimeError that names it.

    Args:
        error: what was raised.
        since: where the function's own traceback begins.
    """
    named = "".join(traceback.format_exception_only(error)).strip()
    lines = traceback.format_exception(type(error), error, since)
    note = "In the child:\n" + "".join(lines).rstrip()
    if isinstance(error, Exception):
        try:
            error.add_note(note)
            packed = pack(error)
            if type(unpack(packed)) is type(error):
                return packed
        except Exception:  # whatever its own code does when it is pickled
            pass
    stand_in = RuntimeError(named)
    stand_in.add_note(note)
    return pack(stand_in)


def death(status: int) -> str:
    """Returns in words how a process ended, from its exit code (negative: the signal's number)."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def exit_status(code: object) -> tuple[int, str]:
    """Returns the exit status that `sys.exit(code)` means, and what it prints on stderr."""
    if code is None:
        return 0, ""
    if isinstance(code, int):
        return code & 0xFF, ""
    return 1, f"{code}\n"
