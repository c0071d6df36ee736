"""A disk for the rules: what is durable of what was asked, in order, and what a crash leaves.

The log and the epochs are files apart: an epoch is durable when its turn comes, f.a only after all that was
asked of the log before. A crash may find any part of what is under way done.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.coordination.configuration import Configuration
from services.coordination.zab import outputs as out
from services.coordination.zab.peer import Recovered
from services.coordination.zab.zxid import epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable

Entry = tuple[int, bytes, str]  # zxid, transaction, members
State = tuple[tuple[int, bytes], ...]  # what was delivered


@dataclass
class Disk:
    """One server's."""

    configuration: Configuration
    accepted_epoch: int = 0
    current_epoch: int = 0
    snapshot: tuple[int, State] = (0, ())
    oldest: int = 0
    log: list[Entry] = field(default_factory=list)
    asked: deque[Any] = field(default_factory=deque)  # of the log
    epochs: deque[tuple[Any, int]] = field(default_factory=deque)  # and how many of `done` must be before
    order: int = 0  # how many were asked of the log
    done: int = 0

    @property
    def last(self) -> int:
        """The last zxid that is durable."""
        return self.log[-1][0] if self.log else self.oldest

    def ask(self, what: Any) -> None:
        """Begins to make something durable."""
        if isinstance(what, out.SaveAcceptedEpoch):
            self.epochs.append((what, 0))
        elif isinstance(what, out.SaveCurrentEpoch):
            self.epochs.append((what, self.order))
        else:
            self.order += 1
            self.asked.append(what)

    @property
    def busy(self) -> list[Callable[[], Any]]:
        """What could be done next: each returns what is durable by it."""
        steps: list[Callable[[], Any]] = []
        if self.asked:
            steps.append(self._log)
        if self.epochs and self.epochs[0][1] <= self.done:
            steps.append(self._epoch)
        return steps

    def _log(self) -> Any:
        what = self.asked.popleft()
        self.done += 1
        if isinstance(what, out.Append):
            self.log.append((what.zxid, what.transaction, what.members))
        elif isinstance(what, out.Truncate):
            self.log = [entry for entry in self.log if entry[0] <= what.zxid]
        else:  # a whole snapshot of the leader's, in the place of everything
            zxid, state, members = what
            self.log, self.oldest, self.snapshot = [], zxid, (zxid, state)
            if members and Configuration.parse(members).version > self.configuration.version:
                self.configuration = Configuration.parse(members)
        return what

    def _epoch(self) -> Any:
        what, _ = self.epochs.popleft()
        if isinstance(what, out.SaveAcceptedEpoch):
            self.accepted_epoch = what.epoch
        else:
            self.current_epoch = what.epoch
        return what

    def crash(self, choose: Callable[[int], int]) -> None:
        """Forgets what was asked, but for some steps that were done and not yet told."""
        for _ in range(choose(4)):
            if steps := self.busy:
                steps[choose(len(steps))]()
        self.asked.clear()
        self.done = self.order
        self.epochs.clear()

    def recover(self) -> Recovered:
        """Returns what a server finds when it starts."""
        ends: dict[int, int] = {}
        for zxid, _, _ in self.log:
            ends[epoch_of(zxid)] = zxid
        return Recovered(
            self.configuration,
            self.accepted_epoch,
            self.current_epoch,
            committed=self.snapshot[0],
            oldest=self.oldest,
            ends=tuple(ends.values()),
            reconfigurations=tuple(Configuration.parse(members) for _, _, members in self.log if members),
        )
