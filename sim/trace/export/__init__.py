"""Traces in the formats of other people's viewers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.trace.export import perfetto, shiviz
from sim.trace.read import TraceError, read_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import BinaryIO

    from protos.trace import TraceEvent

FORMATS: dict[str, tuple[str, Callable[[Iterable[TraceEvent], BinaryIO], None]]] = {
    "perfetto": ("perfetto.json", perfetto.write),
    "shiviz": ("shiviz.log", shiviz.write),
}
"""Every format by its name: the file it is written to, and what writes it."""


def export(run_dir: Path, to: str) -> Path:
    """Writes the trace of a run in another format, into the run's folder, and returns the file.

    Args:
        run_dir: the folder of a run.
        to: a name in `FORMATS`.

    Raises:
        TraceError: no such format; or the trace cannot be read, or the file not be written.
    """
    if to not in FORMATS:
        raise TraceError(f"no export format {to!r}; there are: {', '.join(FORMATS)}")
    name, write = FORMATS[to]
    target = run_dir / name
    part = run_dir / (name + ".part")  # so that a half-written file never looks whole
    try:
        with part.open("wb") as file:
            write(read_trace(run_dir / "trace.jsonl"), file)
        part.replace(target)
    except OSError as error:
        raise TraceError(f"{target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return target
