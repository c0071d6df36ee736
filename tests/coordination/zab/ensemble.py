"""Servers of pure rules on a network and disks that a schedule decides about.

Every step is a choice: which message arrives, which disk is done, who crashes. A schedule is a function that
chooses below a number: a seeded generator, or a list of recorded choices.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from protos.coordination_pb2 import AckEpoch, AckLeader, CEpoch, Notification, Propose, Snapshot
from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration, Member
from services.coordination.zab import outputs as out
from services.coordination.zab.election import Election
from services.coordination.zab.peer import Peer, Timing
from tests.coordination.zab.disk import Disk, Entry
from tests.coordination.zab.witness import Violation, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OPEN, CLOSE = "open", "close"
TIMING = Timing(tick=1.0, init_limit=4, sync_limit=3)
MAX_OUTSTANDING = 30
MAX_VOTES = 4  # of one server under way to another: newer votes push out older ones


def configuration(
    participants: Iterable[int], observers: Iterable[int] = (), version: int = 0
) -> Configuration:
    """Returns one of servers called s1, s2, ..."""
    members = [Member(number, f"s{number}") for number in participants]
    members += [Member(number, f"s{number}", role="observer") for number in observers]
    return Configuration.of(members, version)


@dataclass(eq=False)
class Iteration:
    """A connection: both queues in order, and who has let go of it."""

    follower: int
    leader: int
    queues: dict[int, deque[Any]]  # to whom
    gone: set[int] = field(default_factory=set)

    def other(self, server: int) -> int:
        """Returns the other end."""
        return self.leader if server == self.follower else self.follower


class Server:
    """One server: its disk, and while it is up its rules and what its driver keeps."""

    def __init__(self, number: int, first: Configuration) -> None:
        self.number = number
        self.disk = Disk(first)
        self.incarnation = 0
        self.peer: Peer | None = None
        self.history: list[Entry] = []  # in memory: what is durable and what is not yet
        self.delivered: list[tuple[int, bytes]] = []
        self.iterations: dict[int, Iteration] = {}
        self.pieces = b""
        self.ready = False
        self.synchronized: int | None = None


class Ensemble:
    """All of it."""

    def __init__(self, first: Configuration, others: Iterable[int], choose: Callable[[int], int]) -> None:
        """Makes servers, all down.

        Args:
            first: the configuration that all know.
            others: servers that are not in it yet.
            choose: returns a number below the one given.
        """
        self.choose = choose
        self.now = 0.0
        self.witness = Witness()
        self.servers = {m.id: Server(m.id, first) for m in first.members}
        self.servers.update({number: Server(number, first) for number in others})
        self.votes: dict[tuple[int, int], deque[Any]] = {}
        self.open: list[Iteration] = []
        self.cut: set[tuple[int, int]] = set()  # from, to
        self.paused: set[int] = set()  # servers that hear nothing, and are not told of time
        self.slow: set[int] = set()  # whose disks stand still
        self.proposals = 0
        self.crash_in = -1  # outputs until the server that carries them out dies
        self.counts: dict[str, int] = {}  # outputs, by kind
        self.log: list[str] | None = None

    # Servers

    def up(self) -> list[Server]:
        """Returns those that run."""
        return [server for server in self.servers.values() if server.peer is not None]

    def start(self, server: Server) -> None:
        """Starts one on what its disk holds."""
        disk = server.disk
        recovered = disk.recover()
        server.history = list(disk.log)
        server.delivered = list(disk.snapshot[1])
        server.ready, server.synchronized, server.pieces = False, None, b""
        self.witness.told(server.number, recovered.accepted_epoch, recovered.current_epoch)
        server.peer = Peer(server.number, recovered, TIMING)
        server.incarnation += 1
        self.note(f"start {server.number}")
        server.peer.start(self.now)
        for other in self.up():
            if other is not server and other.peer is not None:
                other.peer.reachable(server.number, self.now)
                self.carry(other)
        self.carry(server)

    def crash(self, server: Server) -> None:
        """Kills one: what it had not made durable is lost, as the schedule decides."""
        self.note(f"crash {server.number}")
        server.peer = None
        server.disk.crash(self.choose)
        for iteration in list(server.iterations.values()):
            self.let_go(server, iteration)
        for pair in self.votes:
            if server.number in pair:
                self.votes[pair].clear()

    def note(self, what: str) -> None:
        """Keeps a line of the story, when somebody wants it."""
        if self.log is not None:
            self.log.append(f"{self.now:8.3f} {what}")

    # Iterations

    def let_go(self, server: Server, iteration: Iteration) -> None:
        """Ends an iteration at one end; the other learns of it after what was sent, or after some of it."""
        if server.iterations.get(iteration.other(server.number)) is iteration:
            del server.iterations[iteration.other(server.number)]
        iteration.gone.add(server.number)
        iteration.queues[server.number].clear()
        other = iteration.other(server.number)
        if other in iteration.gone:
            if iteration in self.open:
                self.open.remove(iteration)
        else:
            iteration.queues[other].append(CLOSE)

    def break_off(self, iteration: Iteration) -> None:
        """Breaks one in the middle: what is under way is lost, and both ends learn of it."""
        for end, queue in iteration.queues.items():
            if end not in iteration.gone:
                queue.clear()
                queue.append(CLOSE)

    def arrive(self, iteration: Iteration, to: int) -> None:
        """Lets the next message of an iteration arrive."""
        server = self.servers[to]
        message = iteration.queues[to].popleft()
        if server.peer is None:  # nobody listens: refused, or reset
            self.let_go(server, iteration)
            return
        other = iteration.other(to)
        if message is CLOSE:
            iteration.gone.add(to)
            if other in iteration.gone and iteration in self.open:
                self.open.remove(iteration)
            known = server.iterations.get(other) is iteration
            if known:
                del server.iterations[other]
            if known or to == iteration.follower:
                server.peer.closed(other, self.now)
        elif message is OPEN:
            older = server.iterations.get(other)
            if older is not None and older is not iteration:
                self.let_go(server, older)
            server.iterations[other] = iteration
            server.peer.connected(other, self.now)
        elif server.iterations.get(other) is iteration:
            server.peer.heard(other, message, self.now)
        self.carry(server)

    # Outputs

    def carry(self, server: Server) -> None:
        """Does what the rules want, in order; a crash may come between any two."""
        while server.peer is not None and (outputs := server.peer.take()):
            for output in outputs:
                if self.crash_in == 0:
                    self.crash_in = -1
                    self.crash(server)
                    return
                self.crash_in -= self.crash_in > 0
                kind = type(output).__name__
                self.counts[kind] = self.counts.get(kind, 0) + 1
                getattr(self, f"_{kind}")(server, output)

    def post(self, server: Server, to: int, message: Any) -> None:
        """Sends."""
        kind = type(message)
        if kind is Notification:
            queue = self.votes.setdefault((server.number, to), deque(maxlen=MAX_VOTES))
            if (server.number, to) not in self.cut:
                queue.append(message)
            return
        if kind is CEpoch:
            self.witness.told(server.number, message.promised, 0)
        elif kind is AckEpoch:
            self.witness.told(server.number, server.disk.accepted_epoch, message.current)
        elif kind is AckLeader and server.disk.current_epoch != message.epoch:
            raise Violation("ACK-LD before f.a is durable")
        iteration = server.iterations.get(to)
        if iteration is not None and to not in iteration.gone:
            iteration.queues[to].append(message)

    def _Send(self, server: Server, output: out.Send) -> None:
        self.post(server, output.to, output.message)

    def _SendAll(self, server: Server, output: out.SendAll) -> None:
        for to in output.to:
            self.post(server, to, output.message)

    def _Follow(self, server: Server, output: out.Follow) -> None:
        iteration = Iteration(
            server.number,
            output.leader,
            {output.leader: deque([OPEN]), server.number: deque([OPEN])},
        )
        older = server.iterations.get(output.leader)
        if older is not None:
            raise Violation("an iteration was not ended before the next")
        server.iterations[output.leader] = iteration
        self.open.append(iteration)

    def _Hangup(self, server: Server, output: out.Hangup) -> None:
        self.note(f"{server.number} hangs up on {output.server}: {output.why}")
        if (iteration := server.iterations.get(output.server)) is not None:
            self.let_go(server, iteration)

    def _SaveAcceptedEpoch(self, server: Server, output: out.SaveAcceptedEpoch) -> None:
        server.disk.ask(output)

    def _SaveCurrentEpoch(self, server: Server, output: out.SaveCurrentEpoch) -> None:
        server.disk.ask(output)

    def _Append(self, server: Server, output: out.Append) -> None:
        server.history.append((output.zxid, output.transaction, output.members))
        server.disk.ask(output)

    def _Truncate(self, server: Server, output: out.Truncate) -> None:
        server.history = [entry for entry in server.history if entry[0] <= output.zxid]
        server.disk.ask(output)

    def _Install(self, server: Server, output: out.Install) -> None:
        server.pieces += output.chunk
        if output.last:
            state = tuple(msgspec.msgpack.decode(server.pieces, type=list[tuple[int, bytes]]))
            server.pieces = b""
            server.history = []
            server.delivered = list(state)
            server.disk.ask((output.zxid, state, output.members))

    def _SendHistory(self, server: Server, output: out.SendHistory) -> None:
        for zxid, transaction, members in server.history:
            if output.after < zxid <= output.upto:
                message = Propose(zxid=zxid, transaction=transaction, members=members)
                self.post(server, output.to, message)

    def _SendSnapshot(self, server: Server, output: out.SendSnapshot) -> None:
        assert server.peer is not None
        zxid = server.delivered[-1][0] if server.delivered else 0
        state = msgspec.msgpack.encode(server.delivered)
        half = len(state) // 2
        self.post(server, output.to, Snapshot(zxid=zxid, chunk=state[:half]))
        self.post(
            server,
            output.to,
            Snapshot(zxid=zxid, chunk=state[half:], last=True, members=output.members),
        )
        self._SendHistory(server, out.SendHistory(output.to, zxid, output.upto))

    def _Deliver(self, server: Server, output: out.Deliver) -> None:
        assert server.peer is not None
        last = server.delivered[-1][0] if server.delivered else 0
        for zxid, transaction, _ in server.history:
            if last < zxid <= output.zxid:
                self.witness.delivered(len(server.delivered), zxid, transaction)
                server.delivered.append((zxid, transaction))
        if not server.delivered or server.delivered[-1][0] != output.zxid:
            raise Violation(f"{output.zxid:x} is delivered, which is not in the history")
        if not server.synchronized:  # it leads
            for electorate in [server.peer.configuration]:
                self.witness.committed(
                    output.zxid, electorate, lambda n: self.servers[n].disk.last >= output.zxid
                )

    def _Activated(self, server: Server, output: out.Activated) -> None:
        if output.configuration.version > server.disk.configuration.version:
            server.disk.configuration = output.configuration

    def _Ready(self, server: Server, output: out.Ready) -> None:
        self.note(f"{server.number} leads epoch {output.epoch}")
        self.witness.established(output.epoch, server.number, server.incarnation, len(server.delivered))
        server.ready = True

    def _Synchronized(self, server: Server, output: out.Synchronized) -> None:
        server.synchronized = output.leader

    def _Looking(self, server: Server, output: out.Looking) -> None:
        self.note(f"{server.number} looks: {output.why}")
        server.ready, server.synchronized, server.pieces = False, None, b""
        for iteration in list(server.iterations.values()):
            self.let_go(server, iteration)

    def _Heard(self, server: Server, output: out.Heard) -> None:
        pass

    def _Lost(self, server: Server, output: out.Lost) -> None:
        pass

    # Steps

    def steps(self) -> list[tuple[Any, ...]]:
        """Returns what could happen next besides time and faults: `take` does it."""
        steps: list[tuple[Any, ...]] = []
        cut, paused = self.cut, self.paused
        for iteration in self.open:
            for to, queue in iteration.queues.items():
                if queue and to not in iteration.gone:
                    passes = (iteration.other(to), to) not in cut and to not in paused
                    if passes or queue[0] is CLOSE:
                        steps.append((self.arrive, iteration, to))
        for pair, queue in self.votes.items():
            if queue and pair not in cut and pair[1] not in paused and self.servers[pair[1]].peer is not None:
                steps.append((self.vote, *pair))
        for number, server in self.servers.items():
            busy = (server.disk.asked or server.disk.epochs) and server.peer is not None
            if busy and number not in self.slow and number not in paused:
                steps += [(self.durable, server, step) for step in server.disk.busy]
        return steps

    def take(self, steps: list[tuple[Any, ...]]) -> None:
        """Takes one of these steps, as the schedule decides."""
        do, *arguments = steps[self.choose(len(steps))]
        do(*arguments)

    def vote(self, sender: int, to: int) -> None:
        """Lets the votes arrive that one has sent to another."""
        queue, server = self.votes[sender, to], self.servers[to]
        while queue and server.peer is not None:
            server.peer.heard(sender, queue.popleft(), self.now)
            self.carry(server)

    def durable(self, server: Server, step: Callable[[], Any]) -> None:
        """Lets something be durable; the rules are told, of the log for several at once now and then."""
        what = step()
        assert server.peer is not None
        if isinstance(what, out.SaveAcceptedEpoch):
            server.peer.saved_accepted_epoch(what.epoch, self.now)
        elif isinstance(what, out.SaveCurrentEpoch):
            server.peer.saved_current_epoch(what.epoch, self.now)
        elif not isinstance(what, out.Truncate):
            server.peer.logged(server.disk.last, self.now)
        self.carry(server)

    def advance(self) -> None:
        """Lets time pass until something is due."""
        awake = [server for server in self.up() if server.number not in self.paused]
        due = min((server.peer.next_deadline() for server in awake if server.peer), default=self.now)
        self.now = max(self.now, due)
        for server in awake:
            if server.peer is not None and server.peer.next_deadline() <= self.now:
                server.peer.tick(self.now)
                self.carry(server)

    def nominate(self, server: Server, leader: int) -> None:
        """Plays the oracle (IV), which may nominate anyone: nothing but time may depend on it."""
        assert server.peer is not None
        role = server.peer._role
        if isinstance(role, Election):
            role.elected = leader
            server.peer.closed(0, self.now)  # an input that means nothing
            self.carry(server)

    def propose(self, server: Server, reconfigure: Configuration | None = None) -> int | None:
        """Broadcasts something new, if this server may."""
        if server.peer is None or not server.ready:
            return None
        if server.peer.last_zxid - server.peer.committed > MAX_OUTSTANDING:
            return None
        self.proposals += 1
        transaction = b"%d" % self.proposals
        try:
            zxid = server.peer.propose(transaction, reconfigure)
        except (NotLeading, ValueError):
            return None
        self.witness.proposed(zxid, transaction)
        self.carry(server)
        return zxid

    def keep_snapshot(self, server: Server) -> None:
        """Takes a snapshot, and purges the log behind it, as the schedule decides."""
        peer, disk = server.peer, server.disk
        assert peer is not None
        if peer.committed > disk.last or not server.delivered or disk.asked:
            return
        disk.snapshot = (peer.committed, tuple(server.delivered))
        purged = [entry[0] for entry in disk.log if entry[0] <= peer.committed]
        if purged and self.choose(2):
            after = purged[self.choose(len(purged))]
            disk.log = [entry for entry in disk.log if entry[0] > after]
            server.history = [entry for entry in server.history if entry[0] > after]
            disk.oldest = after
            peer.purged(after)

    def heal(self) -> None:
        """Ends all troubles."""
        for trouble in (self.cut, self.paused, self.slow):
            trouble.clear()
        for server in self.servers.values():
            if server.peer is None:
                self.start(server)

    def settle(self, rounds: int = 20_000) -> None:
        """Runs without faults until all servers have a leader and what it proposes reaches all; or fails.

        Raises:
            Violation: that takes too long (VI: liveness).
        """
        self.heal()
        until = self.now + 60
        wanted: int | None = None
        for _ in range(rounds):
            steps = self.steps()
            if steps:
                self.take(steps)
            else:
                self.advance()
            if self.now > until:
                break
            if wanted is None:
                leaders = [server for server in self.up() if server.ready]
                if len(leaders) == 1 and all(s.ready or s.synchronized for s in self.up()):
                    wanted = self.propose(leaders[0])
            elif all(s.delivered and s.delivered[-1][0] >= wanted for s in self.up()):
                return
            elif not any(server.ready for server in self.up()):
                wanted = None
        phases = {s.number: (s.peer.phase, s.peer.epoch, s.peer.last_zxid) for s in self.up() if s.peer}
        raise Violation(f"liveness: at {self.now:.1f} (until {until:.1f}) {phases}")
