"""The search for an order of the operations that explains what each of them returned.

An order is right if the model allows it and if no operation comes after one that began when it was over. The
search (Wing and Gong's, with Lowe's and Horn and Kroening's memory of where it has been) goes through the
*returns* in their order. Its position is a `Node`: the first return whose operation has no place yet, which
of the operations open at that line have one, the state, and which pending operations were used. From there
it gives a place to that operation or to another open one. A position that was seen before leads nowhere new.

What keeps this small, beyond that:

- operations that never change the state take their place as soon as they can;
- a pending operation is used only where somebody needs what it gives (`Hints.gives`, `needs`), so there may
  be thousands;
- pending operations that do the same are alike, and used in the order of their invocations;
- a position is also skipped if one like it, but with fewer pending operations used, was seen before;
- a pending operation that can matter to nobody any more counts as not used.

The search tries everything before it gives up, so the farthest return that it passed is the end of the
longest prefix that can be explained, and the next one ends the shortest that cannot.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sim.check.budget import Budget, GaveUp
from sim.check.models.model import EVERYTHING, ILLEGAL, Action, Hints, Model, State
from sim.check.operations import Call
from sim.check.pending import Pending
from sim.check.positions import Node, Open, Place, Trail

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

NEVER = 1 << 62
STATES = 20  # remembered of those in which the search got stuck


class Outcome(Struct):
    """What a search has found.

    Attributes:
        culprit: the operation that ends the shortest prefix without an order; None if all have one.
        order: all operations with a place, in that order; or the longest order found, up to the culprit.
        states: all that are possible where the culprit has no place, after the operations that must come
            before and without pending ones that nobody needed; empty if that is not known.
        exact: False if there may be a shorter prefix that has no order.
    """

    culprit: Call | None
    order: list[Call]
    states: list[State]
    exact: bool = True


class Search:
    """One search.

    Attributes:
        refuted: an operation of which the model knows that it has no place; only an earlier one is searched
            for.

    Args:
        calls: the operations of one part, in the order of their invocations; none that failed.
        model: what they were carried out on.
        budget: what may be spent.
        until: only what happened up to this line matters.
        refute: asks the model first.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        model: Model,
        budget: Budget,
        until: int | None = None,
        *,
        refute: bool = True,
    ) -> None:
        calls = model.settle([call for call in calls if until is None or call.called <= until])
        self.refuted = model.refuted(calls) if refute else None
        if self.refuted is not None:
            if until is None or self.refuted.returned <= until:
                until = self.refuted.returned - 1
            else:
                self.refuted = None
        self.calls = calls
        self.hints: Hints = model.hints(calls, NEVER if until is None else until)
        self._model = model
        self._budget = budget
        self._actions: list[Action] = []
        self._steps: list[dict[State, Any]] = []
        self._seen: dict[tuple[int, int, State], int | list[int]] = {}
        self._farthest = -1
        self._stuck: dict[State, None] = {}
        self._best: Trail = None
        self._action_of = self._intern(calls)
        self._pure = [self.hints.pure(action) for action in self._actions]
        self._gives = [self.hints.gives(action) for action in self._actions]

        required = [number for number, call in enumerate(calls) if not call.pending]
        self.returns = sorted(required, key=lambda number: (calls[number].returned, number))
        self._lines = [calls[number].returned for number in self.returns]
        self._end = len(self.returns) if until is None else bisect_right(self._lines, until)
        self._open = list(self._spans(required))
        self._targets = self._bits_of_returns()
        pending = [number for number, call in enumerate(calls) if call.pending]
        self._tokens = Pending(
            [
                (number, calls[number].called, action, self._gives[action], self._observes(action))
                for number in pending
                if not self._pure[action := self._action_of[number]]
            ],
            [self._observes(target.action) for target in self._targets],
        )

    def _observes(self, action: int) -> tuple[Hashable, ...]:
        return tuple(self.hints.observes(self._actions[action]))

    def _intern(self, calls: Sequence[Call]) -> list[int]:
        """Gives equal actions equal numbers, so that each step of the model is taken once."""
        numbers: dict[Action, int] = {}
        found = []
        for call in calls:
            action = self._model.action(call)
            number = numbers.setdefault(action, len(numbers))
            if number == len(self._actions):
                self._actions.append(action)
                self._steps.append({})
            found.append(number)
        return found

    def _spans(self, required: Sequence[int]) -> Iterator[list[Open]]:
        """Yields, for each return, the operations that are open right before it, and frees its slot."""
        slots: dict[int, Open] = {}
        free: list[int] = []
        used = 0
        coming = iter(required)
        next_ = next(coming, None)
        rank = self.hints.rank
        for number, line in zip(self.returns, self._lines, strict=True):
            while next_ is not None and self.calls[next_].called < line:
                if not free:
                    free.append(1 << used)
                    used += 1
                slots[next_] = Open(next_, free.pop(), self._action_of[next_])
                next_ = next(coming, None)
            order = list(slots.values())
            order.sort(key=lambda one: self.calls[one.number].returned)
            if rank is not None:
                order.sort(key=lambda one: rank(self.calls[one.number]))
            yield order
            free.append(slots.pop(number).bit)

    def _bits_of_returns(self) -> list[Open]:
        targets = []
        for number, open_ in zip(self.returns, self._open, strict=True):
            targets.append(next(one for one in open_ if one.number == number))
        return targets

    def run(self) -> Outcome:
        """Searches.

        Raises:
            GaveUp: a limit was reached before all was tried, and nothing is certain.
        """
        try:
            self._try()
        except GaveUp:
            if self.refuted is None:
                raise
            return Outcome(self.refuted, self._order(self._best), [], exact=False)
        order = self._order(self._best)
        level = self._farthest
        if level == self._end:
            return Outcome(self.refuted, order, [])
        while level + 1 < self._end and self._lines[level + 1] == self._lines[level]:
            level += 1  # one that was made to end with whoever saw it: the latter is to be named
        return Outcome(self.calls[self.returns[level]], order, list(self._stuck))

    def _try(self) -> None:
        """Tries all that may lead on, until every return was passed."""
        first = self._settled(0, 0, self._model.initial, 0, None)
        self._new(first)
        stack = [self._moves(first)]
        while self._farthest < self._end and stack:
            for node in stack[-1]:
                if self._new(node):
                    stack.append(self._moves(node))
                    break
            else:
                stack.pop()

    def _new(self, node: Node) -> bool:
        """Remembers a position; says whether it may lead to something new."""
        self._budget.step()
        level, mask, state, used, trail = node
        if level > self._farthest:
            self._farthest, self._best = level, trail
            self._stuck = {}
        if level == self._farthest and len(self._stuck) < STATES:
            self._stuck[state] = None
        key = (level, mask, state)
        before = self._seen.get(key)
        if before is None:
            if len(self._seen) >= self._budget.positions:
                raise GaveUp(f"no answer within {self._budget.positions:,} positions of the search")
            self._seen[key] = used
            return True
        if isinstance(before, int):
            if before & used == before:
                return False
            self._seen[key] = [used] if used & before == used else [before, used]
            return True
        if any(old & used == old for old in before):
            return False
        self._seen[key] = [*(old for old in before if used & old != used), used]
        return True

    def _step(self, state: State, action: int) -> Any:
        known = self._steps[action]
        after = known.get(state, known)  # `known` is no state
        if after is known:
            after = known[state] = self._model.step(state, self._actions[action])
        return after

    def _settled(self, level: int, mask: int, state: State, used: int, trail: Trail) -> Node:
        """Returns the position after all that follows at once: who only looks, returns that are due."""
        end = self._end
        while level < end:
            mask, trail = self._looked(level, mask, state, trail)
            if not mask & self._targets[level].bit:
                break
            while level < end and mask & (bit := self._targets[level].bit):
                mask ^= bit
                level += 1
            if level < end and used:
                used &= self._tokens.alive[level]
        return Node(level, mask, state, used, trail)

    def _looked(self, level: int, mask: int, state: State, trail: Trail) -> tuple[int, Trail]:
        """Gives a place to the open operations that only look and see what they saw."""
        for one in self._open[level]:
            if not mask & one.bit and self._pure[one.action] and self._step(state, one.action) is not ILLEGAL:
                mask |= one.bit
                trail = (trail, one.number)
        return mask, trail

    def _place(self, level: int, mask: int, state: State, used: int, trail: Trail) -> Place:
        mask, trail = self._looked(level, mask, state, trail)
        return Place(state, mask, used, trail)

    def _moves(self, node: Node) -> Iterator[Node]:
        """Yields the positions after the next operation got its place, the most promising first."""
        level, mask, state, used, trail = node
        target = self._targets[level]
        after = self._step(state, target.action)
        patient = self.hints.patient
        helpful: set[Hashable] = set()
        first = () if self.hints.by_rank else (target,)
        if self.hints.by_rank:
            pass
        elif after is not ILLEGAL:
            yield self._settled(level, mask | target.bit, after, used, (trail, target.number))
        elif not patient:
            helpful = set(self.hints.needs(state, self._actions[target.action]))
        later = []
        for one in self._open[level]:
            if mask & one.bit or one in first or (patient and not self._pure[one.action]):
                continue
            if helpful and self._gives[one.action] in helpful:
                after = self._step(state, one.action)
                if after is not ILLEGAL:
                    yield self._settled(level, mask | one.bit, after, used, (trail, one.number))
                    continue
            later.append(one)
        for one in (*first, *later):
            if self._step(state, one.action) is ILLEGAL:
                for there in self._reach(one.action, level, Place(state, mask, used, trail), ()):
                    if there.mask & one.bit:  # it looked on the way
                        yield self._settled(level, *there.taken())
                        continue
                    after = self._step(there.state, one.action)
                    yield self._settled(
                        level, there.mask | one.bit, after, there.used, (there.trail, one.number)
                    )
            elif one not in first:
                after = self._step(state, one.action)
                yield self._settled(level, mask | one.bit, after, used, (trail, one.number))
        for action in self._tokens.free:
            token = self._tokens.next(action, used, self._lines[level])
            if token is not None:
                after = self._step(state, action)
                if after is not ILLEGAL and after != state:
                    yield self._settled(level, mask, after, used | token.bit, (trail, token.number))

    def _reach(self, goal: int, level: int, here: Place, path: tuple[Hashable, ...]) -> Iterator[Place]:
        """Yields the ways to where an action is legal, by what gives it what it needs: short ones first.

        Args:
            path: what this is needed for, which it must not need itself.
        """
        stack = [self._towards(goal, level, here, path)]
        seen = {here[:3]}
        while stack:
            there = next(stack[-1], None)
            if there is None:
                stack.pop()
            elif there[:3] not in seen:
                self._budget.step()
                seen.add(there[:3])
                if self._step(there.state, goal) is not ILLEGAL:
                    yield there
                else:
                    stack.append(self._towards(goal, level, there, path))

    def _towards(self, goal: int, level: int, here: Place, path: tuple[Hashable, ...]) -> Iterator[Place]:
        """Yields the places one gift nearer to where an action is legal."""
        line = self._lines[level]
        keys = [key for key in self.hints.needs(here.state, self._actions[goal]) if key not in path]
        distant = []
        for key in keys:
            if self.hints.patient:
                yield from self._open_givers(key, level, here)
            for action in self._tokens.givers(key):
                token = self._tokens.next(action, here.used, line)
                if token is None:
                    continue
                after = self._step(here.state, action)
                if after is ILLEGAL:
                    distant.append((key, action))
                elif after != here.state:
                    yield self._place(
                        level, here.mask, after, here.used | token.bit, (here.trail, token.number)
                    )
        for key, action in distant:
            for there in self._reach(action, level, here, (*path, key)):
                token = self._tokens.next(action, there.used, line)
                after = self._step(there.state, action)
                if token is not None and after != here.state:
                    yield self._place(
                        level, there.mask, after, there.used | token.bit, (there.trail, token.number)
                    )

    def _open_givers(self, key: Hashable, level: int, here: Place) -> Iterator[Place]:
        """Yields the places after an open operation that gives it: of those alike, the first to end."""
        alike: dict[int, None] = {}
        for one in self._open[level]:
            gives = self._gives[one.action]
            if (
                gives is None
                or here.mask & one.bit
                or one.action in alike
                or (key != gives and key is not EVERYTHING)
            ):
                continue
            alike[one.action] = None
            after = self._step(here.state, one.action)
            if after is not ILLEGAL:
                yield self._place(level, here.mask | one.bit, after, here.used, (here.trail, one.number))

    def _order(self, trail: Trail) -> list[Call]:
        order = []
        while trail is not None:
            trail, number = trail
            order.append(self.calls[number])
        return order[::-1]
