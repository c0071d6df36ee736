"""The process behind `spawn`: one program of `programs.py`, until it is killed or its parent is gone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.conformance import programs
from tests.conformance.door import DoorRig
from tests.conformance.real import RealRig


async def main(name: str, parameters: str) -> None:
    """Runs the program; its parent's end is the end of standard input."""
    asyncio.get_running_loop().add_reader(0, os._exit, 0)
    given = json.loads(parameters)
    folder, host = given.pop("folder", None), given.pop("host", None)
    rig = DoorRig(Path(folder), host) if host else RealRig(Path(folder) if folder else None)
    await getattr(programs, name)(rig, **given)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
