"""The process of one node.

`services.real.launch` has it forked from a template, with what to run in the node's folder. It gives the
program its `Host`, and the operator its control service (`protos/control.proto`), which only who knows the
cluster's token may call. It ends when the program returns or fails, at SIGTERM, and together with its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.protobuf import json_format

from protos import control_pb2, control_pb2_grpc
from services.real.adopt import adopt
from services.real.folder import (
    ClusterError,
    ClusterFile,
    ClusterFolder,
    NodeFile,
    NodeFolder,
    read_struct,
    write_struct,
    write_whole,
)
from services.real.forks import Forks
from services.real.host import RealHost
from services.real.launch import Launch
from services.real.names import Names, reached_at
from services.real.processes import (
    Process,
    call_oneself,
    die_with_parent,
    outlive_parent,
    resident_bytes,
    watch,
)
from services.real.programs import ProgramError, load_program
from services.real.server import Authentication
from services.real.tracing import TraceLog

_GRACE = 3.0  # seconds that a cancelled program may take to end

log = logging.getLogger("node")


class Control(control_pb2_grpc.ControlServicer):
    """What an operator may ask of a node."""

    def __init__(self, host: RealHost, cluster: ClusterFolder, stop: asyncio.Event) -> None:
        self._host = host
        self._cluster = cluster
        self._stop = stop
        self._started = time.monotonic()

    async def Ping(self, request: control_pb2.PingRequest, context: Any) -> control_pb2.PingReply:
        """Answers."""
        return control_pb2.PingReply(name=self._host.name, incarnation=self._host.incarnation)

    async def SetRules(self, request: control_pb2.Rules, context: Any) -> control_pb2.RulesReply:
        """Puts a state of the door in place."""
        self._host.set_rules(request)
        return control_pb2.RulesReply()

    async def Status(self, request: control_pb2.StatusRequest, context: Any) -> control_pb2.StatusReply:
        """Says how the node is."""
        host = self._host
        return control_pb2.StatusReply(
            name=host.name,
            incarnation=host.incarnation,
            pid=os.getpid(),
            uptime_s=time.monotonic() - self._started,
            resident_bytes=resident_bytes(),
            ports=[
                control_pb2.Port(port=port, address=host.names.resolve(host.name, port))
                for port in host.serving
            ],
            sent=host.door.sent,
            received=host.door.received,
        )

    async def Shutdown(
        self,
        request: control_pb2.ShutdownRequest,
        context: Any,
    ) -> control_pb2.ShutdownReply:
        """Ends the program."""
        self._stop.set()
        return control_pb2.ShutdownReply()

    async def Disown(self, request: control_pb2.DisownRequest, context: Any) -> control_pb2.DisownReply:
        """Lets the node live on without its starter, once the cluster's file says so."""
        about = read_struct(self._cluster.cluster, ClusterFile)
        if about is not None and about.owner is not None:
            die_unless_detached(self._cluster, about.owner)
        outlive_parent()
        return control_pb2.DisownReply()


async def run(
    cluster: ClusterFolder, folder: NodeFolder, about: ClusterFile, node: NodeFile, forks: Forks
) -> int:
    """Runs the node to its end and returns its exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = open_host(cluster, folder, about, node, forks)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, read_rules, host, cluster)
    server, address = await serve_control(host, cluster, stop, about.listen)
    host.tracing.event("boot" if node.incarnation == 0 else "restart", node.incarnation)
    host.tracing.flush()
    try:
        work = start_program(host, node)
        if work is None:
            return 2
        await asyncio.sleep(0)  # its first step: what fails there, failed to start
        if not work.done():
            write_whole(folder.control, address.encode())
        await watch_program(work, stop)
        await server.stop(None)  # what its calls leave in the log comes before the program's last words
        return status_of(work, node.program)
    finally:
        host.tracing.event("exit", node.incarnation)
        folder.control.unlink(missing_ok=True)
        await server.stop(None)
        host.close()


def open_host(
    cluster: ClusterFolder, folder: NodeFolder, about: ClusterFile, node: NodeFile, forks: Forks
) -> RealHost:
    """Returns the node's host, with the rules that hold at its door, recording."""
    is_file = node.program.rpartition(":")[0].endswith(".py")
    host = RealHost(
        node.name,
        folder.path,
        Names(cluster.names, reached_at(about.listen)),
        cluster.token.read_text(),
        incarnation=node.incarnation,
        listen=about.listen,
        programs=(node.program,) if is_file else (),
        forks=forks,
    )
    logging.getLogger().addHandler(TraceLog(node.name, host.tracing))
    read_rules(host, cluster)
    host.tracing.start()
    return host


def read_rules(host: RealHost, cluster: ClusterFolder) -> None:
    """Puts the rules in place that are kept for the host's door."""
    rules = cluster.rules_of(host.name)
    if rules.exists():
        host.set_rules(json_format.Parse(rules.read_text(), control_pb2.Rules()))


def start_program(host: RealHost, node: NodeFile) -> asyncio.Future[Any] | None:
    """Starts the program; None, and a line in the log, when it cannot be."""
    try:
        program = load_program(node.program)
        if node.adopt:
            adopt(host)
            return asyncio.ensure_future(program(**node.parameters))
        return asyncio.ensure_future(program(host, **node.parameters))
    except ProgramError as exc:
        log.error("%s", exc)
    except Exception as exc:
        log.exception("%s cannot be started: %s", node.program, exc)
    return None


async def watch_program(work: asyncio.Future[Any], stop: asyncio.Event) -> None:
    """Waits until the program ends or is to; then it is cancelled, and has a moment to end."""
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        work.cancel()
        await asyncio.wait([work], timeout=_GRACE)


def status_of(work: asyncio.Future[Any], name: str) -> int:
    """Says in the log what was wrong with a program's end, and returns the exit status."""
    if not work.done():
        log.error("%s did not end within %g s of being cancelled", name, _GRACE)
        return 1
    if not work.cancelled() and (failure := work.exception()) is not None:
        log.error("%s failed: %s: %s", name, type(failure).__name__, failure, exc_info=failure)
        return 1
    return 0


def die_unless_detached(cluster: ClusterFolder, owner: Process) -> None:
    """Has this process and its group killed when the owner of its cluster has died as such."""

    def end() -> None:
        about = None
        with contextlib.suppress(ClusterError, OSError):
            about = read_struct(cluster.cluster, ClusterFile)
        if about is None or about.owner is not None:
            os.killpg(0, signal.SIGKILL)

    watch(owner.alive, end)


def die_with_folder(cluster: ClusterFolder) -> None:
    """Has this process and its group killed when the folder is removed: nobody could take it down then."""
    watch(cluster.cluster.exists, lambda: os.killpg(0, signal.SIGKILL))


async def serve_control(
    host: RealHost, cluster: ClusterFolder, stop: asyncio.Event, listen: str
) -> tuple[grpc.aio.Server, str]:
    """Starts the control service; returns it and where it is reached."""
    server = grpc.aio.server(interceptors=(Authentication(host.token),), options=(("grpc.so_reuseport", 0),))
    control_pb2_grpc.add_ControlServicer_to_server(Control(host, cluster, stop), server)
    port = server.add_insecure_port(f"{listen}:0")
    await server.start()
    return server, f"{reached_at(listen)}:{port}"


def begin(request: bytes, descriptors: list[int], parent: int) -> None:
    """The node's life, in a process just forked by a template.

    Args:
        request: nothing.
        descriptors: of a file with a `Launch`.
        parent: the template's pid.
    """
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        what = msgspec.msgpack.decode(file.read(), type=Launch)
    os.setsid()
    if what.owned:
        die_with_parent(parent)
    cluster = ClusterFolder(Path(what.cluster))
    folder = cluster.node(what.name)
    said = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for standard in (1, 2):
        os.dup2(said, standard)
    os.close(said)
    title = f"{sys.executable} -m services.node {what.cluster} {what.name}"
    call_oneself(title)
    os.chdir(what.cwd)
    os.environ.clear()
    os.environ.update(what.environment)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    write_struct(folder.process, Process.of(os.getpid()))  # if its starter could not any more
    about = read_struct(cluster.cluster, ClusterFile)
    node = read_struct(folder.node, NodeFile)
    if about is None or node is None:
        log.error("%s is not the folder of a node", folder.path)
        os._exit(2)
    path = [what.cwd, *node.path]
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    forks = Forks.forked("child", f"{title} (child)")  # now: later there are threads, and gRPC
    if what.watch is not None:
        die_unless_detached(cluster, Process(*what.watch))
    die_with_folder(cluster)
    status = 1
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = asyncio.run(run(cluster, folder, about, node, forks))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)  # what threads or servers a program has left do not keep the process
