"""A verdict in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.check.models import MODELS, Model

if TYPE_CHECKING:
    from sim.check.linearizable import Verdict, Violation
    from sim.check.operations import Call


def sentence(verdict: Verdict, model: type[Model] | None = None) -> str:
    """Returns a verdict in one line."""
    what = _counted(verdict.operations, "operation")
    if verdict.pending:
        what += f" ({verdict.pending:,} of unknown end)"
    if verdict.parts > 1:
        what += f" on {verdict.parts:,} keys"
    if verdict.answer == "linearizable":
        return f"{what}: there is an order that explains them"
    if verdict.violation is None:
        return f"{what}: {verdict.why}"
    return f"{what}: {culprit(verdict.violation, _made(verdict, model))}"


def tell(verdict: Verdict, model: type[Model] | None = None) -> str:
    """Returns a verdict in some lines, for a terminal."""
    made = _made(verdict, model)
    if verdict.violation is None:
        head = {"linearizable": "linearizable", "unknown": "UNKNOWN"}[verdict.answer]
        return f"{head}: {sentence(verdict, model)}"
    found = verdict.violation
    lines = [f"NOT linearizable: {culprit(found, made)}.", ""]
    lines.append(f"  operation   {_whole(found.culprit, made)}{f', {found.label}' if found.label else ''}")
    shortest = (
        "shortest prefix that fails"
        if found.shortest
        else "a prefix that fails (some keys were not searched)"
    )
    lines.append(
        f"  {shortest}: lines 1 to {found.prefix:,}; the longest that does not: to {found.prefix - 1:,}"
    )
    lines.append(f"  an order    of {_counted(len(found.order), 'operation')} leads there; it ends")
    lines += [f"                {_whole(call, made)}" for call in found.order[-5:]]
    return "\n".join(lines)


def culprit(found: Violation, model: Model) -> str:
    """Returns in one sentence which operation has no place, and why."""
    call = found.culprit
    where = f" of {found.label}" if found.label else ""
    return (
        f"{model.tell(call)} by {call.process}{where} (lines {call.called} to {call.returned}) has no place: "
        f"{possible(found, model)}"
    )


def possible(found: Violation, model: Model) -> str:
    """Returns what the object may hold where the culprit has no place."""
    states = list(dict.fromkeys(found.possible))
    if not states:
        return "no order of the others explains it"
    shown = " or ".join(states[:4]) + (" or something else" if len(states) > 4 else "")
    pending = any(call.pending for call in found.calls)
    return f"by then the {model.noun} is {shown}" + (", and nothing pending helps" if pending else "")


def _whole(call: Call, model: Model) -> str:
    lines = f"lines {call.called} to {call.returned}" if call.returned else f"line {call.called}, no end"
    told = f"{model.tell(call)}, {call.process}, {lines}"
    if call.start == call.called:  # the history has no times
        return told
    return f"{told}, {call.start / 1e9:.6f} s to " + (f"{call.end / 1e9:.6f} s" if call.end >= 0 else "?")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _made(verdict: Verdict, model: type[Model] | None) -> Model:
    return (model or MODELS[verdict.model])()
