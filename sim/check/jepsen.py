"""Histories in EDN, as Jepsen writes them: as much of EDN as they need.

`history.edn` is a map an operation event, one after the other or in a vector, each possibly tagged.
Operations on several objects (`jepsen.independent`) have values `[key value]`; a history is taken to be of
that kind if all its values are such pairs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from msgspec import UNSET

from protos.history import Operation, OperationType
from sim.check.operations import NEMESIS, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = re.compile(
    r"""
    (?P<skip>[\s,]+|;[^\n]*)
    |(?P<open>\#?\{|\[|\()
    |(?P<close>[\]\})])
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<discard>\#_)
    |(?P<tag>\#[A-Za-z][\w.+/*!?$%&=<>-]*)
    |(?P<atom>\\\S[^\s,;"\[\]{}()]*|[^\s,;"\[\]{}()\#]+)
    """,
    re.VERBOSE | re.DOTALL,
)
NUMBER = re.compile(r"[+-]?\d+(N?|(\.\d*)?([eE][+-]?\d+)?M?)$")
CLOSES = {"{": "}", "#{": "}", "[": "]", "(": ")"}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
DEEPEST = 100  # values in values; a history has no need of more


class Keyword(str):
    """`:name`; equal to its name, so that `:c1` and "c1" name the same client."""


class _Form:
    """A collection that is being read."""

    def __init__(self, opened: str, line: int, skips: bool = False) -> None:
        self.opened, self.line, self.skips = opened, line, skips
        self.items: list[Any] = []


def read_forms(text: str) -> Iterator[tuple[int, Any]]:
    """Yields the forms of a text, those in an outermost vector one by one, with the lines they begin on.

    Raises:
        Unusable: it is no EDN.
    """
    stack: list[_Form] = []
    discards: list[int] = []  # how deep each `#_` stands whose form is still to come
    line, at, first = 1, 0, True
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Unusable(f"line {line}: {_excerpt(text, at)!r} is no EDN")
        token, kind, begun = match.group(), match.lastgroup, line
        line += token.count("\n")
        at = match.end()
        if kind == "skip" or kind == "tag":
            continue
        if kind == "discard":
            discards.append(len(stack))
            continue
        if kind == "open":
            if first and token == "[":
                first = False
                stack.append(_Form("outermost", begun))
                continue
            first = False
            if len(stack) >= DEEPEST:
                raise Unusable(f"line {line}: more than {DEEPEST} values within one another")
            stack.append(_Form(token, begun))
            continue
        first = False
        if kind == "close":
            if not stack or CLOSES.get(stack[-1].opened, "]") != token:
                raise Unusable(f"line {line}: {token!r} closes nothing that is open")
            form = stack.pop()
            if form.opened == "outermost":
                continue
            begun, value = form.line, _collection(form, line)
        else:
            value = _string(token) if kind == "string" else _atom(token, line)
        if discards and discards[-1] == len(stack):
            discards.pop()
        elif not stack or stack[-1].opened == "outermost":
            yield begun, value
        else:
            stack[-1].items.append(value)
    if stack:
        raise Unusable(f"line {stack[-1].line}: what begins here has no end")


def _excerpt(text: str, at: int) -> str:
    return text[at : at + 20].split("\n")[0]


def _collection(form: _Form, line: int) -> Any:
    if form.opened != "{":
        return form.items
    if len(form.items) % 2:
        raise Unusable(f"line {line}: a map with a key that has no value")
    keys = [key if isinstance(key, str) else str(key) for key in form.items[::2]]
    return dict(zip(keys, form.items[1::2], strict=True))


def _string(token: str) -> str:
    def plain(match: re.Match[str]) -> str:
        escaped = match.group(1)
        return chr(int(escaped[1:], 16)) if escaped[0] == "u" else ESCAPES.get(escaped, escaped)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", plain, token[1:-1], flags=re.DOTALL)


def _atom(token: str, line: int) -> Any:
    if token in ("nil", "true", "false"):
        return {"nil": None, "true": True, "false": False}[token]
    if token[0] == ":":
        return Keyword(token[1:])
    if NUMBER.match(token):
        digits = token.rstrip("NM")
        return int(digits) if re.fullmatch(r"[+-]?\d+", digits) and not token.endswith("M") else float(digits)
    if token[0].isdigit():
        raise Unusable(f"line {line}: {token!r} is no number")
    return token


def read_edn(text: str) -> tuple[list[Operation], list[int]]:
    """Returns the operation events of a history, and the lines they begin on.

    Raises:
        Unusable: it is no EDN, or no history.
    """
    events: list[Operation] = []
    lines: list[int] = []
    for line, form in read_forms(text):
        if not isinstance(form, dict):
            raise Unusable(f"line {line}: expected an operation, a map, not {form!r}")
        event = _event(form, len(events), line)
        if event is not None:
            events.append(event)
            lines.append(line)
    if events and all(map(_is_pair, events)):
        for event in events:
            event.key, event.value = event.value
    return events, lines


def _event(form: dict[str, Any], index: int, line: int) -> Operation | None:
    process = form.get("process")
    if process in NEMESIS:
        return None
    if not isinstance(process, int | str) or isinstance(process, bool):
        raise Unusable(f"line {line}: an operation needs a :process, a number or a name, not {process!r}")
    kind: Any = form.get("type")
    f = form.get("f")
    if kind not in get_args(OperationType):
        raise Unusable(f"line {line}: :type must be :invoke, :ok, :fail or :info, not {kind!r}")
    if not isinstance(f, str):
        raise Unusable(f"line {line}: an operation needs an :f, not {f!r}")
    time = form.get("time", line)
    if not isinstance(time, int) or isinstance(time, bool):
        raise Unusable(f"line {line}: :time must be an integer (ns), not {time!r}")
    error = form.get("error")
    told = "" if error is None else error if isinstance(error, str) else str(error)
    name = process if isinstance(process, int) else str(process)
    stamp = form.get("timestamp", UNSET)
    if stamp is not UNSET and (not isinstance(stamp, int) or isinstance(stamp, bool)):
        raise Unusable(f"line {line}: :timestamp must be an integer, not {stamp!r}")
    return Operation(name, kind, str(f), form.get("value"), time, index, UNSET, told, stamp)


def _is_pair(event: Operation) -> bool:
    """Says whether a value is `[key value]`; that of a `cas` would be `[key [old new]]`."""
    value = event.value
    if event.f == "txn" or not isinstance(value, list) or len(value) != 2:
        return False  # a transaction of two operations is no pair
    return event.f != "cas" or (isinstance(value[1], list) and len(value[1]) == 2)
