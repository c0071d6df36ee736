"""Starting the process of a node, and being sure that it runs or is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.real.folder import ClusterError, write_struct
from services.real.processes import Process

if TYPE_CHECKING:
    from services.real.folder import ClusterFolder, NodeFile, NodeFolder

_STARTS_WITHIN = 20.0  # seconds
_POLL = 0.01

_STAMP = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ \S+: ")  # see `services.node.main`

_ROOT = str(Path(__file__).resolve().parents[2])
"""Where `services` is found."""


async def launch(cluster: ClusterFolder, node: NodeFile, ties: list[str]) -> subprocess.Popen[bytes]:
    """Starts a node, in a session of its own, and returns when its program runs.

    Args:
        cluster: its folder.
        node: what to run; written to the node's folder.
        ties: arguments that say with whom the node dies.

    Raises:
        ClusterError: it ended at once, or took too long; it is gone then.
    """
    folder = cluster.node(node.name)
    folder.control.unlink(missing_ok=True)
    write_struct(folder.node, node)
    path = os.pathsep.join(entry for entry in (_ROOT, os.environ.get("PYTHONPATH")) if entry)
    with folder.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "services.node", str(cluster.path), node.name, *ties],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=node.cwd if Path(node.cwd).is_dir() else None,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        write_struct(folder.process, Process.of(child.pid))
        deadline = time.monotonic() + _STARTS_WITHIN
        while not folder.control.exists():
            if child.poll() is not None:
                why = last_words(folder) if child.returncode else f"{node.program} returned at once"
                raise ClusterError(f"{node.name} did not start: {why}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{node.name} did not start within {_STARTS_WITHIN:g} s; see {folder.log}")
            await asyncio.sleep(_POLL)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        child.wait()
        raise
    return child


def last_words(folder: NodeFolder) -> str:
    """Returns the last line of a node's log, and where the log is."""
    lines = folder.log.read_text(errors="replace").split("\n") if folder.log.exists() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"{_STAMP.sub('', said)} ({folder.log})"


def search_path() -> list[str]:
    """Returns where this process finds modules, for a node to find the same."""
    return [str(Path(entry or ".").resolve()) for entry in sys.path]
