"""Ensembles in the simulated world: what servers deliver, and how they come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from protos.coordination_pb2 import Forward, Pong, Synced
from protos.trace import Note
from services.coordination.broadcast import NotLeading
from services.coordination.configuration import Configuration, Member
from services.coordination.peer import Replica, replica
from services.coordination.storage import StorageFailed
from services.recorder import Recorder
from sim import faults as f
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.coordination.peer import machine
from tests.coordination.peer.machine import RUNNING, Journal, ensemble, serve, until


class World:
    """A simulated ensemble.

    Attributes:
        notes: what the servers wrote to the trace: host, name, fields.
    """

    def __init__(self, seed: int, size: int, observers: int = 0, **options: Any) -> None:
        self.notes: list[tuple[str, str, dict[str, Any]]] = []
        self.simulation = Simulation(seed, limit_s=600, recorder=Recorder(keep=self._keep))
        self.faults = Faults(self.simulation)
        self.size = size
        self.options = {"members": str(ensemble(size, observers)), **options}

    def _keep(self, records: list[Any]) -> None:
        self.notes += [(r.host, r.name, r.fields) for r in records if isinstance(r, Note)]

    def told(self, host: str, name: str) -> list[dict[str, Any]]:
        """Returns the notes of a host."""
        assert self.simulation.trace is not None
        self.simulation.trace.flush()
        return [fields for where, what, fields in self.notes if (where, what) == (host, name)]

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        RUNNING.clear()
        machine.JOURNAL = Journal

        async def main() -> None:
            for number in range(1, self.size + 1):
                self.simulation.boot(f"zk{number}", serve, self.options)
            await self.leading()
            await story(self)

        self.simulation.run(main())

    async def leading(self, but: str = "") -> str:
        """Waits for a leader that everybody who is up follows, and returns its host."""

        def leaders() -> list[str]:
            up = [h for h in RUNNING if h != but and self.simulation.machines[h].running]
            phases = [RUNNING[host][1].phase for host in up]
            return [h for h in up if RUNNING[h][1].phase == "leading"] if "looking" not in phases else []

        await until(lambda: len(leaders()) == 1 and len(RUNNING) == self.size)
        return leaders()[0]

    def replica(self, host: str) -> Replica:
        return RUNNING[host][1]

    def journal(self, host: str) -> Journal:
        return RUNNING[host][0]

    def propose(self, host: str, *transactions: bytes) -> list[int]:
        """Has a server propose."""
        process = self.simulation.machines[host].host.process
        return [
            process.context.copy().run(self.replica(host).propose, transaction)
            for transaction in transactions
        ]

    async def everywhere(self, *transactions: bytes, but: str = "") -> None:
        """Waits until all have delivered exactly these."""
        hosts = [host for host in RUNNING if host != but]
        await until(
            lambda: all([t for _, t in self.journal(h).delivered] == list(transactions) for h in hosts)
        )


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_all_deliver_what_the_leader_proposes_in_order(size: int) -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        zxids = world.propose(leader, *numbers(0, 500))
        await world.everywhere(*numbers(0, 500))
        for host in RUNNING:
            assert [zxid for zxid, _ in world.journal(host).delivered] == zxids
        assert zxids[0] == (1 << 32) + 1 and zxids[-1] == (1 << 32) + 500
        for host in RUNNING:
            if host != leader:
                with pytest.raises(NotLeading):
                    world.propose(host, b"not here")

    World(1, size).run(story)


def test_a_quorum_goes_on_without_its_leader_which_comes_back_as_a_follower() -> None:
    async def story(world: World) -> None:
        first = await world.leading()
        world.propose(first, b"a")
        await world.everywhere(b"a")
        world.simulation.machines[first].crash()
        second = await world.leading(but=first)
        world.propose(second, b"b")
        await world.everywhere(b"a", b"b", but=first)
        world.simulation.machines[first].restart()
        await world.everywhere(b"a", b"b")
        assert (
            world.replica(second).epoch == 2 and ("following", int(second[2:])) in world.journal(first).told
        )

    World(2, 3).run(story)


def test_what_no_quorum_has_is_truncated() -> None:
    async def story(world: World) -> None:
        old = await world.leading()
        world.propose(old, b"a")
        await world.everywhere(b"a")
        world.faults.inject(f.Isolate(host=old))
        world.propose(old, b"lost", b"too")
        new = await world.leading(but=old)
        world.propose(new, b"b")
        await world.everywhere(b"a", b"b", but=old)
        world.faults.heal()
        await world.everywhere(b"a", b"b")
        assert [fields["zxid"] for fields in world.told(old, "truncate")] == [(1 << 32) + 1]
        # Durably: a restart does not bring it back.
        world.simulation.machines[old].crash()
        world.simulation.machines[old].restart()
        await world.everywhere(b"a", b"b")

    World(3, 3).run(story)


@pytest.mark.parametrize("crash", [False, True])
def test_who_is_too_far_behind_is_sent_a_snapshot(crash: bool) -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        behind = next(host for host in RUNNING if host != leader)
        world.propose(leader, *numbers(0, 5))
        await world.everywhere(*numbers(0, 5))
        world.simulation.machines[behind].crash()
        for start in range(5, 305, 20):
            world.propose(leader, *numbers(start, start + 20))
            await world.everywhere(*numbers(0, start + 20), but=behind)
        world.simulation.machines[behind].restart()
        await world.everywhere(*numbers(0, 305))
        assert len(world.told(behind, "install snapshot")) == 1
        world.propose(leader, b"more")
        await world.everywhere(*numbers(0, 305), b"more")
        if crash:
            world.simulation.machines[behind].crash()
            world.simulation.machines[behind].restart()
            await world.everywhere(*numbers(0, 305), b"more")
            assert len(world.told(behind, "install snapshot")) == 1

    World(4, 3, snap_count=30, keep_snapshots=1).run(story)


def test_old_snapshots_and_segments_go() -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        for start in range(0, 600, 10):
            world.propose(leader, *numbers(start, start + 10))
            await world.everywhere(*numbers(0, start + 10))
        for host in RUNNING:
            disk = world.simulation.machines[host].disk
            assert len([name for name in disk.list_now("data") if name.startswith("snapshot")]) == 2
            assert len([name for name in disk.list_now("log") if name.startswith("segment")]) <= 4
            world.simulation.machines[host].crash()
            world.simulation.machines[host].restart()
        await world.everywhere(*numbers(0, 600))

    World(5, 3, snap_count=50, keep_snapshots=2).run(story)


@pytest.mark.parametrize("fault", [f.SyncFails, f.DiskFull])
@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_server_whose_disk_fails_steps_down_and_says_why(fault: Any, who: str) -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        hurt = leader if who == "leader" else next(host for host in RUNNING if host != leader)
        world.propose(leader, b"a")
        await world.everywhere(b"a")
        world.faults.inject(fault(host=hurt))
        world.propose(leader, b"b")
        await until(lambda: not world.simulation.machines[hurt].running)
        journal = world.journal(hurt)
        last = journal.told[-1]
        assert last[0] == "looking" and f"the disk of server {hurt[2:]} fails" in last[1]
        assert "nothing more is acknowledged" in last[1]
        ((name, error),) = world.simulation.failures
        assert name == hurt and isinstance(error, StorageFailed)
        now = await world.leading(but=hurt)
        world.propose(now, b"c")
        others = [host for host in RUNNING if host != hurt]
        await until(lambda: all(world.journal(host).delivered[-1][1] == b"c" for host in others))
        delivered = [transaction for _, transaction in world.journal(now).delivered]
        assert delivered in ([b"a", b"b", b"c"], [b"a", b"c"]) and (who == "leader" or b"b" in delivered)
        world.faults.heal()
        world.simulation.machines[hurt].restart()
        await world.everywhere(*delivered)

    World(6, 3).run(story)


def test_a_follower_that_does_not_take_what_it_is_sent_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.outbox.LIMIT", 1 << 20)

    async def story(world: World) -> None:
        leader = await world.leading()
        slow = next(host for host in RUNNING if host != leader)
        world.faults.inject(f.Pause(host=slow))
        big = [b"%03d" % number * 10_000 for number in range(150)]
        for one in big:
            world.propose(leader, one)
            await asyncio.sleep(0.001)
        await world.everywhere(*big, but=slow)
        assert world.told(leader, "cut off") == [{"server": int(slow[2:])}]
        world.faults.heal()
        await world.everywhere(*big)

    World(7, 3).run(story)


def test_what_rides_along_comes_in_order_with_proposals() -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        host = next(host for host in RUNNING if host != leader)
        journal, follower = RUNNING[host]
        journal.touches = [7, 8]
        for number in range(5):
            follower.send(int(leader[2:]), Forward(session=1, cxid=number, request=b"%d" % number))
        await world.everywhere(*numbers(0, 5))
        world.propose(leader, b"before")
        world.replica(leader).send(int(host[2:]), Synced(number=3, zxid=9))
        await until(lambda: ("heard", int(leader[2:]), Synced(number=3, zxid=9)) in journal.told)
        await world.everywhere(*numbers(0, 5), b"before")
        pongs = lambda: [m for _, who, m in heard(world.journal(leader)) if isinstance(m, Pong)]  # noqa: E731
        await until(lambda: any(list(pong.sessions) == [7, 8] for pong in pongs()))
        assert [m.cxid for _, _, m in heard(world.journal(leader)) if isinstance(m, Forward)] == [
            0,
            1,
            2,
            3,
            4,
        ]
        world.replica(leader).send(99, Synced())  # nobody is there: dropped

    World(8, 3).run(story)


def heard(journal: Journal) -> list[tuple[Any, ...]]:
    return [told for told in journal.told if told[0] == "heard"]


def test_observers_learn_and_do_not_count() -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        assert leader != "zk4" and world.replica("zk4").phase == "observing"
        world.propose(leader, b"a")
        await world.everywhere(b"a")
        world.simulation.machines["zk4"].crash()
        world.propose(leader, b"b")
        await world.everywhere(b"a", b"b", but="zk4")
        world.simulation.machines["zk4"].restart()
        await world.everywhere(b"a", b"b")

    World(9, 4, observers=1).run(story)


def test_a_server_joins_by_a_reconfiguration() -> None:
    async def story(world: World) -> None:
        leader = await world.leading()
        world.propose(leader, *numbers(0, 10))
        members = Configuration.parse(world.options["members"]).members
        larger = Configuration.of([*members, Member(4, "zk4")])
        world.simulation.boot("zk4", serve, {"members": str(larger)})
        await world.everywhere(*numbers(0, 10))  # it learns, though it is no member yet
        process = world.simulation.machines[leader].host.process
        version = process.context.copy().run(world.replica(leader).propose, b"larger", larger)
        await world.everywhere(*numbers(0, 10), b"larger")
        await until(lambda: all(world.replica(h).configuration.version == version for h in RUNNING))
        await until(lambda: world.replica("zk4").phase == "following")
        # With four, two are no quorum any more.
        down = [host for host in RUNNING if host != leader][:2]
        for host in down:
            world.simulation.machines[host].crash()
        await until(lambda: world.replica(leader).phase == "looking")
        world.simulation.machines[down[0]].restart()
        await until(lambda: any(world.replica(h).phase == "leading" for h in RUNNING if h != down[1]))
        assert world.replica(down[0]).configuration.version == version

    World(10, 3).run(story)


def test_servers_of_other_ensembles_and_with_the_same_id_are_refused() -> None:
    async def story(world: World) -> None:
        await world.leading()
        stranger = {**world.options, "ensemble": "other"}
        world.simulation.boot("zk4", serve, stranger)
        twin = {**world.options, "number": 1}
        world.simulation.boot("zk5", serve, twin)
        await asyncio.sleep(5.0)
        assert RUNNING["zk4"][1].phase == RUNNING["zk5"][1].phase == "looking"
        leader = next(h for h in ("zk1", "zk2", "zk3") if world.replica(h).phase == "leading")
        world.propose(leader, b"a")
        await until(lambda: all(world.journal(f"zk{n}").delivered for n in (1, 2, 3)))

    World(11, 3).run(story)


def test_the_same_seed_gives_the_same_trace(tmp_path: Path) -> None:
    digests = []
    for attempt in range(2):
        recorder = Recorder(tmp_path / f"{attempt}.jsonl")
        world = World(12, 3, snap_count=20)
        world.simulation = Simulation(12, limit_s=600, recorder=recorder, interleave=True)
        world.faults = Faults(world.simulation)

        async def story(world: World) -> None:
            leader = await world.leading()
            world.propose(leader, *numbers(0, 100))
            await world.everywhere(*numbers(0, 100))
            world.simulation.machines[leader].crash()
            await world.leading(but=leader)
            world.simulation.machines[leader].restart()
            await world.everywhere(*numbers(0, 100))

        world.run(story)
        recorder.close()
        digests.append(recorder.sha256)
    assert digests[0] == digests[1]


def test_snapshots_come_after_a_number_of_transactions_that_chance_decides() -> None:
    drawn = []

    async def story(world: World) -> None:
        drawn.extend(RUNNING[host][1]._threshold for host in RUNNING)

    World(13, 5, snap_count=1000).run(story)
    assert all(501 <= number <= 1000 for number in drawn) and len(set(drawn)) > 1
    assert replica.SNAP_COUNT == 100_000
