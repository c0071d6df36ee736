"""A verdict on transactions in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.check.transactions.levels import meaning

if TYPE_CHECKING:
    from sim.check.transactions.check import Verdict
    from sim.check.transactions.findings import Anomaly
    from sim.check.transactions.history import Transaction


def sentence(verdict: Verdict, level: str) -> str:
    """Returns a verdict in one line."""
    what = _what(verdict)
    breaking = verdict.breaking(level)
    if breaking:
        first = breaking[0]
        rest = ", ".join(_counted(one) for one in breaking[1:])
        also = f"; also {rest}" if rest else ""
        words = "; ".join(first.words)
        return (
            f"{what}: {_counted(first)} ({meaning(first.name)}), {_lines(first.transactions)}: {words}{also}"
        )
    if verdict.answer(level) == "unknown":
        return f"{what}: no anomaly was found, but not all orders of the appends that nobody saw were tried"
    return f"{what}: no anomaly{'' if verdict.certain(level) else _unseen(verdict)}"


def tell(verdict: Verdict, level: str) -> str:
    """Returns a verdict in some lines, for a terminal."""
    answer = verdict.answer(level)
    if answer != "broken":
        lines = [f"{level if answer == 'holds' else 'UNKNOWN'}: {sentence(verdict, level)}."]
    else:
        lines = [f"NOT {level}: {_what(verdict)}."]
    if verdict.weakest is not None:
        stronger = "" if verdict.weakest == "strict-serializable" else ", and so every stronger one"
        lines.append(f"The weakest level that is broken is {verdict.weakest}{stronger}.")
    for anomaly in verdict.anomalies:
        lines += ["", f"{_counted(anomaly)}: {meaning(anomaly.name)}; breaks {anomaly.breaks}"]
        if anomaly.cycle:
            lines += [
                f"  {hop.source.name:>6} -> {hop.target.name:<6} {hop.kind:<8}  {hop.why.words}"
                for hop in anomaly.cycle
            ]
            lines += [f"  {words}" for words in anomaly.words[len(anomaly.cycle) :]]
        else:
            lines += [f"  {words}" for words in anomaly.words]
        lines += [f"  {_whole(one)}" for one in dict.fromkeys(anomaly.transactions)]
    return "\n".join(lines)


def _what(verdict: Verdict) -> str:
    parts = [f"{verdict.committed:,} committed"]
    if verdict.aborted:
        parts.append(f"{verdict.aborted:,} aborted")
    if verdict.possible:
        parts.append(f"{verdict.possible:,} of unknown end")
    keys = [
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((verdict.lists, "list"), (verdict.registers, "register"))
        if count
    ]
    return f"{', '.join(parts)} transactions on {' and '.join(keys) or 'no keys'}"


def _unseen(verdict: Verdict) -> str:
    if not verdict.unordered:
        return ""
    return (
        f" was found (of {verdict.unordered:,} of the {verdict.registers:,} registers the order of versions "
        "is known in part only)"
    )


def _counted(anomaly: Anomaly) -> str:
    return f"{anomaly.name} x {'at least ' * (not anomaly.all)}{anomaly.count:,}"


def _lines(transactions: list[Transaction]) -> str:
    return ", ".join(
        f"{one.name} (lines {one.called:,} to {one.returned:,})"
        if one.returned
        else f"{one.name} (line {one.called:,})"
        for one in dict.fromkeys(transactions)
    )


def _whole(transaction: Transaction) -> str:
    lines = (
        f"lines {transaction.called:,} to {transaction.returned:,}"
        if transaction.returned
        else f"line {transaction.called:,}, no end"
    )
    return f"{transaction.name}: {operations(transaction)}; process {transaction.process}, {lines}"


def operations(transaction: Transaction, most: int = 8) -> str:
    """Returns what a transaction did, in one line."""
    shown = [operation(*one) for one in transaction.operations[:most]]
    left = len(transaction.operations) - most
    if left > 0:
        shown.append(f"... and {left} more")
    return ", ".join(shown) or "nothing"


def operation(f: str, key: object, value: object) -> str:
    """Returns an operation of a transaction in a few words."""
    from sim.check.transactions.lists import brief

    name = key if isinstance(key, str | int) else repr(key)
    if f != "r":
        return f"{f} {name} {value!r}"
    shown = brief(value) if isinstance(value, list) else "nothing" if value is None else repr(value)
    return f"r {name} = {shown}"
