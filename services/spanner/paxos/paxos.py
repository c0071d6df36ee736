"""One replica's part in a Paxos group: the inputs and what can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.spanner.paxos.messages import LogEntry
from services.spanner.paxos.outputs import Position, State

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from services.spanner.group import Member
    from services.spanner.paxos.ballots import Ballot
    from services.spanner.paxos.messages import Message
    from services.spanner.paxos.outputs import Output
    from services.spanner.paxos.settings import Settings
    from services.spanner.truetime.interval import Interval


class Recovered(Struct, frozen=True):
    """What a replica finds on its disk when it starts; the defaults are those of the first time.

    Attributes:
        state: of the last `Write`.
        applied: of the checkpoint from which the state machine was loaded (a witness: as `base`).
        base: the log begins after it; not after `applied`. Of the entry there: a checkpoint's, or a `Trim`'s.
        entries: the log, without gaps, up to its end: `Write` and `Install` say what is in it.
    """

    state: State = State()
    applied: Position = Position()
    base: Position = Position()
    entries: tuple[LogEntry, ...] = ()


class Paxos:
    """The rules at one replica."""

    def __init__(
        self,
        server: str,
        members: Sequence[Member],
        recovered: Recovered,
        settings: Settings,
        rng: random.Random,
        preferred: str = "",
    ) -> None:
        """Makes one that does nothing of itself until something is asked of it or comes.

        Args:
            server: the name of this member.
            members: the group's, the same everywhere; their order does not matter.
            recovered: what its disk holds.
            settings: how long to wait for what.
            rng: for waits that should differ between replicas.
            preferred: who should lead, if it can: a hint.

        Raises:
            InvariantBroken: what was recovered contradicts itself.
            ValueError: the server is no member, or nobody may lead.
        """
        raise NotImplementedError

    # What the driver reads

    @property
    def leader(self) -> str:
        """Who leads, as far as this replica knows; "" where it does not."""
        raise NotImplementedError

    def term(self, now: Interval) -> Ballot:
        """Returns the reign's ballot while this replica leads (since `Leads`) and its lease holds; else 0.

        A lease that ran out and is taken again without another reign between is the same reign.
        """
        raise NotImplementedError

    @property
    def lease(self) -> tuple[int, int]:
        """The lease's start and end (Appendix A), of this replica's reign; 0, 0 where there was none.

        It holds while TT.before(end). `Leads` and each extension move it.
        """
        raise NotImplementedError

    @property
    def assigned(self) -> int:
        """s_max: the last timestamp assigned or promised. Only while it leads."""
        raise NotImplementedError

    @property
    def paxos_safe(self) -> int:
        """t_Paxos_safe, once all outputs are carried out: nothing applied later here has a timestamp ≤ it."""
        raise NotImplementedError

    @property
    def applied(self) -> Position:
        """Up to where entries were handed out by `Apply`."""
        raise NotImplementedError

    @property
    def last(self) -> int:
        """The last index of the log, chosen or not."""
        raise NotImplementedError

    @property
    def promised(self) -> Ballot:
        """No ballot below it is accepted."""
        raise NotImplementedError

    def next_deadline(self) -> int | None:
        """When `tick` is due if nothing happens before: once TT.now().earliest has reached it. None: never."""
        raise NotImplementedError

    def take(self) -> list[Output]:
        """Hands over the outputs since the last call."""
        raise NotImplementedError

    # Inputs

    def receive(self, sender: str, message: Message, now: Interval) -> None:
        """Takes a message of another member (others are ignored)."""
        raise NotImplementedError

    def durable(self, number: int, now: Interval) -> None:
        """Notes that the `Write` or `Install` of that number is durable, and all before it."""
        raise NotImplementedError

    def tick(self, now: Interval) -> None:
        """Does what is due."""
        raise NotImplementedError

    def lead(self, now: Interval) -> None:
        """Notes that somebody needs this replica to lead, and its lease to hold.

        Does nothing where `term` says so already. Else `Leads` (a new reign) or `Renewed` (the lease holds again)
        tells when it does, or `Elsewhere` that it does not come to that; asking twice before that is harmless.
        """
        raise NotImplementedError

    def assign(self, at_least: int, now: Interval) -> int:
        """Returns the timestamp of the next entry: above all assigned and promised, not below `at_least`.

        It lies in the lease (3.C 3). 0: the lease does not reach so far yet; `Renewed` tells when to try again.

        Raises:
            NotLeader: this replica does not lead (`services.spanner.group`), or gives leadership away.
            ValueError: it is so far in the future that no lease will reach it.
        """
        raise NotImplementedError

    def propose(self, timestamp: int, value: bytes) -> int:
        """Puts an entry with the timestamp that `assign` returned right before into the log; returns its index.

        It was chosen when `Apply` brings that index while this replica still leads the same reign.
        """
        raise NotImplementedError

    def safe(self, t: int, now: Interval) -> None:
        """Notes that somebody waits for t_Paxos_safe ≥ t: `Safe` tells of each step towards it.

        A leader promises it to itself, if its lease reaches so far; others ask the leader (4.2.4). Asked again
        after longer and longer times until it is reached, or `safe(0)` says that nobody waits any more.
        """
        raise NotImplementedError

    def abdicate(self, now: Interval, successor: str = "") -> None:
        """Gives leadership away (4.1.1): assigns nothing more, waits until all is chosen and TT.after(s_max).

        Then it releases its votes and tells the successor to stand.

        Args:
            now: TT.now().
            successor: a read-write member; "": nobody. A member that does not follow: the most up to date.
        """
        raise NotImplementedError

    def fetched(self, position: Position | None, now: Interval) -> None:
        """Notes that the checkpoint asked for is here (with its header), or could not be fetched: None.

        `Install` follows, or nothing when it is of no use (any more).
        """
        raise NotImplementedError

    def compacted(self, index: int) -> None:
        """Notes that entries up to `index` (not above `applied`) need not be kept: a checkpoint has them."""
        raise NotImplementedError
