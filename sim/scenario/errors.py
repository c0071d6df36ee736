"""What a user can get wrong, said in one line."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class InvalidInput(ValueError):
    """An argument or a file cannot be used; the message says which, why, and what to do instead.

    The command line prints the message alone and ends with status 2.
    """


class RunFailed(RuntimeError):
    """A scenario did something that the rules of scenarios forbid; the verdict is `error`."""


def near(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean x or y?" for the names closest to `word`, or "" when none is close."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.7)
    if not close:  # "ping" means "basics/ping"
        close = [name for name in names if word and word in name][:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def shown(path: str | Path) -> str:
    """Returns a path as a person wants to read it: relative where it lies below the current folder."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative
