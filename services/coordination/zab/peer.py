"""One server's part in the protocol: ELECTION, FOLLOWING (or OBSERVING), LEADING (V).

The inputs are listed in `__init__.py`; each may add outputs, which `take` hands over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.coordination_pb2 import CEpoch, Notification
from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration
from services.coordination.zab import election
from services.coordination.zab.acceptor import Acceptor, Recovered
from services.coordination.zab.election import Election
from services.coordination.zab.follower import Follower, Step
from services.coordination.zab.invariants import InvariantBroken
from services.coordination.zab.leader import Leader
from services.coordination.zab.leader import Phase as Leading
from services.coordination.zab.outputs import Hangup, Looking
from services.coordination.zab.timing import Timing

if TYPE_CHECKING:
    from typing import Any

    from services.coordination.broadcast import Phase
    from services.coordination.zab.outputs import Message, Output

__all__ = ["InvariantBroken", "Peer", "Recovered", "Timing"]

FOREVER = float("inf")


class Peer:
    """Zab at one server. Times are seconds of a clock that never goes back."""

    def __init__(self, server: int, recovered: Recovered, timing: Timing | None = None) -> None:
        """Makes one that does nothing before `start`.

        Args:
            server: its id.
            recovered: what its disk holds. A server that is no participant of that configuration only learns.
            timing: how long to wait for what.

        Raises:
            InvariantBroken: what was recovered contradicts itself.
        """
        self._own = Acceptor(server, recovered)
        self._timing = timing or Timing()
        self._role: Election | Follower | Leader | None = None
        self._vote = election.NOBODY
        self._round = 0
        self._hasty = True  # whether no attempt has failed since there was a leader
        self._waiting: dict[int, CEpoch | None] = {}  # of those who elected this server before it knows

    # What the driver reads

    @property
    def server(self) -> int:
        """This server's id."""
        return self._own.server

    @property
    def phase(self) -> Phase:
        """What it is: "leading" once established, the others once it has what is committed."""
        role = self._role
        if isinstance(role, Leader) and role.phase == Leading.BROADCAST:
            return "leading"
        if isinstance(role, Follower) and role.step == Step.BROADCAST:
            return "following" if self._own.server in self._own.settled.participants else "observing"
        return "looking"

    @property
    def leader(self) -> int | None:
        """Whom it follows (itself, when it leads), once established."""
        if self.phase == "looking":
            return None
        return self._role.leader if isinstance(self._role, Follower) else self._own.server

    @property
    def epoch(self) -> int:
        """f.a."""
        return self._own.current_epoch

    @property
    def accepted_epoch(self) -> int:
        """f.p."""
        return self._own.accepted_epoch

    @property
    def configuration(self) -> Configuration:
        """The ensemble, as of the last delivery (or newer, when a newer one is known to hold)."""
        return self._own.configuration

    @property
    def reconfiguring(self) -> Configuration | None:
        """The configuration that is accepted here and not delivered, if there is one."""
        return self._own.proposed[-1] if self._own.proposed else None

    @property
    def last_zxid(self) -> int:
        """f.zxid: the last accepted, durable or not."""
        return self._own.history.last

    @property
    def committed(self) -> int:
        """The last delivered."""
        return self._own.committed

    @property
    def next_zxid(self) -> int:
        """What the next proposal will be numbered.

        Raises:
            NotLeading: there will be none.
        """
        return self._leading().next_zxid

    @property
    def synchronized(self) -> list[int]:
        """Who takes part in phase 3, this server first; none unless it leads."""
        return self._role.synchronized() if self.phase == "leading" and isinstance(self._role, Leader) else []

    def quorum_of(self, configuration: Configuration) -> bool:
        """Says whether enough servers take part that this configuration could be committed now."""
        return configuration.is_quorum(self.synchronized)

    def next_deadline(self) -> float:
        """When `tick` is due, if nothing happens before."""
        if self._role is None:
            return FOREVER
        return self._role.deadline() if self._role.over is None else 0.0

    def take(self) -> list[Output]:
        """Hands over the outputs since the last call."""
        out = self._own.out
        self._own.out = []
        return out

    # Inputs

    def start(self, now: float) -> None:
        """Begins with an election."""
        self._look("start", now)

    def stop(self, why: str, now: float) -> None:
        """Ends its part for good."""
        if self._role is not None:
            self._role = None
            self._own.out.append(Looking(why))

    def tick(self, now: float) -> None:
        """Does what is due."""
        if self._role is not None:
            self._role.tick(now)
            self._pass_on(now)

    def reachable(self, server: int, now: float) -> None:
        """Tells a server that can be reached (again) the own vote."""
        if self._role is not None and server != self._own.server:
            self._tell(server)

    def connected(self, server: int, now: float) -> None:
        """Notes that an iteration has opened."""
        role = self._role
        if isinstance(role, Follower):
            if role.leader == server:
                role.connected(now)
            else:
                self._own.out.append(Hangup(server, "this server does not lead"))
        elif isinstance(role, Leader):
            role.closed(server)  # an older one with the same server
            self._pass_on(now)
        else:
            self._waiting[server] = None

    def closed(self, server: int, now: float) -> None:
        """Notes that an iteration has ended, or did not open."""
        role = self._role
        self._waiting.pop(server, None)
        if isinstance(role, Leader):
            role.closed(server)
        elif isinstance(role, Follower) and role.leader == server:
            role.closed()
        self._pass_on(now)

    def heard(self, sender: int, message: Message, now: float) -> None:
        """Takes a message."""
        role = self._role
        if type(message) is Notification:
            self._notified(sender, message, now)
        elif type(role) is Leader:
            role.heard(sender, message, now)
        elif type(role) is Follower:
            if sender == role.leader:
                role.heard(message, now)
        elif role is not None and type(message) is CEpoch:
            self._waiting[sender] = message
        if role is not None and (role.over is not None or type(role) is Election):
            self._pass_on(now)

    def saved_accepted_epoch(self, epoch: int, now: float) -> None:
        """Notes that f.p is durable."""
        self._own.saved_accepted_epoch = epoch
        if isinstance(self._role, Leader | Follower):
            self._role.saved_accepted_epoch(now)
            self._pass_on(now)

    def saved_current_epoch(self, epoch: int, now: float) -> None:
        """Notes that f.a is durable, and what was appended, truncated or installed before it."""
        self._own.saved_current_epoch = epoch
        if isinstance(self._role, Leader | Follower):
            self._role.saved_current_epoch(now)
            self._pass_on(now)

    def logged(self, zxid: int, now: float) -> None:
        """Notes that the history is durable up to here."""
        own = self._own
        zxid = min(zxid, own.history.last)  # what was truncated meanwhile does not count
        if zxid > own.logged:
            own.logged = zxid
            role = self._role
            if isinstance(role, Leader | Follower):
                role.logged(now)
                if role.over is not None:
                    self._pass_on(now)

    def purged(self, after: int) -> None:
        """Notes that the history can be served only after this zxid, which a snapshot covers."""
        if after > self._own.committed:
            raise InvariantBroken("what was not delivered yet was purged from the log")
        self._own.history.purge(after)

    def propose(self, transaction: bytes, reconfigure: Configuration | None = None) -> int:
        """Broadcasts a transaction (III: abcast) and returns its zxid.

        Args:
            transaction: what to order.
            reconfigure: the configuration that holds from its delivery on (its version becomes the zxid).

        Raises:
            NotLeading: there is no established leader here, or no zxid is left in this epoch.
            ValueError: a reconfiguration while another is under way.
        """
        role = self._leading()
        if reconfigure is not None and self._own.proposed:
            raise ValueError("another reconfiguration is under way")
        return role.propose(transaction, reconfigure)

    # Between states

    def _leading(self) -> Leader:
        role = self._role
        if type(role) is not Leader or role.phase != Leading.BROADCAST or role.over is not None:
            raise NotLeading
        if role.exhausted():
            role.over = "the counter of zxids is used up: a new epoch is needed"
            raise NotLeading  # `tick` gives up
        return role

    def _pass_on(self, now: float) -> None:
        """Goes to another state when the present one has ended."""
        role = self._role
        if role is None:
            return
        if role.over is not None:
            self._hasty = self.phase != "looking"
            self._look(role.over, now)
        elif isinstance(role, Election) and role.elected is not None:
            self._elected(role, role.elected, now)

    def _look(self, why: str, now: float) -> None:
        """ELECTION."""
        self._waiting.clear()
        self._own.out.append(Looking(why))
        role = self._role = Election(self._own, self._timing, self._round, self._hasty)
        role.start(now)
        self._pass_on(now)

    def _elected(self, outcome: Election, leader: int, now: float) -> None:
        """LEADING, or FOLLOWING: and tells everyone, as the late ones need to know."""
        own = self._own
        self._round, self._vote = outcome.round, outcome.vote._replace(leader=leader)
        waiting, self._waiting = self._waiting, {}
        role: Leader | Follower
        if leader == own.server:
            role = self._role = Leader(own, self._timing)
            role.start(now)
            for server, message in waiting.items():
                if message is not None:
                    role.heard(server, message, now)
        else:
            role = self._role = Follower(own, self._timing, leader)
            for server in waiting:
                own.out.append(Hangup(server, "this server does not lead"))
            role.start(now)
        for member in dict.fromkeys(m.id for electorate in own.electorates for m in electorate.members):
            if member != own.server:
                self._tell(member)
        self._pass_on(now)

    # Votes

    def _notified(self, sender: int, message: Notification, now: float) -> None:
        """Takes a vote: while looking into the election, else to answer those who look."""
        role = self._role
        if role is None or sender == self._own.server:
            return
        if isinstance(role, Election):
            if message.config > self._own.configuration.version and message.members:
                try:
                    self._own.learn(Configuration.parse(message.members))
                except ValueError:
                    return  # it makes no sense, and neither does its vote
                role.start(now)  # others vote now, and perhaps this server does no more, or does from now on
            role.heard(sender, message, now)
        elif message.state == election.LOOKING:
            self._tell(sender)

    def _tell(self, server: int) -> None:
        role = self._role
        state: Any
        if isinstance(role, Election):
            vote, round, state = role.vote, role.round, election.LOOKING
        else:
            vote, round = self._vote, self._round
            if isinstance(role, Leader):
                state = election.LEADING
            else:
                state = election.FOLLOWING if self._own.server in self._own.voters else election.OBSERVING
        self._own.send(server, election.notification(self._own, vote, round, state))
