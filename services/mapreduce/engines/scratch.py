"""A job's temporary folder on this machine; it is gone when the job is over.

A process that is killed with SIGKILL removes nothing. So each folder has a lock that the kernel gives back
with its owner's death, and the next job removes folders of this user whose owners are dead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "dsim-mr-"
LOCK = "lock"

_FRESH_S = 60.0
"""A folder that was made so short a while ago may not have its lock yet."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields a new folder, and removes it."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Removes what jobs left whose processes were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone already
            about = folder.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_ctime < _FRESH_S or not folder.is_dir():
                continue
            with (folder / LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
