"""Reads a history from a run folder, a file of JSON lines, or a file of Jepsen's EDN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from protos.history import Operation
from sim.check.jepsen import read_edn
from sim.check.operations import Call, Unusable, calls

if TYPE_CHECKING:
    from collections.abc import Container


class History(Struct):
    """A history that was read.

    Attributes:
        path: the file.
        cut_off: the number of the last line, if only its beginning was there and it was left out; else 0.
    """

    path: Path
    calls: list[Call]
    cut_off: int = 0


def read(path: Path, only: Container[str] | None = None) -> History:
    """Reads the operations of a history.

    Args:
        path: a file, or the folder of a run.
        only: the operations (`f`) to read; None: all.

    Raises:
        Unusable: it is missing, no history, or has no operations; the text names the file, and the line.
    """
    if path.is_dir():
        if not (path / "history.jsonl").is_file():
            raise Unusable(f"{path} is not a run folder: it holds no history.jsonl")
        path /= "history.jsonl"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Unusable(f"there is no history {path}") from None
    except OSError as exc:
        raise Unusable(f"cannot read {path}: {exc.strerror or exc}") from None
    cut_off = 0
    try:
        if path.suffix == ".edn" or _looks_like_edn(data):
            events, lines = read_edn(data.decode())
        else:
            events, lines, cut_off = _read_json_lines(data)
        kept = [pair for pair in zip(events, lines, strict=True) if only is None or pair[0].f in only]
        found = calls((event for event, _ in kept), (line for _, line in kept))
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise Unusable(f"{path}, line {line}: not UTF-8 text") from None
    except Unusable as exc:
        raise Unusable(f"{path}, {exc}") from None
    if not found:
        raise Unusable(f"{path} holds no operations{'' if only is None else ' of that kind'}")
    return History(path, found, cut_off)


def _looks_like_edn(data: bytes) -> bool:
    """Says whether it begins as EDN does and JSON lines do not."""
    start = data[:1000].lstrip()
    return start[:1] in (b"[", b";", b"#", b"(") or (start[:1] == b"{" and start[1:].lstrip()[:1] == b":")


def _read_json_lines(data: bytes) -> tuple[list[Operation], list[int], int]:
    decoder = msgspec.json.Decoder(Operation)
    events: list[Operation] = []
    lines: list[int] = []
    all_lines = data.split(b"\n")
    for number, line in enumerate(all_lines, 1):
        if not line.strip():
            continue
        try:
            events.append(decoder.decode(line))
        except msgspec.DecodeError as exc:
            if number == len(all_lines) and not isinstance(exc, msgspec.ValidationError):
                return events, lines, number  # no newline: its writer was killed
            raise Unusable(f"line {number}: {_plain(exc)}") from None
        lines.append(number)
    return events, lines, 0


def _plain(exc: msgspec.DecodeError) -> str:
    text = str(exc).replace("`", "")
    return f"not an operation: {text[:1].lower()}{text[1:]}"
