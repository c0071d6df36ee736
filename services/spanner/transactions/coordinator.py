"""The coordinator's side of two-phase commit (4.2.1), and transactions of one group, which need nothing
else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.spanner.entries import Abort, Commit, Finished, encode
from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader
from services.spanner.transactions.leading import Done, unavailable
from services.spanner.transactions.story import Story
from services.spanner.transactions.tally import Tally
from services.spanner.transactions.work import log, take_on

if TYPE_CHECKING:
    from protos import spanner_pb2 as pb
    from services.spanner.errors import Reason
    from services.spanner.tablet import Decision
    from services.spanner.transactions.leading import Reign, Transaction

FINISHED = 256
"""So many commits are noted as finished in one entry ..."""

FINISHED_S = 5.0
"""... or those of so many seconds."""


class Coordinator:
    """Decides transactions, for one reign.

    Args:
        reign: the leader's memory.
    """

    def __init__(self, reign: Reign) -> None:
        self._reign = reign
        self._told: dict[str, dict[int, None]] = {}  # of a commit, participants that have logged it
        self._finished: list[str] = []
        self._flush: asyncio.TimerHandle | None = None

    async def commit(self, request: pb.CommitRequest, arrived: int) -> Done:
        """Commits; see `Transactions.commit`. `arrived` is TT.now().latest when the request came (start
        rule)."""
        reign = self._reign
        who = request.transaction
        decision = reign.tablet.outcome(who.id) if reign.settings.outcomes else None
        if decision is not None:
            reign.host.trace("commit-again", group=reign.group.number, transaction=who.id)
            return Done(await self._known(decision))
        one = reign.transactions.get(who.id)
        if one is None or one.work is None:
            named = request.participants
            participants = tuple(dict.fromkeys(named)) if named else ()
            try:
                if who.id in reign.tablet.prepared or reign.group.number in participants:
                    raise SpannerError(
                        "FAILED_PRECONDITION", f"{who.id}: a group is participant and coordinator"
                    )
                reign.known(who)
                one = reign.enter(who)
            except SpannerError as refusal:
                if participants and who.id:
                    self._abort(who.id, refusal)
                raise
            work = reign.begin(one)
            if participants:
                tally = self._tally(one.id)
                if tally.decider is None:
                    tally.decider = work
            return await reign.carry_out(work, self._decide(one, request, participants, arrived))
        if one.coordinator is not None:
            raise SpannerError("FAILED_PRECONDITION", f"{who.id}: a group is participant and coordinator")
        return await asyncio.shield(one.work)

    async def decide(self, request: pb.DecideRequest) -> int:
        """Takes a vote, and returns the outcome once it may be known; see `Transactions.decide`."""
        reign = self._reign
        id, participant, prepared = request.transaction, request.participant, request.prepare_timestamp
        decision = reign.tablet.outcome(id)
        if request.finished:
            if decision is not None and decision.commit is not None:
                self._is_told(decision, participant)
            return 0
        if decision is not None:
            commit, participants = await self._outcome_of(decision), decision.participants
        else:
            if not prepared:
                self._abort(id, reign.aborted(f"{id}: group {participant} could not prepare"))
            elif reign.refused(id):
                self._abort(id, reign.aborted(f"{id} was ended"))
            tally = self._tally(id)
            if prepared:
                tally.vote(participant, prepared)
            commit, participants = await asyncio.shield(tally.settled)
        # A prepare that came again, after all was over, is of no commit.
        return commit if participant in participants and prepared <= commit else 0

    def wound(self, id: str) -> None:
        """Aborts a transaction, unless it is decided: an older one waits for it where it is prepared."""
        if self._reign.tablet.outcome(id) is None:
            self._abort(id, self._refusal(f"transaction {id} was wounded by an older one", "wounded"))

    # One transaction.

    async def _decide(
        self, one: Transaction, request: pb.CommitRequest, participants: tuple[int, ...], arrived: int
    ) -> Done:
        reign = self._reign
        story = Story(reign, one.id, "coordinator" if participants else "alone")
        tally = self._tally(one.id) if participants else None
        until = reign.loop.time() + reign.settings.prepare_s
        try:
            work = await take_on(reign, one, request, arrived, until)
            story.step("locked")
            at_least = work.above + 1
            if tally is not None:
                await self._all(one, tally, participants, until)
                story.step("prepared")
                prepared = max(tally.votes.values())
                if work.at and prepared > work.at:
                    why = f"a schema change at {work.at} comes too late: groups have prepared at {prepared}"
                    raise SpannerError("FAILED_PRECONDITION", why)
                # A schema change takes place ahead of its entry (4.2.3): what comes meanwhile is not to wait.
                at_least = at_least if work.at else max(at_least, prepared)
            commit = await log(
                reign,
                one,
                work,
                at_least,
                lambda at: Commit(one.id, story.assigned(at), work.effects, participants),
            )
        except SpannerError as refusal:
            reign.end(one, refusal)
            if tally is not None:
                await self._log_abort(one.id, tally)
            story.end("aborted")
            raise
        except NotLeader as error:
            reign.lose(one)
            if tally is not None:
                self._drop(one.id, tally)
            story.end("deposed")
            raise unavailable(error) from None
        story.step("chosen")
        reign.settle(one.id)
        waited = await self._wait(commit)
        story.waited(waited)
        reign.end(one)
        if tally is not None:
            reign.tallies.pop(one.id, None)
            tally.settle(commit, participants)
        story.end("committed")
        return Done(commit, waited, work.mutations)

    async def _all(self, one: Transaction, tally: Tally, participants: tuple[int, ...], until: float) -> None:
        """Waits for the votes."""
        reign = self._reign
        try:
            async with asyncio.timeout_at(until):
                agreed = await tally.all_of(participants)
        except TimeoutError:
            missing = [group for group in participants if group not in tally.votes]
            raise reign.aborted(f"{one.id}: groups {missing} did not prepare in time") from None
        reign.check(one)
        if not agreed:
            raise reign.aborted(f"{one.id}: a participant could not prepare")

    async def _wait(self, commit: int) -> int:
        """The commit wait (4.1.2): until absolute time is past s everywhere. Returns how long it took, in
        ns."""
        reign = self._reign
        if not reign.settings.commit_wait:
            return 0
        start = reign.loop.time()
        waited = await reign.group.truetime.until_after(commit)
        return round((reign.loop.time() - start) * 1e9) if waited else 0

    async def _known(self, decision: Decision) -> int:
        """Returns the commit timestamp of what is decided, once it may be known.

        Raises:
            SpannerError: ABORTED.
        """
        commit = await self._outcome_of(decision)
        if not commit:
            raise self._refusal(f"transaction {decision.transaction} was aborted")
        return commit

    async def _outcome_of(self, decision: Decision) -> int:
        if decision.commit is None:
            return 0
        await self._wait(decision.commit)
        return decision.commit

    # Aborting.

    def _tally(self, id: str) -> Tally:
        """Returns the tally of an undecided transaction; a new one waits only so long for its commit."""
        reign = self._reign
        tally = reign.tallies.get(id)
        if tally is None:
            tally = reign.tallies[id] = Tally()
            reign.loop.call_later(reign.settings.undecided_s, self._impatient, id, tally)
        return tally

    def _impatient(self, id: str, tally: Tally) -> None:
        if tally.decider is None and not self._reign.over and self._reign.tallies.get(id) is tally:
            self._abort(id, self._refusal(f"transaction {id} was prepared, and its commit did not come"))

    def _abort(self, id: str, refusal: SpannerError) -> None:
        """Has a transaction aborted that is not decided; it is told to those who ask once it is in the
        log."""
        reign = self._reign
        one = reign.transactions.get(id)
        if one is not None:
            if one.state == "logged":
                return
            reign.end(one, refusal)
        elif not reign.refused(id):
            reign.remember(id, refusal)
        tally = self._tally(id)
        tally.refuse()
        if tally.decider is None:
            tally.decider = reign.loop.create_task(self._log_abort(id, tally))

    async def _log_abort(self, id: str, tally: Tally) -> None:
        reign = self._reign

        def entry(timestamp: int) -> bytes:
            if reign.tablet.outcome(id) is not None:
                raise _Decided
            return encode(Abort(id))

        try:
            await reign.group.write(entry, 0, reign.term)
        except _Decided:
            pass
        except NotLeader:
            self._drop(id, tally)
            return
        decision = reign.tablet.outcome(id)
        assert decision is not None
        reign.tallies.pop(id, None)
        tally.settle(await self._outcome_of(decision), decision.participants)

    def _drop(self, id: str, tally: Tally) -> None:
        """Stops counting: another reign decides."""
        if self._reign.tallies.get(id) is tally:
            del self._reign.tallies[id]
        tally.give_up(self._reign.gone())

    def _refusal(self, detail: str, reason: Reason = "") -> SpannerError:
        return self._reign.aborted(detail, reason)

    # Forgetting.

    def _is_told(self, decision: Decision, participant: int) -> None:
        """Notes that a participant has logged a commit; when all have, it need not be kept for them."""
        if participant not in decision.participants:
            return
        told = self._told.setdefault(decision.transaction, {})
        told[participant] = None
        if len(told) < len(decision.participants):
            return
        del self._told[decision.transaction]
        self._finished.append(decision.transaction)
        if len(self._finished) >= FINISHED:
            self._write_finished()
        elif self._flush is None:
            self._flush = self._reign.loop.call_later(FINISHED_S, self._write_finished)

    def _write_finished(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        finished, self._finished = tuple(self._finished), []
        if finished and not self._reign.over:
            self._reign.spawn(self._log_finished(finished))

    async def _log_finished(self, finished: tuple[str, ...]) -> None:
        with suppress(NotLeader):  # they are kept longer than they need be, then
            await self._reign.group.write(lambda _: encode(Finished(finished)), 0, self._reign.term)


class _Decided(Exception):
    """There is an outcome already."""
