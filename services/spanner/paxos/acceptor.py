"""What a replica promises, votes, accepts and knows to be chosen, whatever role it has now.

All is here as of the last input: some of it may not be durable yet, and no other replica is told of what
depends on it before it is (`tell`). What happens between two `take`s is one `Write`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.spanner.paxos import invariants
from services.spanner.paxos.ballots import proposer_of, round_of
from services.spanner.paxos.log import Log
from services.spanner.paxos.messages import Accepted, Promise, Refuse
from services.spanner.paxos.outputs import (
    Apply,
    Chosen,
    Install,
    Position,
    Safe,
    Send,
    State,
    Trim,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.group import Member
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import Accept, LogEntry, Message, Prepare
    from services.spanner.paxos.outputs import Output
    from services.spanner.paxos.recovered import Recovered
    from services.spanner.paxos.settings import Settings
    from services.spanner.truetime.interval import Interval

TRIM = 64
"""A witness lets go of so many entries at once."""

RESERVED = 1000
"""So many rounds are reserved at once."""


class Acceptor:
    """One replica's promises, vote and log. Outputs are collected in `out`."""

    def __init__(
        self, server: str, members: Sequence[Member], recovered: Recovered, settings: Settings
    ) -> None:
        self.server = server
        self.members = sorted(members, key=lambda member: member.server)
        self.names = [member.server for member in self.members]
        if server not in self.names:
            raise ValueError(f"{server} is no member of {self.names}")
        self.member = self.members[self.names.index(server)]
        self.voters = [member.server for member in self.members if member.votes]
        self.writers = [member.server for member in self.members if member.kind == "read-write"]
        if not self.writers:
            raise ValueError(f"nobody of {self.names} may lead")
        self.quorum = len(self.voters) // 2 + 1
        self.settings = settings
        self.out: list[Output] = []

        state = recovered.state
        self.promised, self.vote, self.until = state.promised, state.vote, state.until
        self.log = Log(recovered.base, recovered.entries)
        self.applied = recovered.applied
        if self.log.last < self.applied.index:  # the checkpoint was durable before its log
            self.log = Log(self.applied, ())
        elif self.log.origin(self.applied.index) != self.applied.origin:
            raise invariants.InvariantBroken(f"the log does not have {self.applied}, which was applied")
        self.reserving = 0  # the write that reserves
        self.safe = self.applied.timestamp
        self.safe_wanted = 0
        self._pending = (0, 0)  # a promise for the entries after an index that is not applied yet

        self.number = self.confirmed = 0  # of the last write, and of the last that is durable
        self._dirty = False
        self._first = 0  # what the next write replaces
        self._sealed: list[Output] = []
        self.round = max(state.round, round_of(state.promised))  # the greatest used, or heard of
        self.reserved = state.round  # the own ones up to there may be used, once that is durable
        self._waiting: deque[tuple[int, str, Message]] = deque()
        self._ends: deque[tuple[int, int]] = deque()  # of each write under way: the last index
        self.durable_last = self.log.last
        self.commit(min(state.committed, self.log.last))

    @property
    def committed(self) -> int:
        """All up to this index is chosen, and handed out to be applied."""
        return self.applied.index

    def proposer(self, ballot: Ballot) -> str:
        """Returns who made a ballot; "" for none, or for one of no member."""
        place = proposer_of(ballot)
        return self.names[place] if ballot and place < len(self.names) else ""

    # Sending, and making durable

    def send(self, message: Message, *to: str) -> None:
        """Sends at once."""
        if to:
            self.out.append(Send(to, message))

    def tell(self, to: str, message: Message) -> None:
        """Sends once all that has happened so far is durable."""
        number = self.number + (self._dirty or self._first > 0)
        if number > self.confirmed:
            self._waiting.append((number, to, message))
        else:
            self.out.append(Send((to,), message))

    def _write(self) -> Write | None:
        if not self._dirty and not self._first:
            return None
        self.number += 1
        first, self._first, self._dirty = self._first, 0, False
        entries = tuple(self.log.between(first - 1, self.log.last)) if first else ()
        self._ends.append((self.number, self.log.last))
        if self.round + RESERVED // 2 > self.reserved:
            self.reserved = self.round + RESERVED
            self.reserving = self.number
        state = State(self.promised, self.vote, self.until, self.applied.index, self.reserved)
        return Write(self.number, state, first, entries)

    def take(self) -> list[Output]:
        """Hands over the outputs since the last call: the write first, so that the disk begins."""
        write = self._write()
        out = [*self._sealed, write, *self.out] if write else [*self._sealed, *self.out]
        self.out, self._sealed = [], []
        return out

    def durable(self, number: int) -> None:
        """Sends what has waited for that."""
        self.confirmed = max(self.confirmed, number)
        ends, waiting = self._ends, self._waiting
        while ends and ends[0][0] <= number:
            self.durable_last = ends.popleft()[1]
        told: dict[tuple[str, Ballot], Accepted] = {}
        while waiting and waiting[0][0] <= number:
            _, to, message = waiting.popleft()
            if type(message) is Accepted and not message.missing:
                if message.ballot < self.promised:
                    continue  # a later reign may have replaced these entries: it would not be true any more
                before = told.get((to, message.ballot))
                if before is not None:  # one answer for all
                    vote, upto = max(before.vote, message.vote), max(before.upto, message.upto)
                    message = Accepted(message.ballot, vote, upto)
                told[to, message.ballot] = message
            else:
                self.out.append(Send((to,), message))
        for (to, _), message in told.items():
            self.out.append(Send((to,), message))

    @property
    def unwritten(self) -> bool:
        """Whether there are entries for the next `Write`."""
        return self._first > 0

    # Ballots

    def hear_of(self, ballot: Ballot) -> None:
        """Notes that a ballot is used: the next one has to be greater."""
        self.round = max(self.round, round_of(ballot))

    def next_round(self) -> int:
        """Returns a round that was never used here, also before a crash, once `may_use` says so.

        A ballot that meant two attempts could not be released.
        """
        self.round += 1
        if self.round > self.reserved:
            self._dirty = True
        return self.round

    def may_use(self, round: int) -> bool:
        """Says whether a round is reserved durably (some at a time, by the way of other writes)."""
        return round <= self.reserved and self.confirmed >= self.reserving

    # Promises and votes

    def may_vote(self, ballot: Ballot, now: Interval) -> bool:
        """Says whether the vote is free for a ballot: not given, given to it, or TT.after(t_end)."""
        return self.vote in (0, ballot) or now.earliest > self.until

    def promise(self, ballot: Ballot) -> None:
        """Accepts nothing below this ballot from now on."""
        invariants.promises_grow(self.promised, ballot)
        if ballot != self.promised:
            self.promised = ballot
            self._dirty = True

    def give_vote(self, ballot: Ballot, now: Interval) -> None:
        """Votes until t_end = TT.now().latest + 10 s; in the log before anybody hears of it."""
        invariants.single_vote(self.vote, self.until, now.earliest, ballot)
        until = now.latest + self.settings.lease
        self.until = max(self.until, until) if self.vote == ballot else until
        self.vote = ballot
        self._dirty = True

    def release(self, ballot: Ballot) -> None:
        """Takes back the vote for a ballot that is over. (Forgotten in a crash, it only lasts longer.)"""
        if ballot and self.vote == ballot:
            self.vote = self.until = 0

    def refuse(self, to: str, ballot: Ballot) -> None:
        """Says no, and why."""
        self.tell(to, Refuse(ballot, self.promised, self.vote, self.until))

    def prepare(self, sender: str, message: Prepare, now: Interval) -> bool:
        """Promises and votes, or refuses (phase 1); returns which."""
        ballot = message.ballot
        self.release(message.released)
        if ballot < self.promised or not self.may_vote(ballot, now):
            self.refuse(sender, ballot)
            return False
        self.promise(ballot)
        self.give_vote(ballot, now)
        end = self.log.end
        self.tell(sender, Promise(ballot, message.vote, end.origin, end.index, self.committed))
        return True

    # The log

    def accept(self, sender: str, message: Accept, now: Interval) -> bool:
        """Accepts entries, votes, and learns (phase 2), or refuses; returns which."""
        ballot, previous, entries = message.ballot, message.previous, message.entries
        if ballot < self.promised:
            self.refuse(sender, ballot)
            return False
        self.promise(ballot)
        vote = 0
        if message.vote and self.member.votes and self.may_vote(ballot, now):
            self.give_vote(ballot, now)
            vote = message.vote
        if previous > self.committed and self.log.origin(previous) != message.origin:
            self.tell(sender, Accepted(ballot, vote, self.committed, missing=True))
            return True
        upto = previous + len(entries)
        self.store(previous, entries)
        if message.promise:
            self.promised_safe(upto, message.promise)
        self.commit(min(message.committed, upto))
        if self.member.kind == "witness":
            self.trim(min(message.everywhere, self.committed))
        self.tell(sender, Accepted(ballot, vote, max(upto, self.committed)))
        return True

    def store(self, previous: int, entries: Sequence[LogEntry]) -> None:
        """Makes the log the sender's: from the first entry that differs on (what is chosen is the same)."""
        log = self.log
        index = previous
        for place, entry in enumerate(entries):
            index += 1
            if index > self.committed and log.origin(index) != entry.origin:
                invariants.chosen_stays(self.committed, index)
                self.put(index, entries[place:])
                return

    def put(self, first: int, entries: Sequence[LogEntry]) -> None:
        """Replaces the log from `first` on."""
        self.log.replace(first, entries)
        self._first = min(self._first, first) if self._first else first
        self.durable_last = min(self.durable_last, first - 1)
        if self._ends and self._ends[-1][1] >= first:  # writes under way do not have these
            self._ends = deque((number, min(end, first - 1)) for number, end in self._ends)

    def commit(self, index: int) -> None:
        """Notes that all up to an index is chosen: it is applied."""
        before = self.applied.index
        if index <= before:
            return
        log = self.log
        invariants.chosen_is_here(log.last, index)
        entries = log.between(before, index)
        invariants.is_safe(entries[0].timestamp, self.safe)
        after, promise = self._pending
        if index > after and promise:
            first = max(after, before) + 1
            invariants.keeps_its_promise(first, log.position(first).timestamp, after, promise)
        self.applied = log.position(index)
        chosen: tuple[Chosen, ...] = ()
        if self.member.holds_data:
            chosen = tuple(
                Chosen(place, entry.timestamp, entry.value)
                for place, entry in enumerate(entries, before + 1)
                if entry.value
            )
        self.out.append(Apply(chosen, self.applied))
        self._advance(self.applied.timestamp)

    # t_Paxos_safe (4.1.3, 4.2.4)

    def promised_safe(self, after: int, promise: int) -> None:
        """Takes a promise: all entries after an index have timestamps above it."""
        if after <= self.committed:
            self._advance(promise)
        elif promise > self._pending[1]:
            self._pending = (after, promise)

    def _advance(self, safe: int) -> None:
        if self._pending[1] and self._pending[0] <= self.committed:
            safe = max(safe, self._pending[1])
            self._pending = (0, 0)
        if safe > self.safe:
            if self.safe_wanted > self.safe:
                self.out.append(Safe())
            self.safe = safe

    # Letting go of the log's beginning

    def install(self, position: Position) -> None:
        """Takes a checkpoint (a witness: only its place) for all up to there."""
        write = self._write()
        self._sealed += [write, *self.out] if write else self.out
        self.out = []
        self.number += 1
        keep = self.log.rebase(position)
        self._sealed.append(Install(self.number, position, keep))
        if not keep:
            self.durable_last = position.index
            self._ends = deque((number, position.index) for number, _ in self._ends)
        self._ends.append((self.number, self.log.last))
        self.applied = position
        self._advance(position.timestamp)

    def compacted(self, index: int) -> None:
        """Lets go of entries up to an index that is applied."""
        invariants.chosen_is_here(self.committed, index)
        if index > self.log.base.index:
            self._flush_from(index)
            self.log.rebase(self.log.position(index))

    def trim(self, index: int) -> None:
        """A witness lets go of what all others have, now and then."""
        if index - self.log.base.index >= TRIM:
            position = self.log.position(index)
            self._flush_from(index)
            self.log.rebase(position)
            self.out.append(Trim(position))

    def _flush_from(self, index: int) -> None:
        """Writes what is not written yet before it leaves the memory."""
        if self._first and self._first <= index and (write := self._write()):
            self._sealed += [write, *self.out]
            self.out = []
