"""A server from Apache's `zoo.cfg`, in the foreground: `python -m services.coordination zoo.cfg`.

It behaves as Apache's does under a test harness or a supervisor. SIGTERM, SIGINT and SIGHUP end it in
order, with 128 and the signal's number as the exit status (what a JVM gives); 2 is a configuration that
cannot be, 3 a data folder that cannot be used, 1 anything else. What went wrong is the last line on stderr,
where the log is, too. A server that is started again on its data folder goes on where it was.

`-Dname=value` gives a setting on the command line, with or without Apache's "zookeeper." before its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import resource
import signal
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import uvloop

import services.real  # noqa: F401 - first: what gRPC's core is to say on stderr is read when it is imported

# isort: split
from services.coordination.configuration import Configuration, Member
from services.coordination.server.program import run
from services.coordination.storage import StorageFailed, StorageRefused
from services.coordination.wire import admin
from services.coordination.wire.door import BACKLOG, Door
from services.coordination.wire.report import Report
from services.coordination.zab.timing import Timing
from services.coordination.zoo_cfg import ConfigurationError, ZooCfg, parse
from services.pages import Respond, serve
from services.real.standalone import StandaloneHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.coordination.server.frontend import Frontend

USAGE = "usage: python -m services.coordination [-Dname=value]... zoo.cfg"
UNEXPECTED, INVALID, DATA_FOLDER = 1, 2, 3
"""Exit statuses, as of Apache's `ExitCode`."""

_ON_ITS_OWN = Configuration((Member(1, "127.0.0.1", quorum_port=0),))
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_END_WITHIN = 2.0  # seconds for calls that were cancelled to end

log = logging.getLogger("coordination")


class Unusable(Exception):
    """A data folder that cannot be used; says why in one line."""


def main(arguments: list[str]) -> int:
    """Runs a server, and returns its exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    overrides = {}
    files = []
    for argument in arguments:
        if argument.startswith("-D"):
            name, _, value = argument[2:].partition("=")
            overrides[name.removeprefix("zookeeper.")] = value
        else:
            files.append(argument)
    if len(files) != 1 or files[0].startswith("-"):
        return _complain(USAGE, INVALID)
    try:
        text = Path(files[0]).read_text()
    except (OSError, ValueError) as exc:
        return _complain(f"{files[0]} cannot be read: {_words(exc)}", INVALID)
    try:
        cfg = parse(text, lambda path: Path(path).read_text(), overrides)
    except (ConfigurationError, ValueError) as exc:
        return _complain(f"{files[0]}: {exc}", INVALID)
    for warning in cfg.warnings:
        log.warning("%s: %s", files[0], warning)
    _allow_files()
    try:
        with _folders(cfg):
            return uvloop.run(_serve(cfg))
    except (Unusable, StorageRefused) as exc:
        return _complain(str(exc), DATA_FOLDER)
    except (OSError, StorageFailed) as exc:
        return _complain(_words(exc), UNEXPECTED)


async def _serve(cfg: ZooCfg) -> int:
    """Serves until a signal comes."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    for sent in _SIGNALS:
        loop.add_signal_handler(sent, _stop, stopped, sent)
    ensemble = cfg.ensemble or _ON_ITS_OWN
    number = cfg.server or 1
    me = ensemble.member(number)
    assert me is not None
    log_folder = Path(cfg.data_log_dir)
    host = StandaloneHost(
        f"server.{number}",
        Path(cfg.data_dir),
        {"log": log_folder},
        cfg.token,
        listen=me.host.strip("[]"),
        plain=True,
    )
    timing = Timing(
        tick=cfg.settings.tick,
        init_limit=cfg.init_limit,
        sync_limit=cfg.sync_limit,
    )
    work = asyncio.ensure_future(
        run(
            host,
            ensemble,
            number,
            cfg.settings,
            lambda front: _doors(cfg, front),
            timing=timing,
            snap_count=cfg.snap_count,
            snapshots_kept=cfg.snapshots_kept,
        )
    )
    try:
        ends: list[asyncio.Future[Any]] = [work, stopped]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
        if not work.cancelled() and (error := work.exception()) is not None and not stopped.done():
            raise error
    finally:
        # gRPC prints a traceback for a call that `asyncio.run` cancels before it has seen its own end.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=_END_WITHIN)
        host.close()
    return 128 + stopped.result() if stopped.done() else UNEXPECTED


async def _doors(cfg: ZooCfg, front: Frontend) -> None:
    """Opens what clients and operators come in by, and keeps it open until cancelled."""
    report = Report(
        front,
        cfg.told(),
        initial=cfg.text,
        environment=_environment(),
        sizes=lambda: _sizes(cfg),
        descriptors=_descriptors,
        ensemble=front.configuration if cfg.ensemble is not None else None,
    )
    door = Door(front, cfg.settings, report, cfg.words)
    async with contextlib.AsyncExitStack() as stack:
        if cfg.client_port is not None:
            backlog = cfg.backlog if cfg.backlog > 0 else BACKLOG
            where = f"{cfg.client_address or '*'}:{cfg.client_port}"
            try:
                await door.start(cfg.client_address, cfg.client_port, backlog)
            except OSError as exc:
                raise OSError(f"clients cannot be served at {where}: {_words(exc)}") from None
            stack.push_async_callback(door.stop)
            log.info("serving clients at %s", where)
        if cfg.admin is not None:
            address, port, url = cfg.admin
            await _pages(stack, "commands", admin.commands(report, url), address, port)
        if cfg.metrics is not None:
            await _pages(stack, "metrics", admin.metrics(report), *cfg.metrics)
        await asyncio.get_running_loop().create_future()


async def _pages(
    stack: contextlib.AsyncExitStack, name: str, respond: Respond, address: str, port: int
) -> None:
    """Opens pages; a server whose port is taken does without them."""
    try:
        server = await serve(respond, address, port)
    except OSError as exc:
        log.warning("there are no %s: %s", name, _words(exc))
        return
    stack.callback(server.close)
    log.info("%s at %s:%d", name, address, server.sockets[0].getsockname()[1])


def _stop(stopped: asyncio.Future[int], number: signal.Signals) -> None:
    if not stopped.done():
        log.info("%s: stopping", number.name)
        logging.getLogger("grpc").setLevel(logging.CRITICAL)  # it tells of each call that is cancelled now
        stopped.set_result(number)


@contextlib.contextmanager
def _folders(cfg: ZooCfg) -> Iterator[None]:
    """Makes the folders, and keeps other servers off them.

    Raises:
        Unusable: they cannot be used.
    """
    locks: list[IO[str]] = []
    try:
        for name, folder in (("dataDir", cfg.data_dir), ("dataLogDir", cfg.data_log_dir)):
            path = Path(folder)
            if (path / "version-2").exists() and not (path / "data").exists() and not (path / "log").exists():
                raise Unusable(
                    f"{name} {folder} holds data of Apache ZooKeeper (version-2), which cannot be read here: "
                    "give this server a folder of its own"
                )
            try:
                path.mkdir(parents=True, exist_ok=True)
                if folder == cfg.data_dir and locks:
                    continue
                locks.append((path / ".lock").open("w"))
                fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unusable(f"{name} {folder} is in use by another server") from None
            except (OSError, ValueError) as exc:  # ValueError: a NUL
                raise Unusable(f"{name} {folder} cannot be used: {_words(exc)}") from None
        yield
    finally:
        for lock in locks:
            lock.close()


async def _sizes(cfg: ZooCfg) -> tuple[int, int]:
    """Returns the bytes of snapshots and of logs on the disk."""

    def size(folder: Path) -> int:
        with contextlib.suppress(OSError):
            return sum(entry.stat().st_size for entry in os.scandir(folder))
        return 0

    return size(Path(cfg.data_dir) / "data"), size(Path(cfg.data_log_dir) / "log")


def _descriptors() -> tuple[int, int]:
    """Returns how many files and connections this process has open, and may have."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError):
        return len(os.listdir("/dev/fd")), most  # on Linux and on macOS
    return 0, most


def _environment() -> dict[str, str]:
    return {
        "host.name": platform.node(),
        "python.version": platform.python_version(),
        "python.implementation": platform.python_implementation(),
        "python.executable": sys.executable,
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
        "user.dir": os.getcwd(),
    }


def _allow_files() -> None:
    """Allows as many connections as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _complain(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
