"""`dsim check`: is a history linearizable? (Of transactions: `check_transactions.py`.)"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli.runs import JsonOption  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    from sim.check.linearizable import Verdict
    from sim.check.models import Model
    from sim.check.operations import Call

STATUS = {"linearizable": 0, "not linearizable": 1, "unknown": 3}
SUFFIXES = (".png", ".svg")


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command(epilog="Example: dsim check runs/basics/x/sim-seed0 --model register")(check)


def check(
    history: Annotated[
        Path,
        typer.Argument(
            metavar="HISTORY", help="A run folder, a history.jsonl, or a history.edn as Jepsen leaves it."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="register, cas-register, kv, set, queue, lock or counter; or path.py:Class for your own. Of "
            "transactions: read-committed, snapshot-isolation, serializable, strict-serializable; "
            "external-consistency judges their timestamps.",
        ),
    ],
    json: JsonOption = False,
    only: Annotated[
        list[str],
        typer.Option(metavar="F", help="Judges only operations of this kind; may be repeated."),
    ] = [],  # noqa: B006 (typer copies it)
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="After so long the answer is: unknown.")
    ] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to draw, .png or .svg; then also what is linearizable. [default: a violation, beside "
            "the history]",
        ),
    ] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draws no picture.")] = False,
    by_timestamp: Annotated[
        bool,
        typer.Option(
            "--by-timestamp",
            help="Transactions: versions of registers are in the order of commit timestamps.",
        ),
    ] = False,
    buffered: Annotated[
        bool,
        typer.Option(
            "--buffered", help="Transactions: reads do not see their own transaction's writes, as in Spanner."
        ),
    ] = False,
) -> int:
    """Says whether a history is linearizable: whether one order of its operations explains their results.

    If it is not: which operation cannot be placed, the shortest prefix that fails, and a picture. Of
    transactions: whether an isolation level holds; if not, which anomalies there are, and a picture of them.
    Exit status: 0 it holds, 1 it does not, 2 the input cannot be used, 3 unknown, for a limit was reached.
    """
    from sim.check import linearizable
    from sim.check.models import ModelError, find
    from sim.check.operations import Unusable
    from sim.check.read import read
    from sim.cli import check_transactions

    if not timeout > 0:
        raise Unusable(f"--timeout {timeout:g}: a search needs some time")
    if out is not None and out.suffix not in SUFFIXES:
        raise Unusable(f"--out {out}: the picture is a .png or a .svg")
    transactional = model in check_transactions.MODELS
    if (by_timestamp or buffered) and not transactional:
        option = "--by-timestamp" if by_timestamp else "--buffered"
        raise Unusable(f"{option} is for transactions: --model {', '.join(check_transactions.MODELS)}")
    try:
        kind = None if transactional else find(model)
    except ModelError as exc:
        more = "" if ":" in model else f"; of transactions: {', '.join(check_transactions.MODELS)}"
        raise ModelError(f"{exc}{more}") from None
    found = read(history, only or None)
    if found.cut_off:
        print(
            f"dsim: {found.path}: ends in the middle of line {found.cut_off}, which is left out",
            file=sys.stderr,
        )
    where = out if out is not None else found.path.with_name(f"{found.path.stem}-violation.png")
    if kind is None:
        return check_transactions.judge(
            found,
            model,
            by_timestamp=by_timestamp,
            buffered=buffered,
            json=json,
            picture=None if no_plots else where,
        )
    try:
        verdict = linearizable.check(found.calls, kind, timeout_s=timeout)
    except Unusable as exc:
        raise Unusable(f"{found.path}, {exc}") from None
    picture = None
    if not no_plots and (verdict.violation is not None or (out is not None and verdict.order)):
        picture = _draw(verdict, kind, where)
    if json:
        import msgspec

        print(msgspec.json.encode(_as_json(verdict, kind, picture)).decode())
    else:
        from sim.check.told import tell

        print(tell(verdict, kind))
        if picture is not None:
            print(f"\npicture: {picture}")
    return STATUS[verdict.answer]


def _draw(verdict: Verdict, kind: type[Model], path: Path) -> Path | None:
    """Draws the order, or says why it cannot: the verdict stands without a picture."""
    from sim.view import ViewError
    from sim.view.linearization import draw

    try:
        draw(verdict, kind(), path)
    except ViewError as exc:
        print(f"dsim: no picture: {exc}", file=sys.stderr)
        return None
    return path


def _as_json(verdict: Verdict, kind: type[Model], picture: Path | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "answer": verdict.answer,
        "model": verdict.model,
        "operations": verdict.operations,
        "pending": verdict.pending,
        "keys": verdict.parts,
    }
    if verdict.why:
        told["why"] = verdict.why
    if (found := verdict.violation) is not None:
        from sim.check.told import culprit

        told |= {
            "why": culprit(found, kind()),
            "operation": _call(found.culprit),
            "prefix": found.prefix,
            "shortest": found.shortest,
            "possible": found.possible,
            "order": [_call(call) for call in found.order],
        }
    if picture is not None:
        told["picture"] = str(picture)
    return told


def _call(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = {"process": call.process, "f": call.f, "value": call.value}
    if call.key is not None:
        told["key"] = call.key
    if call.returned:
        told["result"] = call.result
    return told | {"ended": call.ended, "lines": [call.called, call.returned or None]}
