"""No leak of reality: what a simulated task may not touch, and what it gets instead.

A run can be replayed only if nothing in it depends on the real clock, chance, files or
network. While a simulation runs, calls that would touch them are looked at here:

- made outside simulated tasks (other threads included), they do what they always did;
- made in a process that is *adopted*, clocks, chance and connections are the simulated host's;
- made in any other process, they raise `RealityLeak`, which says what to use instead.

`clocks`, `chance`, `machine`, `blocking` and `programs` hold the answers, put in place of the functions
of `time`, `random` and so on, wherever modules hold them under whatever name (`from time import time`).
Files, sockets, threads and subprocesses are watched by an audit hook in `files`. Everything is put in place
by `guarded` when the first loop starts to run, and taken back when the last one stops.

The library that Python programs stand on goes on working inside tasks: `logging`, imports,
tracebacks, `pdb`, `warnings`, `unittest`. What these ask themselves is answered (`asked_by_library`).

What escapes: real functions that were stored elsewhere than in a module before the run (a
default argument, a dataclass's `default_factory=time.time`), compiled code that asks the
system itself (numpy's random generators), and questions of which Python tells nobody (`os.stat`, the
environment).
"""

from __future__ import annotations

from sim.world.reality.guard import adopting, guarded
from sim.world.reality.leak import RealityLeak

__all__ = ["RealityLeak", "adopting", "guarded"]
