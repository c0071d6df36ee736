"""What can be said of the arguments of `dsim mr` before anything is started."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sim.scenario.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.mapreduce.job import Spec

NO_INPUT = "name the input: --input PATH"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size(option: str, text: str, least: int = 1) -> int:
    """Returns a size such as 64M or 1.5G in bytes (powers of 1,024).

    Raises:
        InvalidInput: it is none, or too small.
    """
    found = _SIZE.fullmatch(text.strip())
    count = float(found[1]) * 1024 ** _POWERS[found[2].upper()] if found else 0.0
    if not 1 <= count < 1 << 63:
        raise InvalidInput(f"{option} {text}: write a size such as 64M or 1G")
    if count < least:
        raise InvalidInput(f"{option} {text}: must be at least {least >> 20}M")
    return int(count)


def task(text: str) -> tuple[str, int]:
    """Returns the task that `map:3` or `reduce:0` names.

    Raises:
        InvalidInput: it names none.
    """
    kind, _, number = text.partition(":")
    if kind not in ("map", "reduce") or not number.isdecimal() or len(number) > 20:
        raise InvalidInput(f"--only {text}: write it as map:N or reduce:N")
    return kind, int(number)


def within(option: str, value: float, least: float, most: float) -> None:
    """Checks a number.

    Raises:
        InvalidInput: it is too small or too large.
    """
    if not least <= value <= most:
        raise InvalidInput(f"{option} {value:g}: must be from {least:,} to {most:,}")


def inputs(paths: Sequence[str]) -> list[str]:
    """Returns the inputs as absolute paths.

    Raises:
        InvalidInput: some are missing or cannot be read; names each of them.
    """
    if not all(paths):
        raise InvalidInput('--input "": name a file or a folder (. is the present one)')
    troubles = [trouble for path in paths if (trouble := _unreadable(Path(path)))]
    if troubles:
        raise InvalidInput(f"cannot read {'; '.join(troubles)}")
    return [str(Path(path).absolute()) for path in paths]


def has_input(spec: Spec) -> None:
    """Checks that a job has something to read.

    Raises:
        InvalidInput: it has not, and its input type is not one that needs no files.
    """
    from services.mapreduce.code import program_of
    from services.mapreduce.inputs import Input

    if not spec.paths and type(program_of(spec).input).split is Input.split:
        raise InvalidInput(NO_INPUT)


def _unreadable(path: Path) -> str:
    try:
        if path.is_dir():
            for entry in path.iterdir():
                if entry.is_symlink() and not entry.exists():
                    return f"{entry}: a link to {entry.readlink()}, which does not exist"
        elif path.exists() and not path.is_file():  # a pipe: it would hang, or give nothing
            return f"{path}: neither a file nor a folder"
        else:
            with path.open("rb"):
                pass
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    return ""


def output(path: Path) -> str:
    """Returns the output folder as an absolute path.

    Raises:
        InvalidInput: there is something already, or it cannot be made.
    """
    if os.path.lexists(path):
        raise InvalidInput(f"output {path} exists already: choose a new folder, or remove it")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InvalidInput(f"output {path} cannot be made: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidInput(f"output {path} cannot be made: {parent}: Permission denied")
    return str(path.absolute())


def port(number: int) -> int:
    """Returns a port of this machine on which one can listen now; 0: any.

    Raises:
        InvalidInput: somebody else does, or one may not.
    """
    import socket

    try:
        with socket.create_server(("127.0.0.1", number)):
            return number
    except OSError as exc:
        raise InvalidInput(f"--status-port {number}: {os.strerror(exc.errno or 0)}: choose another") from None


def trace(path: Path) -> Path:
    """Returns the folder for a trace, which is made later.

    Raises:
        InvalidInput: there is something in it already, or it is no folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInput(f"--trace {path}: is there already, and not an empty folder: choose a new one")
    return path


def command(option: str, text: str) -> None:
    """Checks a command of a streaming job by asking the shell.

    Raises:
        InvalidInput: the shell cannot read it, or its first word is no command.
    """
    if not text.strip():
        raise InvalidInput(f"{option} is empty: name a command")
    parsed = _sh("-n", "-c", "--", text)
    if parsed.returncode:
        said = re.sub(r"^\S*sh: (\S+: )*(\d+|line \d+): ", "", parsed.stderr.strip().splitlines()[0])
        raise InvalidInput(f"{option} {text!r}: {said}")
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise InvalidInput(f"{option} {text!r}: {exc}") from None
    first = next((word for word in words if not re.match(r"\w+=", word)), "")
    if not first or not re.fullmatch(r"[\w./+@%,:-]+", first):
        return  # only the shell knows what comes of it
    if Path(first).is_dir():
        raise InvalidInput(f"{option}: {first} is a folder, not a command")
    if os.access(first, os.X_OK) if "/" in first else _known(first):
        return
    if Path(first).exists():
        raise InvalidInput(f"{option}: {first} is not executable (chmod +x {shlex.quote(first)})")
    raise InvalidInput(f"{option}: there is no command {first!r}")


def _known(word: str) -> bool:
    return _sh("-c", 'command -v -- "$1"', "sh", word).returncode == 0


def _sh(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:{os.getcwd()}"  # as streaming runs it
    return subprocess.run(
        ["/bin/sh", *arguments],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
