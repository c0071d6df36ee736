"""The folder that a run leaves behind, and how a half-written one is told from a whole.

A run folder carries the mark `incomplete` from its first moment; `summary.json` is written last,
in one step, and only then does the mark go. So a folder without the mark is whole, whatever happened
to the machine meanwhile, and one with it keeps what was recorded.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import msgspec

from sim.faults import Action, read_schedule
from sim.scenario.errors import InvalidInput
from sim.scenario.summary import Summary, decode, encode

SUMMARY = "summary.json"
TRACE = "trace.jsonl"
HISTORY = "history.jsonl"
SCHEDULE = "schedule.json"
INCOMPLETE = "incomplete"


def default_folder(scenario: str, world: str, seed: int, below: Path = Path("runs")) -> Path:
    """Returns `runs/<scenario>/<world>-seed<N>`, with `-2`, `-3`, ... when that exists already."""
    first = below / scenario / f"{world}-seed{seed}"
    folder, number = first, 1
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


class RunFolder:
    """A run folder being written.

    Args:
        path: must not exist, or be an empty folder.

    Raises:
        InvalidInput: it is not empty, not a folder, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InvalidInput(
                    f"output folder {path} is not empty: choose a new one with --out, or empty it"
                )
            with (path / INCOMPLETE).open("x") as mark:  # of two runs that start at once, one gets the folder
                mark.write("the run has not ended\n")
        except FileExistsError as exc:
            if path.is_dir():
                raise InvalidInput(
                    f"output folder {path} is another run's: choose a new one with --out"
                ) from None
            raise unwritable(path, exc) from None
        except OSError as exc:
            raise unwritable(path, exc) from None

    def mark(self, why: str) -> None:
        """Says why the run is incomplete."""
        with contextlib.suppress(OSError):  # the mark is there already; only its reason is missing
            (self.path / INCOMPLETE).write_text(why + "\n")

    def discard(self) -> None:
        """Takes away what a run left whose input could not be used: all of it is the run's own."""
        shutil.rmtree(self.path, ignore_errors=True)

    def write(self, summary: Summary) -> None:
        """Writes the summary as it is so far, for those that draw."""
        summary.complete = False
        self._write(summary)

    def finish(self, summary: Summary) -> None:
        """Writes the summary, which makes the folder whole.

        Raises:
            InvalidInput: the disk does not take it.
        """
        summary.complete = True
        self._write(summary)
        (self.path / INCOMPLETE).unlink(missing_ok=True)

    def _write(self, summary: Summary) -> None:
        draft = self.path / (SUMMARY + ".draft")
        try:
            draft.write_bytes(encode(summary))
            os.replace(draft, self.path / SUMMARY)
        except OSError as exc:
            raise unwritable(self.path, exc) from None


class Unwritable(InvalidInput):
    """The disk does not take what a run records; what it took is kept."""


def unwritable(path: Path, exc: OSError) -> Unwritable:
    """Returns what to tell a user whose disk refused to take what a run records."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unwritable(f"cannot write {path}: the disk is full; free some space or choose another --out")
    return Unwritable(f"cannot write {path}: {exc.strerror or exc}")


def read_summary(folder: Path) -> Summary:
    """Reads the summary of a run folder.

    Raises:
        InvalidInput: there is no such folder, it is not a run, it is incomplete, or damaged.
    """
    try:
        if not folder.exists():
            raise InvalidInput(f"there is no run folder {folder}")
        if not folder.is_dir():
            raise InvalidInput(f"{folder} is not a run folder but a file")
        if (folder / INCOMPLETE).exists():
            why = (folder / INCOMPLETE).read_text(errors="replace").strip()
            raise InvalidInput(f"the run in {folder} is incomplete ({why}): run it again")
        path = folder / SUMMARY
        if not path.exists():
            raise InvalidInput(f"{folder} is not a run: it holds no {SUMMARY}")
        return decode(path.read_bytes(), folder)
    except msgspec.DecodeError as exc:
        raise InvalidInput(f"{folder / SUMMARY} is damaged: {exc}") from None
    except OSError as exc:
        raise InvalidInput(f"cannot read {folder}: {exc.strerror or exc}") from None


def load_schedule(path: Path) -> list[Action]:
    """Reads a schedule of faults.

    Raises:
        InvalidInput: the file cannot be read, or is no schedule.
    """
    try:
        return read_schedule(path.read_bytes())
    except OSError as exc:
        raise InvalidInput(f"cannot read schedule {path}: {exc.strerror or exc}") from None
    except msgspec.DecodeError as exc:
        raise InvalidInput(f"{path} is not a schedule of faults: {exc}") from None
