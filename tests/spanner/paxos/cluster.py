"""Replicas of pure rules, on a network, disks and clocks that a schedule decides about.

Every step is a choice: which message arrives, whose disk is done, who crashes, how wrong a clock is. A
schedule is a function that chooses below a number.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from services.spanner.group import Member, NotLeader
from services.spanner.paxos import Paxos, Position, Recovered, Settings, State
from services.spanner.paxos import messages as m
from services.spanner.paxos import outputs as out
from services.spanner.paxos.leader import Leader
from services.spanner.truetime.interval import Interval
from tests.spanner.paxos.witness import Violation, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MS = 1_000_000
SECOND = 1_000 * MS
SETTINGS = Settings()
EPSILON = 8 * MS
Machine = tuple[tuple[int, int, bytes], ...]


class Disk:
    """What is durable, and what is on its way there in order."""

    def __init__(self) -> None:
        self.state = State()
        self.base = Position()
        self.entries: list[m.LogEntry] = []
        self.checkpoint: tuple[Position, Machine] = (Position(), ())
        self.queue: list[tuple[Any, Machine]] = []

    @property
    def last(self) -> int:
        return self.base.index + len(self.entries)

    def has(self, index: int, origin: int) -> bool:
        """Says whether it would have that entry after a crash."""
        if index <= max(self.base.index, self.checkpoint[0].index):
            return True
        return index <= self.last and self.entries[index - self.base.index - 1].origin == origin

    def step(self) -> Any:
        """Makes the next thing durable; returns it."""
        what, machine = self.queue.pop(0)
        if isinstance(what, out.Write):
            self.state = what.state
            if what.first:
                assert what.first <= self.last + 1
                self.entries[what.first - self.base.index - 1 :] = what.entries
        elif isinstance(what, out.Install):
            self.rebase(what.position, what.keep)
            self.checkpoint = (what.position, machine)
        else:
            self.rebase(what.position, True)
            self.checkpoint = (what.position, ())
        return what

    def rebase(self, position: Position, keep: bool) -> None:
        self.entries = self.entries[max(0, position.index - self.base.index) :] if keep else []
        self.base = position

    def crash(self, choose: Callable[[int], int]) -> None:
        for _ in range(choose(len(self.queue) + 1)):
            self.step()
        self.queue.clear()

    def recovered(self) -> Recovered:
        return Recovered(self.state, self.checkpoint[0], self.base, tuple(self.entries))


class Server:
    """One member: its disk and clock, and while it is up its rules and its state machine."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.name = member.server
        self.disk = Disk()
        self.paxos: Paxos | None = None
        self.machine: list[tuple[int, int, bytes]] = []
        self.before = EPSILON // 2  # how far `earliest` is below absolute time
        self.behind = EPSILON // 2  # how far `latest` is above it
        self.fetch: str | None = None
        self.fetched: Machine = ()
        self.term = 0
        self.vote = 0
        self.asked = False
        self.starts = 0


class Cluster:
    """All of it."""

    def __init__(
        self,
        kinds: Sequence[str],
        choose: Callable[[int], int],
        preferred: str = "",
        settings: Settings = SETTINGS,
        epsilon: int = EPSILON,
    ) -> None:
        self.choose = choose
        self.epsilon = epsilon
        self.now = 1_000 * SECOND
        self.settings = settings
        self.preferred = preferred
        self.members = tuple(Member(f"s{number}", f"z{number}", kind) for number, kind in enumerate(kinds, 1))
        self.servers = {member.server: Server(member) for member in self.members}
        self.witness = Witness(settings.lease)
        self.network: list[tuple[str, str, Any]] = []
        self.cut: set[tuple[str, str]] = set()
        self.paused: set[str] = set()
        self.slow: set[str] = set()
        self.in_order = False
        self.proposals = 0
        self.crash_in = -1
        self.counts: dict[str, int] = {}
        self.log: list[str] | None = None
        for server in self.servers.values():
            self.start(server)

    def note(self, what: str) -> None:
        if self.log is not None:
            self.log.append(f"{(self.now - 1000 * SECOND) / SECOND:9.4f} {what}")

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def up(self) -> list[Server]:
        return [server for server in self.servers.values() if server.paxos is not None]

    def leaders(self) -> list[Server]:
        return [s for s in self.up() if s.paxos and s.paxos.term(self.tt(s))]

    def tt(self, server: Server) -> Interval:
        """TT.now() of a server."""
        return Interval(self.now - server.before, self.now + server.behind)

    def start(self, server: Server) -> None:
        self.note(f"start {server.name}")
        server.machine = list(server.disk.checkpoint[1])
        server.term, server.asked, server.fetch = 0, False, None
        server.starts += 1
        server.vote = server.disk.state.vote
        server.paxos = Paxos(
            server.name,
            self.members,
            server.disk.recovered(),
            self.settings,
            random.Random(self.choose(1 << 30)),
            self.preferred,
        )
        self.carry(server)

    def crash(self, server: Server) -> None:
        self.note(f"crash {server.name}")
        server.paxos = None
        server.disk.crash(self.choose)

    # Inputs

    def input(self, server: Server, name: str, *args: Any) -> Any:
        """Gives a replica an input, and carries out what it wants."""
        paxos = server.paxos
        assert paxos is not None
        role = paxos._role
        result = getattr(paxos, name)(*args, self.tt(server))
        reign = (role.ballot, role.s_max) if isinstance(role, Leader) else (0, 0)
        self.carry(server, reign)
        return result

    def carry(self, server: Server, reign: tuple[int, int] = (0, 0)) -> None:
        """Does what the rules want, in order; a crash may come between any two."""
        if server.paxos is not None and reign[0] and server.paxos._released == reign[0]:
            self.witness.hold(
                self.tt(server).earliest > reign[1], "votes are released before s_max has passed"
            )
            self.witness.abdicated(*reign)
        while server.paxos is not None and (outputs := server.paxos.take()):
            for output in outputs:
                if self.crash_in == 0:
                    self.crash_in = -1
                    self.crash(server)
                    return
                self.crash_in -= self.crash_in > 0
                self.count(type(output).__name__)
                getattr(self, f"_{type(output).__name__}")(server, output, reign)
        if server.paxos is not None:
            self.look(server)

    def look(self, server: Server) -> None:
        """Looks at what a replica believes."""
        paxos, witness, now = server.paxos, self.witness, self.tt(server)
        assert paxos is not None
        if server.member.holds_data:
            witness.claims(server.name, paxos.applied.index, paxos.paxos_safe)
        role = paxos._role
        if isinstance(role, Leader) and role.lease.end:
            witness.leased(server.name, role.ballot, *paxos.lease)
        if term := paxos.term(now):
            witness.hold(self.now < paxos.lease[1], "it leads after the end of its lease")
            witness.hold(term == server.term, "it leads without having said so")
            others = [s for s in self.up() if s is not server and s.paxos and s.paxos.term(self.tt(s))]
            witness.hold(not others, f"{server.name} and {[s.name for s in others]} lead")

    def _Write(self, server: Server, output: out.Write, reign: tuple[int, int]) -> None:
        server.disk.queue.append((output, ()))
        if output.state.vote not in (0, server.vote):
            self.witness.gives(server.name, output.state.vote, self.now)
        server.vote = output.state.vote

    def _Install(self, server: Server, output: out.Install, reign: tuple[int, int]) -> None:
        self.note(f"{server.name} installs {output}")
        if server.member.holds_data:
            server.machine = list(server.fetched)
        server.disk.queue.append((output, server.fetched))

    def _Trim(self, server: Server, output: out.Trim, reign: tuple[int, int]) -> None:
        server.disk.queue.append((output, ()))

    def _Send(self, server: Server, output: out.Send, reign: tuple[int, int]) -> None:
        message, disk, witness = output.message, server.disk, self.witness
        self.count(type(message).__name__)
        if isinstance(message, m.Promise):
            witness.hold(disk.state.promised >= message.ballot, "a promise is told before it is durable")
        if isinstance(message, m.Promise | m.Accepted) and message.vote:
            witness.hold(disk.state.vote >= message.ballot, "a vote is told before it is durable")
            witness.voted(server.name, message.ballot, message.vote)
        if isinstance(message, m.Accepted) and not message.missing:
            witness.hold(disk.last >= message.upto, "ACCEPTED is told before it is durable")
        if isinstance(message, m.Accept | m.Prepare):
            witness.hold(message.ballot not in witness.released, f"{message} after it was released")
            witness.hold(message.vote <= self.now, "v_leader is in the future")
        if isinstance(message, m.Release):
            witness.abdicated(message.ballot)
        for to in output.to:
            witness.hold(to in self.servers and to != server.name, f"a message to {to}")
            if (server.name, to) not in self.cut:
                self.network.append((server.name, to, m.decode(m.encode(message))))

    def _Apply(self, server: Server, output: out.Apply, reign: tuple[int, int]) -> None:
        paxos = server.paxos
        assert paxos is not None
        done = server.machine[-1][0] if server.machine else 0
        for entry in output.entries:
            self.witness.hold(entry.index > done, f"{server.name} applies {entry.index} after {done}")
            done = entry.index
            server.machine.append((entry.index, entry.timestamp, entry.value))
        log = paxos._own.log
        index = output.position.index
        for each in range(max(log.base.index, len(self.witness.chosen)) + 1, index + 1):
            entry = log.entries[each - log.base.index - 1]
            having = [s for s in self.servers.values() if s.member.votes and s.disk.has(each, entry.origin)]
            quorum = len(having) * 2 > sum(s.member.votes for s in self.servers.values())
            self.witness.applied(each, entry.origin, entry.timestamp, entry.value, quorum)
        chosen = self.witness.chosen[index]
        self.witness.hold((output.position.origin, output.position.timestamp) == chosen[:2], "position")
        for each in output.entries:
            self.witness.hold(self.witness.chosen[each.index][1:] == (each.timestamp, each.value), "value")

    def _FetchCheckpoint(self, server: Server, output: out.FetchCheckpoint, reign: Any) -> None:
        self.witness.hold(server.fetch is None, "two checkpoints are fetched at once")
        self.witness.hold(self.servers[output.server].member.holds_data, "a checkpoint of a witness")
        server.fetch = output.server

    def _Leads(self, server: Server, output: out.Leads, reign: tuple[int, int]) -> None:
        self.note(f"{server.name} leads {output.term}")
        server.term, server.asked = output.term, False

    def _Renewed(self, server: Server, output: out.Renewed, reign: tuple[int, int]) -> None:
        server.asked = False

    def _Follows(self, server: Server, output: out.Follows, reign: tuple[int, int]) -> None:
        self.note(f"{server.name} leads no more: {output.leader!r}")
        server.term, server.asked = 0, False

    def _Elsewhere(self, server: Server, output: out.Elsewhere, reign: tuple[int, int]) -> None:
        self.note(f"{server.name}: elsewhere {output.leader!r}")
        server.asked = False

    def _Safe(self, server: Server, output: out.Safe, reign: tuple[int, int]) -> None:
        pass

    # Steps

    def steps(self) -> list[tuple[Any, ...]]:
        """Returns what could happen next besides time, faults and users: `take` does it."""
        steps: list[tuple[Any, ...]] = []
        seen = set()
        for place, (sender, to, _) in enumerate(self.network):
            if to in self.paused or (self.in_order and (sender, to) in seen):
                continue
            seen.add((sender, to))
            steps.append((self.arrive, place))
            if len(steps) > 20:
                break
        for server in self.up():
            if server.disk.queue and server.name not in self.slow and server.name not in self.paused:
                steps.append((self.durable, server))
            if server.fetch is not None and server.name not in self.paused:
                steps.append((self.fetched, server))
        return steps

    def take(self, steps: list[tuple[Any, ...]]) -> None:
        step, *args = steps[self.choose(len(steps))]
        step(*args)

    def arrive(self, place: int, again: bool = False) -> None:
        sender, to, message = self.network[place]
        if not again:
            del self.network[place]
        server = self.servers[to]
        if server.paxos is not None:
            self.input(server, "receive", sender, message)

    def durable(self, server: Server) -> None:
        """Lets one thing, or several, be durable."""
        number = 0
        for _ in range(1 + self.choose(len(server.disk.queue))):
            what = server.disk.step()
            number = getattr(what, "number", number)
        if number:
            self.input(server, "durable", number)

    def fetched(self, server: Server) -> None:
        source = self.servers[server.fetch or ""]
        server.fetch = None
        if source.paxos is None or self.choose(8) == 0:
            self.input(server, "fetched", None)
            return
        if self.choose(2):
            position, machine = source.disk.checkpoint
        else:
            position, machine = source.paxos.applied, tuple(source.machine)
        server.fetched = machine
        self.input(server, "fetched", position)

    def advance(self, most: int = 0) -> None:
        """Lets time pass until something is due, or for so long at most."""
        awake = [s for s in self.up() if s.name not in self.paused]
        due = [(deadline + s.before) for s in awake if s.paxos and (deadline := s.paxos.next_deadline())]
        until = min(due, default=self.now + most)
        if most:
            until = min(until, self.now + most)
        self.now = max(self.now, until)
        for server in awake:
            if server.paxos is not None:
                deadline = server.paxos.next_deadline()
                if deadline is not None and deadline <= self.tt(server).earliest:
                    self.input(server, "tick")

    def bend(self, server: Server) -> None:
        """Moves a clock, and how sure it is, within ε."""
        server.before = self.choose(self.epsilon)
        server.behind = self.choose(self.epsilon)

    def lead(self, server: Server) -> None:
        if server.paxos is not None:
            server.asked = not server.paxos.term(self.tt(server))
            self.input(server, "lead")

    def abdicate(self, server: Server, successor: str = "") -> None:
        paxos = server.paxos
        assert paxos is not None
        role = paxos._role
        paxos.abdicate(self.tt(server), successor)
        self.carry(server, (role.ballot, role.s_max) if isinstance(role, Leader) else (0, 0))

    def propose(self, server: Server, ahead: int = -1) -> int:
        """Proposes something at a server that leads; returns its index, or 0."""
        paxos = server.paxos
        assert paxos is not None
        now = self.tt(server)
        if paxos.last - paxos.applied.index > 30:
            return 0
        try:
            timestamp = paxos.assign(now.latest + 1 + ahead if ahead >= 0 else 0, now)
        except NotLeader:
            return 0
        index = 0
        if timestamp and self.choose(10):
            self.proposals += 1
            start, end = paxos.lease
            self.witness.hold(start < timestamp < end, "a timestamp outside the lease")
            self.witness.hold(self.now < end, "a timestamp is assigned after the end of the lease")
            index = paxos.propose(timestamp, b"%d" % self.proposals)
        self.input_done(server)
        return index

    def input_done(self, server: Server) -> None:
        if self.choose(3):
            self.carry(server)

    def checkpoint(self, server: Server) -> None:
        """Takes a checkpoint, and purges the log behind it, as the schedule decides."""
        paxos, disk = server.paxos, server.disk
        assert paxos is not None
        if not server.member.holds_data or disk.queue or paxos.applied.index > disk.last:
            return
        disk.checkpoint = (paxos.applied, tuple(server.machine))
        if self.choose(2) and paxos.applied.index > disk.base.index:
            index = disk.base.index + 1 + self.choose(paxos.applied.index - disk.base.index)
            entry = disk.entries[index - disk.base.index - 1]
            disk.rebase(Position(index, entry.timestamp, entry.origin), True)
            paxos.compacted(index)
            self.carry(server)

    def heal(self) -> None:
        for trouble in (self.cut, self.paused, self.slow):
            trouble.clear()
        self.crash_in = -1
        for server in self.servers.values():
            if server.paxos is None:
                self.start(server)

    def settle(self, rounds: int = 20_000) -> None:
        """Runs without faults until somebody leads, what it proposes reaches all, and all is quiet; or fails.

        Raises:
            Violation: that takes too long.
        """
        self.heal()
        until = self.now + 120 * SECOND
        wanted = 0
        reached = False
        again = t = 0
        for _ in range(rounds):
            steps = self.steps()
            if steps:
                self.take(steps)
                self.now += self.choose(MS)
            else:
                self.advance(50 * MS if not wanted else SECOND)
            if self.now > until:
                break
            if reached:
                if not steps and all(s.paxos and s.paxos.next_deadline() is None for s in self.up()):
                    return
                continue
            leaders = self.leaders()
            if wanted and all(s.paxos and s.paxos.last < wanted for s in self.up()):
                wanted = 0  # who proposed it led no more, and nobody has it
            if not wanted and leaders:
                wanted = self.propose(leaders[0])
                self.carry(leaders[0])
                t = self.now
            elif not wanted:
                server = (
                    self.servers[self.preferred] if self.preferred else self.up()[self.choose(len(self.up()))]
                )
                if not server.asked and self.now >= again:
                    again = self.now + 50 * MS
                    self.lead(server)
            elif any(s.paxos and s.paxos.applied.index >= wanted for s in self.up()):
                reached = True
                for s in self.up():
                    assert s.paxos is not None
                    has = s.paxos.applied.index >= wanted and s.paxos.paxos_safe >= t
                    if s.member.holds_data and not has:
                        reached = False
                        if s.paxos._own.safe_wanted < t:
                            self.input(s, "safe", t)
        states = [(s.name, s.paxos.applied.index, s.paxos.last) for s in self.up() if s.paxos]
        raise Violation(f"liveness: at {self.now}, {wanted} written, reached: {reached}: {states}")
