"""What a transaction did in a group, as a span of the trace: for pictures of commit waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.spanner.transactions.leading import Reign


class Story:
    """A span "transaction", from the arrival of the commit or prepare until the locks are free.

    Its fields: `transaction`, `group`, `role` ("alone", "coordinator", "participant"), `timestamp` (s, or the
    prepare timestamp), `waited` (ns of commit wait after Paxos), `outcome`; `arrived`, `assigned`,
    `released`: TT.now() as this host had read it last at these moments, as [earliest, latest]; and in
    nanoseconds since its start, as far as it came to that: `locked` (all locks are held), `prepared` (a
    participant's entry is applied; at the coordinator: all votes are there), `proposed` (the entry goes into
    the log), `chosen` (it is applied), `told` (the participant has heard the outcome).
    """

    def __init__(self, reign: Reign, transaction: str, role: str) -> None:
        self._reign = reign
        self._start = reign.loop.time()
        self._span = reign.host.span(
            "transaction", transaction=transaction, group=reign.group.number, role=role
        )
        self._fields = self._span.__enter__()
        self._fields["arrived"] = self._now()
        self._ended = False

    def step(self, name: str) -> None:
        """Notes when something was done."""
        self._fields[name] = round((self._reign.loop.time() - self._start) * 1e9)

    def assigned(self, timestamp: int) -> int:
        """Notes a timestamp, and returns it."""
        self.step("proposed")
        self._fields["timestamp"] = timestamp
        self._fields["assigned"] = self._now()
        return timestamp

    def waited(self, ns: int) -> None:
        """Notes the commit wait."""
        self._fields["waited"] = ns

    def end(self, outcome: str) -> None:
        """Ends it; a second call has no effect."""
        if not self._ended:
            self._ended = True
            self._fields["outcome"] = outcome
            self._fields["released"] = self._now()
            self._span.__exit__(None, None, None)

    def _now(self) -> list[int]:
        last = self._reign.group.truetime.last
        return [] if last is None else list(last)
