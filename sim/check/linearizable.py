"""Linearizability: is there one order of all operations that explains what each returned?

Every operation must seem to happen at one instant between its invocation and its end. `check` says whether a
history has such an order; where it has none, which operation is the first that cannot be placed, and how far
one comes.

A history of several objects is linearizable if the history of each is (Herlihy and Wing's locality), so keys
are judged one by one.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from sim.check.budget import POSITIONS, Budget, GaveUp
from sim.check.models import MODELS, Model, find
from sim.check.operations import Call, Unusable, calls
from sim.check.search import Outcome, Search

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from protos.history import Operation
    from sim.check.models.model import Part

Answer: TypeAlias = Literal["linearizable", "not linearizable", "unknown"]

TIMEOUT_S = 60.0
GLIMPSE = 4000  # steps, beyond four an operation, of a search that says more of a violation that is certain


class Violation(Struct):
    """Why a history is not linearizable.

    Attributes:
        culprit: the operation that cannot be placed.
        label: which key's history it is in; "" if there is but one.
        prefix: the history up to this line has no order; up to the line before it has one. Operations
            that failed do not count: they never happened.
        order: the longest order that was found without the culprit.
        calls: the operations of that key which began up to that line, in the order of their invocations.
        possible: what the object may have held where the culprit had no place, in words.
        shortest: False when a limit kept the search from its end, so that an even shorter one may have none.
    """

    culprit: Call
    label: str
    prefix: int
    order: list[Call]
    calls: list[Call]
    possible: list[str]
    shortest: bool = True


class Verdict(Struct):
    """What is known of a history.

    Attributes:
        operations: that were judged; those that failed are not among them.
        pending: of these, those of which nobody knows how they ended.
        parts: histories that were judged on their own: keys.
        violation: if it is not linearizable.
        why: if it is unknown.
        order: of all operations, if they are those of one object and have an order.
    """

    answer: Answer
    model: str
    operations: int
    pending: int
    parts: int
    violation: Violation | None = None
    why: str = ""
    order: list[Call] = []


def check(
    history: Sequence[Call],
    model: type[Model] | str,
    *,
    timeout_s: float | None = TIMEOUT_S,
    positions: int = POSITIONS,
) -> Verdict:
    """Says whether a history is linearizable.

    Args:
        history: as `sim.check.operations.calls` returns it.
        model: what the operations were carried out on, or its name.
        timeout_s: real seconds after which the answer is "unknown".
        positions: of the search, remembered at most; beyond that the answer is "unknown".

    Raises:
        Unusable: an operation that the model does not know.
        ModelError: there is no such model.
    """
    kind = find(model) if isinstance(model, str) else model
    made = kind()
    judged = [call for call in history if _counts(call, made)]
    for call in judged:
        made.action(call)  # what it does not know is refused before anything else
    parts = made.parts(judged)
    verdict = Verdict(
        "linearizable", kind.name, len(judged), sum(call.pending for call in judged), len(parts)
    )
    budget = Budget(timeout_s, positions)
    given_up: list[str] = []
    for part in sorted(parts, key=lambda part: len(part[1])):
        found = verdict.violation
        try:
            outcome, fresh = _search(part, kind, budget, None if found is None else found.prefix - 1)
        except GaveUp as exc:
            given_up.append(str(exc))
            continue
        if outcome.culprit is not None:
            verdict.violation = _violation(part, outcome, kind, fresh)
        elif len(parts) == 1:
            verdict.order = outcome.order
    if verdict.violation is not None:
        verdict.answer = "not linearizable"
        verdict.violation.shortest &= not given_up
    elif given_up:
        verdict.answer, verdict.why = "unknown", given_up[0]
    return verdict


def _counts(call: Call, model: Model) -> bool:
    """Says whether an operation happened, or may have."""
    if call.f not in model.forms:
        known = ", ".join(model.forms)
        raise Unusable(
            f"line {call.called}: {call.f!r} of process {call.process} is no operation of a {model.name} "
            f"({known})"
        )
    return call.ended != "fail" or model.happened(call)


def _search(part: Part, kind: type[Model], budget: Budget, until: int | None) -> tuple[Outcome, Model]:
    budget.look()
    model = kind()  # what it remembers of a part (names of elements) is no use to another
    return Search(part[1], model, budget, until).run(), model


def _violation(part: Part, outcome: Outcome, kind: type[Model], model: Model) -> Violation:
    culprit = outcome.culprit
    assert culprit is not None
    if (
        outcome.exact and not outcome.states
    ):  # the model knew; what was possible shows a search, if a short one does
        with contextlib.suppress(GaveUp):
            model = kind()
            again = Search(
                part[1], model, Budget(steps=4 * len(part[1]) + GLIMPSE), culprit.returned, refute=False
            ).run()
            outcome = outcome if again.culprit is not culprit else again
    return Violation(
        culprit=culprit,
        label=part[0],
        prefix=culprit.returned,
        order=outcome.order,
        calls=[call for call in part[1] if call.called <= culprit.returned],
        possible=[model.show(state) for state in outcome.states],
        shortest=outcome.exact,
    )


class Linearizable:
    """A check for `@scenario(checks=...)`: the history is linearizable.

    Args:
        model: register, cas-register, kv, set, queue, lock, counter, or a `Model`.
        only: the operations (`f`) to judge; None: all, and one that the model does not know is an error.
        timeout_s: real seconds after which the check fails for want of an answer.
    """

    def __init__(
        self,
        model: type[Model] | str = "register",
        *,
        only: Iterable[str] | None = None,
        timeout_s: float | None = TIMEOUT_S,
    ) -> None:
        self._model = find(model) if isinstance(model, str) else model
        self._only = None if only is None else tuple(only)
        self._timeout_s = timeout_s
        self.name = f"linearizable ({self._model.name})"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        from sim.check.told import sentence

        events = [event for event in history if self._only is None or event.f in self._only]
        verdict = check(
            calls(events, [event.index + 1 for event in events]), self._model, timeout_s=self._timeout_s
        )
        if not verdict.operations:
            return False, "nothing to judge: the history has no such operation"
        return verdict.answer == "linearizable", sentence(verdict)


__all__ = ["MODELS", "Linearizable", "Verdict", "Violation", "check"]
