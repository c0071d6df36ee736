"""Counts what one server flushes to the disk: a server whose calls of `fdatasync` are written down.

    python -m tests.bench.coordination.flushes zoo.cfg

Each call that has ended well adds a byte to the file "zoo.cfg.flushes".
"""

from __future__ import annotations

import os
import sys

from services.coordination.__main__ import main

_flush = os.fdatasync


def _counted(fd: int) -> None:
    _flush(fd)
    os.write(_book, b".")


if __name__ == "__main__":
    _book = os.open(f"{sys.argv[1]}.flushes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.fdatasync = _counted
    sys.exit(main(sys.argv[1:]))
