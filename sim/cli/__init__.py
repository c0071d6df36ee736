"""The command `dsim`.

Nothing is imported here but what `dsim --help` needs: each command imports its own work. Until `main` runs,
Ctrl-C is answered by Python's traceback, so even `typing` waits.
"""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper

TYPE_CHECKING = False  # for type checkers True, as typing's
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

UNUSABLE = 2  # exit status: arguments or input that cannot be used
INTERRUPTED = 130  # exit status: Ctrl-C


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `dsim` and ends the process with its exit status.

    Args:
        arguments: what follows `dsim` on the command line; None for the process's own.
    """
    import signal

    try:
        # Whoever ends it by SIGTERM (a scheduler, `timeout`) wants nothing left behind either.
        signal.signal(signal.SIGTERM, _end)
        if (
            signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        ):  # its terminal was closed, and there is no nohup
            signal.signal(signal.SIGHUP, _end)
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC tells of every peer that goes away
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a run has one core: a second one spins
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal that knows ASCII only is no reason to fail
                stream.reconfigure(errors="backslashreplace")
        status = command(arguments)
        if sys.stdout is not None:  # as it is when the caller closed it: `>&-`
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        status = INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: `dsim list | head -1`
        _drop_output()
        status = 0
    except OSError as exc:
        if exc.filename is not None or exc.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
        _drop_output()
        _say(f"cannot write the output: {exc.strerror}")
        status = UNUSABLE
    sys.exit(status)


def _end(*_: object) -> None:
    """Answers a signal as Ctrl-C, also where a shell that started this in the background has that ignored."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def _drop_output() -> None:
    """Sends what is still to be flushed nowhere, so that the interpreter's end does not fail over it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def command(arguments: Sequence[str] | None = None) -> int:
    """Runs `dsim` and returns its exit status; unusable input becomes one line on stderr."""
    from typer.exceptions import TyperException
    from typer.main import get_command

    from sim.cli.app import app, unusable

    try:
        status = get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name="dsim", standalone_mode=False
        )
    except TyperException as exc:
        _say(f"{exc.format_message()}{_try_help(exc)}")
        return UNUSABLE
    except unusable() as exc:
        _say(str(exc))
        return UNUSABLE
    except (
        SystemExit
    ) as exc:  # typer's answer to a reader that has gone is status 1, which means a violation here
        if isinstance(exc.__context__, BrokenPipeError):
            raise exc.__context__ from None
        raise
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status or 0


def _try_help(exc: Exception) -> str:
    context = getattr(exc, "ctx", None)
    return f" (see: {context.command_path} --help)" if context is not None else ""


def _say(what: str) -> None:
    print(f"dsim: {what}", file=sys.stderr)
