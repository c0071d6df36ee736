"""A command: how long it takes, its processor time, and the most memory that any of its processes held.

On a busy machine processor times can be compared, and the others not: Linux shares processors among sessions,
so that of commands that do the same work the one whose processes are in more sessions ends sooner.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DSIM = Path(sys.executable).with_name("dsim")
_LOOK_EVERY = 0.1  # seconds
_LAST = 2000  # characters of what a command said that are shown when it fails


class Timed(NamedTuple):
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        peak: bytes, the largest resident set of any of its processes.
        processor: seconds, of all its processes together.
    """

    seconds: float
    peak: int
    processor: float


def timed(
    command: Sequence[str | Path] | str, folder: Path, environment: Mapping[str, str] | None = None
) -> Timed:
    """Runs a command (a str: in the shell), and measures it.

    Raises:
        RuntimeError: it failed; says what it said.
    """
    began = time.perf_counter()
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    process = subprocess.Popen(
        command,
        cwd=folder,
        shell=isinstance(command, str),
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    peaks: dict[int, int] = {}
    ticks: dict[int, int] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ticks, ended))
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    with output:
        output.seek(0)
        said = output.read().decode(errors="replace")[-_LAST:] if process.returncode else ""
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {said}")
    processor = sum(ticks.values()) / os.sysconf("SC_CLK_TCK")
    return Timed(seconds, max(peaks.values(), default=0), processor)


def _watch(root: int, peaks: dict[int, int], ticks: dict[int, int], ended: threading.Event) -> None:
    """Notes the high-water mark and the processor time of each descendant, as long as there are any."""
    while not ended.wait(_LOOK_EVERY):
        for process in _family(root):
            try:
                status = Path(f"/proc/{process}/status").read_text()
                times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks[process] = int(times[11]) + int(times[12])
            mark = status.partition("VmHWM:")[2].split(maxsplit=1)
            if mark:
                peaks[process] = int(mark[0]) << 10


def _family(root: int) -> Iterator[int]:
    """Yields a process and all that it has started, also those that were started through others."""
    yield root
    try:
        threads = os.listdir(f"/proc/{root}/task")
    except OSError:
        return
    for thread in threads:
        try:
            children = Path(f"/proc/{root}/task/{thread}/children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))
