"""The participant's side of two-phase commit (4.2.1)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.spanner.entries import Outcome, Prepare, encode
from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader, TooFar
from services.spanner.transactions.coordinators import NoSuchGroup
from services.spanner.transactions.leading import Done, unavailable
from services.spanner.transactions.story import Story
from services.spanner.transactions.work import log, take_on
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from protos import spanner_pb2 as pb
    from services.spanner.transactions.leading import Reign, Transaction

PAUSE = 0.01
"""Seconds before the coordinator is asked again the first time; doubled each time."""

TRIES = 5
"""How often a coordinator is told what it can do without."""


class Participant:
    """Prepares transactions that other groups coordinate, and learns what becomes of them, for one reign.

    Args:
        reign: the leader's memory.
    """

    def __init__(self, reign: Reign) -> None:
        self._reign = reign

    def restore(self) -> None:
        """Takes up what an earlier reign has prepared: its locks are taken again, its coordinators asked."""
        self._reign.restore()
        for prepare in self._reign.tablet.prepared.values():
            one = self._reign.transactions[prepare.transaction]
            self._reign.spawn(self._learn(one, prepare.coordinator, prepare.timestamp, None))

    async def prepare(self, request: pb.PrepareRequest, arrived: int) -> int:
        """Prepares; see `Transactions.prepare`. Returns the prepare timestamp."""
        reign = self._reign
        who = request.transaction
        prepared = reign.tablet.prepared.get(who.id)
        if prepared is not None:
            return prepared.timestamp
        decision = reign.tablet.outcome(who.id)
        if decision is not None:
            if decision.commit is None:
                raise reign.aborted(f"transaction {who.id} was aborted")
            return decision.commit
        one = reign.transactions.get(who.id)
        if one is None or one.work is None:
            try:
                if request.coordinator == reign.group.number:
                    raise SpannerError(
                        "FAILED_PRECONDITION", f"{who.id}: a group is participant and coordinator"
                    )
                reign.known(who)
                one = reign.enter(who)
            except SpannerError:
                if who.id:
                    reign.spawn(self._refuse(who.id, request.coordinator))
                raise
            one.coordinator = request.coordinator
            work = reign.begin(one)
            return (await reign.carry_out(work, self._prepare(one, request, arrived))).timestamp
        if one.coordinator != request.coordinator:
            raise SpannerError("FAILED_PRECONDITION", f"{who.id} has another coordinator")
        return (await asyncio.shield(one.work)).timestamp

    async def _prepare(self, one: Transaction, request: pb.PrepareRequest, arrived: int) -> Done:
        reign = self._reign
        coordinator = request.coordinator
        until = reign.loop.time() + reign.settings.prepare_s
        story = Story(reign, one.id, "participant")
        try:
            await self._find(one, coordinator)
            work = await take_on(reign, one, request, arrived, until)
            story.step("locked")
            reads = tuple(within for within, exclusive in one.locks.items() if not exclusive)
            prepared = await log(
                reign,
                one,
                work,
                # What is acquired must be so above all that was copied: a group that sleeps is behind.
                work.above + 1 if work.above > arrived or work.effects.acquired else 0,
                lambda at: Prepare(
                    one.id,
                    one.order[0],
                    story.assigned(at),
                    work.effects,
                    reads,
                    coordinator,
                    work.locked,
                ),
            )
        except SpannerError as refusal:
            reign.end(one, refusal)
            if not reign.over:
                reign.spawn(self._refuse(one.id, coordinator))
            story.end("refused")
            raise
        except NotLeader as error:
            reign.lose(one)
            story.end("deposed")
            raise unavailable(error) from None
        story.step("prepared")
        if not reign.over:
            reign.spawn(self._learn(one, coordinator, prepared, story))
        return Done(prepared)

    async def _find(self, one: Transaction, coordinator: int) -> None:
        """Sees to it that what is prepared can be decided: there is such a group.

        Raises:
            SpannerError: FAILED_PRECONDITION: there is not; ABORTED: nobody says.
        """
        try:
            async with asyncio.timeout(self._reign.settings.prepare_s):
                await self._reign.coordinators.find(coordinator)
        except NoSuchGroup:
            raise
        except (SpannerError, TimeoutError):
            raise self._reign.aborted(f"{one.id}: nobody says where its coordinator is") from None

    async def _learn(self, one: Transaction, coordinator: int, prepared: int, story: Story | None) -> None:
        """Asks the coordinator until it tells the outcome, and logs that."""
        try:
            outcome = await self._outcome(one, coordinator, prepared, story)
        except asyncio.CancelledError:
            if story is not None:
                story.end("deposed")
            raise
        reign = self._reign
        reign.settle(one.id)
        reign.end(one)
        if story is not None:
            story.end("committed" if outcome else "aborted")
        if outcome:
            await self._tell(coordinator, one.id)

    async def _outcome(self, one: Transaction, coordinator: int, prepared: int, story: Story | None) -> int:
        """Has the outcome logged here, and returns it."""
        reign = self._reign
        number = reign.group.number
        pause = PAUSE
        while True:
            try:
                async with asyncio.timeout(reign.settings.ask_again_s):
                    commit = await reign.coordinators.decide(coordinator, number, one.id, prepared)
                break
            except NoSuchGroup:  # it went without having heard of it
                commit = 0
                break
            except (SpannerError, TimeoutError):
                await asyncio.sleep(reign.jittered(pause))
                pause = min(2 * pause, reign.settings.ask_again_s)
        if story is not None:
            story.step("told")
        outcome = encode(Outcome(one.id, commit or None))
        pause = PAUSE
        while True:
            try:
                # Not below s: what comes after it on the same rows is above s then.
                await reign.group.write(lambda _: outcome, commit, reign.term)
                return commit
            except (NotLeader, TooFar):
                # Where the lease has only run out, this begins another reign, which ends this one and
                # asks again.
                await self._lead_again()
                await asyncio.sleep(reign.jittered(pause))
                pause = min(2 * pause, reign.settings.ask_again_s)

    async def _lead_again(self) -> None:
        with suppress(NotLeader, Unsynchronized):  # another leads, or soon will, and does the same
            await self._reign.group.lead()

    async def _refuse(self, id: str, coordinator: int) -> None:
        """Tells the coordinator that this group cannot prepare; if it does not hear it, it waits in vain."""
        reign = self._reign
        pause = PAUSE
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(reign.settings.ask_again_s):
                    await reign.coordinators.decide(coordinator, reign.group.number, id, 0)
                return
            except (SpannerError, TimeoutError):
                await asyncio.sleep(reign.jittered(pause))
                pause *= 2

    async def _tell(self, coordinator: int, id: str) -> None:
        """Tells the coordinator that it will not be asked again; if it does not hear it, it keeps the
        outcome."""
        reign = self._reign
        pause = PAUSE
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(reign.settings.ask_again_s):
                    await reign.coordinators.finished(coordinator, reign.group.number, id)
                return
            except (SpannerError, TimeoutError):
                await asyncio.sleep(reign.jittered(pause))
                pause *= 2
