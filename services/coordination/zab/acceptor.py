"""What a server promises, accepts and delivers: the variables of IV, whatever role it has now.

f.p, f.a, h_f and f.zxid are here as of the last output: some of it may not be durable yet, and no other
server is told of what depends on it before it is.

Of the configurations in a history all but the last are committed, because a leader proposes one at a time and
only when all before its epoch is committed. So at most two count: what holds, and what is proposed to hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.coordination.configuration import Configuration
from services.coordination.zab import invariants
from services.coordination.zab.history import History
from services.coordination.zab.outputs import (
    Activated,
    Append,
    Deliver,
    Install,
    SaveAcceptedEpoch,
    SaveCurrentEpoch,
    Send,
    Truncate,
)

if TYPE_CHECKING:
    from services.coordination.zab.outputs import Message, Output


class Recovered(Struct, frozen=True):
    """What a server finds on its disk when it starts; the defaults are those of the first time.

    Attributes:
        configuration: the newest that is known to hold: of the snapshot, or of an `Activated` since.
        accepted_epoch: f.p.
        current_epoch: f.a.
        committed: the state machine has all up to this one, from the snapshot (0: none).
        oldest: the log can serve what comes after this one; not above `committed`.
        ends: the last zxid of each epoch that is in the log, ascending; none when there is nothing after
            `oldest`. reconfigurations: the configurations (`Append.members`) that are in the log,
            ascending.
    """

    configuration: Configuration
    accepted_epoch: int = 0
    current_epoch: int = 0
    committed: int = 0
    oldest: int = 0
    ends: tuple[int, ...] = ()
    reconfigurations: tuple[Configuration, ...] = ()


class Acceptor:
    """One server's promises and history. Outputs are collected in `out`."""

    def __init__(self, server: int, recovered: Recovered) -> None:
        self.server = server
        self.out: list[Output] = []
        self.accepted_epoch = self.saved_accepted_epoch = recovered.accepted_epoch
        self.current_epoch = self.saved_current_epoch = recovered.current_epoch
        self.seen_epoch = 0  # the highest that a member said it has promised: to choose above it
        self.history = History(recovered.oldest, recovered.ends)
        self.logged = self.history.last
        self.committed = recovered.committed
        self.configuration = recovered.configuration
        self.proposed = [c for c in recovered.reconfigurations if c.version > self.configuration.version]
        invariants.delivered_stays(self.committed, self.history.last)
        invariants.delivered_stays(self.history.oldest, self.committed)

    def send(self, to: int, message: Message) -> None:
        """Sends to one."""
        self.out.append(Send(to, message))

    # Who counts

    @property
    def settled(self) -> Configuration:
        """The configuration that holds, as far as this server can know."""
        return self.proposed[-2] if len(self.proposed) > 1 else self.configuration

    @property
    def electorates(self) -> tuple[Configuration, ...]:
        """Those of which a quorum each must agree: also what is accepted and perhaps committed."""
        return (self.settled, self.proposed[-1]) if self.proposed else (self.configuration,)

    @property
    def voters(self) -> list[int]:
        """The participants of any electorate: each may be the one that has what is perhaps committed."""
        return list(
            dict.fromkeys(voter for electorate in self.electorates for voter in electorate.participants)
        )

    def learn(self, configuration: Configuration) -> bool:
        """Takes over a configuration that is known to hold; returns whether it is newer than what was."""
        if configuration.version <= self.configuration.version:
            return False
        self.configuration = configuration
        self.proposed = [c for c in self.proposed if c.version > configuration.version]
        self.out.append(Activated(configuration))
        return True

    # Epochs

    def promise(self, epoch: int) -> None:
        """Accepts nothing of earlier epochs from now on: f.p = e' (phase 1)."""
        invariants.promises_grow(self.accepted_epoch, epoch)
        self.accepted_epoch = epoch
        self.out.append(SaveAcceptedEpoch(epoch))

    def enter(self, epoch: int) -> None:
        """Takes what it has as the initial history of an epoch: f.a = e' (phase 2)."""
        invariants.enters_what_it_promised(self.accepted_epoch, self.current_epoch, epoch)
        self.current_epoch = epoch
        self.out.append(SaveCurrentEpoch(epoch))

    # History

    def accept(self, zxid: int, transaction: bytes, members: str) -> None:
        """Adds a proposal to the history.

        Raises:
            ValueError: `members` is no configuration.
        """
        history = self.history
        invariants.accepts_in_order(history.last, zxid)
        if members and zxid > self.configuration.version:
            self.proposed.append(Configuration(Configuration.parse(members).members, zxid))
        history.append(zxid)
        self.out.append(Append(zxid, transaction, members))

    def truncate(self, zxid: int) -> None:
        """Removes what comes after `zxid`, which no quorum has."""
        invariants.delivered_stays(self.committed, zxid)
        invariants.truncates_to_what_it_has(self.history.common(zxid), zxid)
        self.history.truncate(zxid)
        self.logged = min(self.logged, zxid)
        self.proposed = [c for c in self.proposed if c.version <= zxid]
        self.out.append(Truncate(zxid))

    def install(self, zxid: int, chunk: bytes, last: bool, members: str) -> None:
        """Takes a piece of a snapshot; with the last one it is the history."""
        invariants.delivered_stays(self.committed, zxid)
        configuration = Configuration.parse(members) if members else None
        self.out.append(Install(zxid, chunk, last, members))
        if last:
            self.history.replace(zxid)
            self.committed = zxid
            self.proposed = []
            if configuration is not None:
                self.learn(configuration)

    def deliver(self, zxid: int) -> bool:
        """Delivers up to `zxid`; returns whether that changed the configuration."""
        if zxid <= self.committed:
            return False
        invariants.delivers_what_it_accepted(self.history.last, zxid)
        self.committed = zxid
        self.out.append(Deliver(zxid))
        changed = False
        while self.proposed and self.proposed[0].version <= zxid:
            changed = self.learn(self.proposed[0]) or changed
        return changed
