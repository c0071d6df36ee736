"""Files, sockets, threads and subprocesses: watched by an audit hook, refused inside simulated tasks.

The hook cannot be taken away again, so it does nothing unless a simulation runs in this process.
An adopted program may read files: its own data, which do not change while it runs. It
may write none: what a run leaves behind, the next one would find.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from sim.world.process import PROCESS, Process
from sim.world.reality.leak import asked_by_library, inside, leak

if TYPE_CHECKING:
    from types import FrameType

_DISK = "use host.disk"
_STREAMS = "use host.connect and host.serve, or asyncio's streams"
_HOSTS = "start another host instead"
INSTEAD_OF_THREADS = "use asyncio tasks, asyncio.to_thread or host.compute"
_SIGNAL = "stop or crash hosts from the scenario"

_READING = {
    "os.listdir",
    "os.scandir",
    "os.walk",
    "os.fwalk",
    "glob.glob",
    "glob.glob/2",
    "pathlib.Path.glob",
}
_WRITING = {
    "os.chdir",
    "os.chflags",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.lockf",
    "os.mkdir",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "shutil.copyfile",
    "shutil.rmtree",
    "shutil.move",
    "tempfile.mkdtemp",
    "tempfile.mkstemp",
}
_REFUSED = {
    "os.system": ("starts a real process", _HOSTS),
    "os.exec": ("starts a real process", _HOSTS),
    "os.fork": ("starts a real process", _HOSTS),
    "os.forkpty": ("starts a real process", _HOSTS),
    "os.posix_spawn": ("starts a real process", _HOSTS),
    "os.spawn": ("starts a real process", _HOSTS),
    "pty.spawn": ("starts a real process", _HOSTS),
    "subprocess.Popen": ("starts a real process", _HOSTS),
    "os.kill": ("sends a real signal", _SIGNAL),
    "os.killpg": ("sends a real signal", _SIGNAL),
    "signal.pthread_kill": ("sends a real signal", _SIGNAL),
    "_thread.start_new_thread": ("starts a real thread", INSTEAD_OF_THREADS),
    "_thread.start_joinable_thread": ("starts a real thread", INSTEAD_OF_THREADS),
}
_WATCHED = {"open", "sqlite3.connect", *_READING, *_WRITING, *_REFUSED}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_HARMLESS = ("/dev/null", "/dev/tty", "/dev/stdin", "/dev/stdout", "/dev/stderr")

_running = 0
_hooked = False


def watch(running: int) -> None:
    """Tells the hook how many simulations run; it is put in place before the first."""
    global _running, _hooked
    _running = running
    if not _hooked:
        _hooked = True
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _running or not (event in _WATCHED or event.startswith("socket.")):
        return
    if PROCESS.get(None) is None:
        return
    process = inside()
    if process is not None and (_opens_log(event) or not asked_by_library()):
        _judge(process, event, args)


def _opens_log(event: str) -> bool:
    """Says whether a program makes a handler that logs to a file; not one made before."""
    if event != "open":
        return False
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "logging":
        if frame.f_code is logging.FileHandler.__init__.__code__:
            return True
        frame = frame.f_back
    return False


def _judge(process: Process, event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        path, mode, flags = args
        if isinstance(path, int) or path in _HARMLESS:
            return
        if path in ("/dev/random", "/dev/urandom"):
            raise leak(process, f"open({path!r})", "draws real chance", "use host.rng")
        writes = bool(flags & _WRITE_FLAGS) if mode is None else any(letter in mode for letter in "wax+")
        _judge_file(process, f"open({path!r}{f', {mode!r}' if mode and writes else ''})", writes)
    elif event == "sqlite3.connect":
        if args[0] != ":memory:":
            _judge_file(process, f"sqlite3.connect({args[0]!r})", True)
    elif event in _READING or event in _WRITING:
        _judge_file(process, f"{event}({args[0]!r})" if args else f"{event}()", event in _WRITING)
    elif event.startswith("socket."):
        call = "socket.socket()" if event == "socket.__new__" else f"{event}()"
        raise leak(process, call, "uses the real network", _STREAMS)
    else:
        what, instead = _REFUSED[event]
        raise leak(process, f"{event}()", what, instead)


def _judge_file(process: Process, call: str, writes: bool) -> None:
    if writes:
        instead = f"{_DISK}, or return the result" if process.adopted else _DISK
        raise leak(process, call, "writes a real file", instead)
    if not process.reads_files:
        raise leak(process, call, "reads a real file", f"{_DISK}, or pass the content as a parameter")


def functions() -> list[tuple[Any, Any]]:
    """Returns the functions that write and tell audit hooks nothing of it, and what stands in for each."""
    return [_judged(name) for name in ("mkfifo", "mknod") if hasattr(os, name)]


def _judged(name: str) -> tuple[Any, Any]:
    real = getattr(os, name)

    def judged(path: Any, *args: Any, **kwargs: Any) -> Any:
        process = inside()
        if process is not None:
            _judge_file(process, f"os.{name}({path!r})", True)
        return real(path, *args, **kwargs)

    judged.__name__ = judged.__qualname__ = name
    judged.__module__ = "os"
    judged.__doc__ = real.__doc__
    return real, judged
