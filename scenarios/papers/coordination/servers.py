"""The programs: the service's own server, and Zab alone, on machines whose work costs time.

What a message costs its sender and its receiver the machine knows (`rpc_cost`). What a transaction costs
besides is charged where the database and the broadcast meet: making it of a request (`propose`), and
logging, delivering and applying it (`deliver`). The work is put before the processor and delays what comes
after it; the service is as it is, and knows nothing of it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from services.coordination.configuration import Configuration, Member
from services.coordination.peer import SERVER_OPTIONS, Replica
from services.coordination.server import program
from services.coordination.server.settings import Settings
from services.coordination.zab.timing import Timing
from sim.world.loop import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.coordination.broadcast import StateMachine
    from services.host import Host

ALONE = 1  # a batch of one byte: every request, reply and proposal is a message, as in the papers' server
NO_SNAPSHOTS = 1 << 40  # they go to the other drive, and matter only to who restarts


class Charged(Replica):
    """A server's part in the ensemble, whose transactions cost processor time.

    Args:
        host: a simulated one.
        prepare: seconds of one core at the leader, a transaction.
        apply: seconds of one core at every server, a transaction.
        arguments, settings: of `Replica`.
    """

    def __init__(self, host: Host, *arguments: Any, prepare: float, apply: float, **settings: Any) -> None:
        super().__init__(host, *arguments, **settings)
        self._cpu: Any = host.machine.cpu  # type: ignore[attr-defined]
        self._prepare = nanoseconds(prepare)
        self._apply = nanoseconds(apply)

    def propose(self, transaction: bytes, reconfigure: Configuration | None = None) -> int:
        """Broadcasts a transaction, and has its making paid."""
        if self._prepare:
            self._cpu.run(self._prepare, _nothing)
        return super().propose(transaction, reconfigure)

    async def run(self, machine: StateMachine) -> None:
        """Takes part until cancelled."""
        await super().run(_Applied(machine, self._cpu, self._apply))


class _Applied:
    """A state machine whose deliveries cost processor time."""

    def __init__(self, machine: StateMachine, cpu: Any, cost: int) -> None:
        self._machine = machine
        self._cpu = cpu
        self._cost = cost

    def deliver(self, zxid: int, transaction: bytes) -> None:
        if self._cost:
            self._cpu.run(self._cost, _nothing)
        self._machine.deliver(zxid, transaction)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)


def _nothing() -> None:
    """What is done when the work is."""


async def serve(
    host: Host,
    *,
    server: int,
    members: Sequence[str],
    prepare: float,
    apply: float,
    tick: float,
    snap_count: int = NO_SNAPSHOTS,
    **settings: Any,
) -> None:
    """Is a server of the ensemble, as `services.coordination.server.serve` is, on a machine of the paper's.

    Args:
        host: a simulated one.
        server, members, tick, snap_count, settings: as there.
        prepare, apply: see `Charged`.
    """
    chosen = Settings(tick=tick, batch=ALONE, **settings)
    await program.run(
        host,
        Configuration.of(map(Member.parse, members)),
        server,
        chosen,
        lambda front: program.grpc_door(host, front, chosen),
        timing=Timing(tick=tick),
        snap_count=snap_count,
        broadcast=partial(Charged, prepare=prepare, apply=apply),
    )


class Generator:
    """The leader of Zab's experiments: it makes transactions itself, so many at a time; no client asks.

    Args:
        size: bytes of one.
        outstanding: proposed and not delivered.
        wait_s: seconds from the making of one to its proposal.
        told: called with the seconds from the making of each to its delivery at the leader.
    """

    def __init__(self, size: int, outstanding: int, wait_s: float, told: Callable[[float], None]) -> None:
        self._transaction = bytes(size)
        self._outstanding = outstanding
        self._wait_s = wait_s
        self._told = told
        self._made: dict[int, float] = {}
        self._leads = False
        self.delivered = 0

    def attach(self, broadcast: Replica) -> None:
        """Tells what it stands on."""
        self._broadcast = broadcast

    def ready(self, epoch: int) -> None:
        """Begins: the first ones."""
        self._leads = True
        for _ in range(self._outstanding):
            self._make()

    def deliver(self, zxid: int, transaction: bytes) -> None:
        """Makes another in the place of one that is delivered."""
        self.delivered += 1
        made = self._made.pop(zxid, None)
        if made is not None and self._leads:
            self._told(asyncio.get_running_loop().time() - made)
            self._make()

    def _make(self) -> None:
        loop = asyncio.get_running_loop()
        if self._wait_s:
            loop.call_later(self._wait_s, self._propose, loop.time())
        else:
            self._propose(loop.time())

    def _propose(self, made: float) -> None:
        if self._leads:
            self._made[self._broadcast.propose(self._transaction)] = made

    def looking(self, why: str) -> None:
        """Does not lead any more."""
        self._leads = False

    def following(self, leader: int) -> None:
        """Has nothing to do: it only delivers."""

    def heard(self, sender: int, message: Any) -> None:
        """Nobody sends anything along."""

    def lost(self, server: int) -> None:
        """Has nothing to do."""

    def touched(self) -> list[int]:
        """There are no sessions."""
        return []


async def broadcast(
    host: Host,
    *,
    server: int,
    members: Sequence[str],
    prepare: float,
    apply: float,
    tick: float,
    size: int,
    outstanding: int,
    wait_s: float = 0.0,
) -> None:
    """Is a server of Zab alone: whoever leads makes the transactions.

    Args:
        host: a simulated one; its simulation keeps what is told in `told`, by host.
        server, members, tick: as of `services.coordination.server.serve`.
        prepare, apply: see `Charged`.
        size, outstanding, wait_s: see `Generator`.
    """
    told: list[float] = host.machine.simulation.__dict__["told"].setdefault(host.name, [])  # type: ignore[attr-defined]
    configuration = Configuration.of(map(Member.parse, members))
    me = configuration.member(server)
    assert me is not None
    replica = Charged(
        host,
        server,
        configuration,
        prepare=prepare,
        apply=apply,
        timing=Timing(tick=tick),
        snap_count=NO_SNAPSHOTS,
        batch=ALONE,
    )
    generator = Generator(size, outstanding, wait_s, told.append)
    generator.attach(replica)
    peers = host.serve(me.quorum_port, options=SERVER_OPTIONS)
    replica.add_to(peers)
    await peers.start()
    try:
        await replica.run(generator)  # type: ignore[arg-type]  # it takes no snapshots
    finally:
        await peers.stop(None)
