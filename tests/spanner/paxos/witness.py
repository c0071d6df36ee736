"""Sees all replicas and absolute time: what no single one can (3.C 2, 3, 4, 11, 16; Paxos's own)."""

from __future__ import annotations

from dataclasses import dataclass


class Violation(AssertionError):
    """A property does not hold."""


@dataclass
class Reign:
    """A leader's lease, as it knew it last; ended by s_max where it gave its votes back."""

    server: str
    start: int
    end: int
    released: bool = False


class Witness:
    """What was chosen, promised, voted and leased, anywhere, ever."""

    def __init__(self, lease: int) -> None:
        self.lease = lease
        self.chosen: dict[int, tuple[int, int, bytes]] = {}  # index: origin, timestamp, value
        self.safe: dict[int, int] = {}  # claims: after this index nothing at or below this timestamp
        self.reigns: dict[int, Reign] = {}
        self.released: set[int] = set()
        self.told: dict[str, dict[int, int]] = {}  # votes of each replica: v_leader + lease, by ballot
        self.given: dict[tuple[str, int], int] = {}  # when a replica gave its vote to a ballot

    def hold(self, condition: bool, what: str) -> None:
        if not condition:
            raise Violation(what)

    def applied(self, index: int, origin: int, timestamp: int, value: bytes, durable: bool) -> None:
        """Some replica knows this entry to be chosen."""
        entry = (origin, timestamp, value)
        before = self.chosen.get(index)
        if before is not None:
            self.hold(before == entry, f"two values are chosen at {index}: {before} and {entry}")
            return
        self.hold(index == len(self.chosen) + 1, f"{index} is chosen, and {len(self.chosen) + 1} is not")
        self.hold(durable, f"{index} is applied, and no quorum has it on disk")
        if index > 1:
            last = self.chosen[index - 1]
            self.hold(timestamp > last[1], f"{index} has timestamp {timestamp} after {last[1]}")
            self.hold(origin >= last[0], f"{index} is of reign {origin} after {last[0]}")
        promised = max((safe for after, safe in self.safe.items() if after < index), default=0)
        self.hold(timestamp > promised, f"{index} of timestamp {timestamp} is chosen, {promised} was safe")
        self.chosen[index] = entry

    def claims(self, server: str, index: int, safe: int) -> None:
        """A replica that has applied up to an index serves reads up to a timestamp."""
        if safe <= self.safe.get(index, 0):
            return
        self.safe[index] = safe
        later = self.chosen.get(index + 1)
        self.hold(
            later is None or later[1] > safe,
            f"{server}: {safe} is safe after {index}, and {index + 1} has {later and later[1]}",
        )

    def leased(self, server: str, ballot: int, start: int, end: int) -> None:
        """A leader believes in this lease."""
        reign = self.reigns.get(ballot)
        if reign is None:
            reign = self.reigns[ballot] = Reign(server, start, end)
        elif (reign.start, reign.end) == (start, end):
            return
        self.hold(not reign.released, f"reign {ballot} goes on after its votes were released")
        reign.start, reign.end = start, max(reign.end, end)
        for other, its in self.reigns.items():
            if other != ballot:
                apart = its.end <= start if other < ballot else reign.end <= its.start
                self.hold(apart, f"leases of {ballot} {reign} and {other} {its} overlap")

    def abdicated(self, ballot: int, s_max: int = 0) -> None:
        """A leader, or a candidate, gives its votes back."""
        self.released.add(ballot)
        if ballot in self.reigns and s_max:
            reign = self.reigns[ballot]
            reign.end, reign.released = min(reign.end, s_max + 1), True

    def gives(self, replica: str, ballot: int, now: int) -> None:
        """A replica begins to write that it votes for a ballot."""
        self.given[replica, ballot] = now

    def voted(self, replica: str, ballot: int, vote: int) -> None:
        """A replica tells that it has voted for a ballot until (at least) v_leader + 10 s."""
        votes = self.told.setdefault(replica, {})
        votes[ballot] = max(votes.get(ballot, 0), vote + self.lease)
        for other in votes:
            first, second = min(other, ballot), max(other, ballot)
            if first != second and first not in self.released:
                given = self.given[replica, second]
                self.hold(given > votes[first], f"{replica} votes for {second} while it votes for {first}")
