"""`dsim check --model` with an isolation level, or with timestamps: what transactions promise."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sim.check.read import History
    from sim.check.transactions import Verdict
    from sim.check.transactions.findings import Anomaly, Hop
    from sim.check.transactions.history import Transaction

STATUS = {"holds": 0, "broken": 1, "unknown": 3}
TIMESTAMPS = "external-consistency"
MODELS = ("read-committed", "snapshot-isolation", "serializable", "strict-serializable", TIMESTAMPS)
"""The names that `--model` may have here."""


def judge(
    history: History, model: str, *, by_timestamp: bool, buffered: bool, json: bool, picture: Path | None
) -> int:
    """Checks a history of transactions, says what was found, and draws it.

    Args:
        model: one of `MODELS`.
        by_timestamp, buffered: the options of the command.
        picture: where to draw anomalies; None: nowhere.

    Returns:
        The exit status.

    Raises:
        Unusable: the history has other operations than transactions, or they cannot be judged.
    """
    from sim.check.operations import Unusable

    gc.disable()  # a large history is kept until the end; looking for garbage in it doubles the time
    try:
        if model == TIMESTAMPS:
            answer, told, text, drawn = _by_timestamps(history, buffered)
        else:
            answer, told, text, drawn = _by_level(history, model, by_timestamp, buffered)
    except Unusable as exc:
        raise Unusable(f"{history.path}, {exc}") from None
    finally:
        gc.enable()
    if picture is not None and drawn:
        path = _draw(drawn, f"Not {model}: {history.path.name}", picture)
        if path is not None:
            told["picture"] = str(path)
            text += f"\n\npicture: {path}"
    if json:
        import msgspec

        print(msgspec.json.encode(told, enc_hook=str).decode())
    else:
        print(text)
    return STATUS[answer]


def _by_level(
    history: History, level: str, by_timestamp: bool, buffered: bool
) -> tuple[str, dict[str, Any], str, list[Anomaly]]:
    from sim.check.transactions import check
    from sim.check.transactions.told import tell

    verdict = check(history.calls, own_writes=not buffered, by_timestamp=by_timestamp)
    breaking = verdict.breaking(level)
    return verdict.answer(level), _as_json(verdict, level), tell(verdict, level), breaking


def _by_timestamps(history: History, buffered: bool) -> tuple[str, dict[str, Any], str, list[Anomaly]]:
    from sim.check.transactions.findings import Anomaly
    from sim.check.transactions.levels import meaning
    from sim.check.transactions.timestamps import look

    found = look(history.calls, own_writes=not buffered)
    anomalies, lines, checks = [], [], []
    for name, disagreement, words in found:
        checks.append({"check": name, "ok": disagreement is None, "detail": words})
        if disagreement is None:
            lines.append(f"{name}: {words}.")
        else:
            count, involved = disagreement.count, disagreement.transactions
            lines.append(f"NOT {TIMESTAMPS}: {name} x {count:,} ({meaning(name)}): {words}.")
            anomalies.append(Anomaly(name, count, True, involved, [disagreement.words], disagreement.cycle))
            checks[-1] |= {"count": count, "transactions": [_transaction(one) for one in involved]}
    answer = "broken" if anomalies else "holds"
    return answer, {"answer": answer, "model": TIMESTAMPS, "checks": checks}, "\n".join(lines), anomalies


def _draw(anomalies: Sequence[Anomaly], title: str, path: Path) -> Path | None:
    """Draws anomalies, or says why it cannot: the verdict stands without a picture."""
    from sim.view import ViewError
    from sim.view.cycles import draw

    try:
        draw(anomalies, title, path)
    except ViewError as exc:
        print(f"dsim: no picture: {exc}", file=sys.stderr)
        return None
    return path


def _as_json(verdict: Verdict, level: str) -> dict[str, Any]:
    return {
        "answer": verdict.answer(level),
        "model": level,
        "weakest": verdict.weakest,
        "proven": verdict.proven,
        "committed": verdict.committed,
        "aborted": verdict.aborted,
        "possible": verdict.possible,
        "lists": verdict.lists,
        "registers": verdict.registers,
        "unordered": verdict.unordered,
        "anomalies": [_anomaly(one) for one in verdict.anomalies],
    }


def _anomaly(anomaly: Anomaly) -> dict[str, Any]:
    from sim.check.transactions.levels import meaning

    return {
        "name": anomaly.name,
        "meaning": meaning(anomaly.name),
        "count": anomaly.count,
        "all": anomaly.all,
        "breaks": anomaly.breaks,
        "words": anomaly.words,
        "transactions": [_transaction(one) for one in anomaly.transactions],
        "cycle": [_hop(hop) for hop in anomaly.cycle],
    }


def _transaction(one: Transaction) -> dict[str, Any]:
    told = {
        "name": one.name,
        "process": one.process,
        "ended": one.ended,
        "operations": one.operations,
        "lines": [one.called, one.returned or None],
    }
    return told if one.timestamp is None else told | {"timestamp": one.timestamp}


def _hop(hop: Hop) -> dict[str, Any]:
    told = {"from": hop.source.name, "to": hop.target.name, "kind": hop.kind, "why": hop.why.words}
    return told if hop.key is None else told | {"key": hop.key}
