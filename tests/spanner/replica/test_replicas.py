"""Replicas in the simulated world: what their users see, and what idle groups cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from services.spanner.group import Deposed, NotLeader
from services.spanner.replica import Replica
from services.spanner.replica import replica as replica_module
from services.spanner.truetime.interval import Interval, Unsynchronized
from sim import faults as f
from sim.world.faults import Faults
from sim.world.simulation import Simulation
from tests.spanner.replica import machine
from tests.spanner.replica.machine import RUNNING, Journal, serve, until

T = TypeVar("T")
HOSTS = ["s1", "s2", "s3"]
MS = 1_000_000


class World:
    """Spanservers, all with the same groups."""

    def __init__(self, seed: int = 1, groups: int = 1, kinds: str = "", **settings: int) -> None:
        self.simulation = Simulation(seed, limit_s=5000)
        self.faults = Faults(self.simulation)
        members = [(host, kinds if host == "s3" and kinds else "read-write") for host in HOSTS]
        self.options = {"groups": [members] * groups, "settings": settings}
        self.groups = groups

    def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        RUNNING.clear()
        machine.OPENED.clear()

        async def main() -> None:
            for host in HOSTS:
                self.simulation.boot(host, serve, self.options)
            await until(self.up)
            await story(self)

        self.simulation.run(main())

    def up(self) -> bool:
        return len(RUNNING) == 3 and all(
            len(server.replicas.groups) == self.groups for server in RUNNING.values()
        )

    def on(self, host: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs something in the process of a host."""
        context = self.simulation.machines[host].host.process.context.copy()
        return asyncio.get_running_loop().create_task(work, context=context)

    async def write(self, host: str, *entries: bytes, group: int = 1, **how: int) -> list[int]:
        """Has a replica write, all at once."""
        replica = self.replica(host, group)
        tasks = [self.on(host, replica.write(lambda _, entry=entry: entry, **how)) for entry in entries]
        return list(await asyncio.gather(*tasks))

    def replica(self, host: str, group: int = 1) -> Replica:
        return RUNNING[host].replica(group)

    def journal(self, host: str, group: int = 1) -> Journal:
        return RUNNING[host].journals[group]

    def entries(self, host: str, group: int = 1) -> list[bytes]:
        return [entry for _, _, entry in self.journal(host, group).items]

    def crash(self, host: str) -> None:
        self.simulation.machines[host].crash()
        RUNNING.pop(host)

    async def restart(self, host: str) -> None:
        self.simulation.machines[host].restart()
        await until(self.up)


def test_writes_are_applied_everywhere_in_order_with_growing_timestamps() -> None:
    async def story(world: World) -> None:
        entries = [b"entry %d" % number for number in range(300)]
        timestamps = await world.write("s1", *entries)
        assert timestamps == sorted(set(timestamps))
        assert world.entries("s1") == entries
        assert [at for _, at, _ in world.journal("s1").items] == timestamps
        await until(lambda: all(world.entries(host) == entries for host in HOSTS))
        term = world.replica("s1").term
        assert world.journal("s1").reigns == [term]
        assert all(world.replica(host).leader == "s1" for host in HOSTS)

    World().run(story)


def test_who_does_not_lead_says_who_does() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first")
        with pytest.raises(NotLeader, match="the leader is s1") as refused:
            await world.write("s2", b"second")
        assert refused.value.leader == "s1" and type(refused.value) is NotLeader
        assert world.replica("s2").term == 0

    World().run(story)


def test_a_leader_that_does_not_know_the_time_leads_nobody_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was to be written in the background was lost with an error that nobody expected."""

    def lost() -> Interval:
        raise Unsynchronized

    async def story(world: World) -> None:
        await world.write("s1", b"first")
        with monkeypatch.context() as bent:
            bent.setattr(world.replica("s1").truetime, "now", lost)
            with pytest.raises(NotLeader) as refused:
                await world.write("s1", b"second")
            assert type(refused.value) is NotLeader
        await world.write("s1", b"third")
        assert world.entries("s1") == [b"first", b"third"]

    World().run(story)


def test_an_entry_that_is_not_made_is_not_written() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first")

        def fails(_: int) -> bytes:
            raise KeyError("not today")

        with pytest.raises(KeyError, match="not today"):
            await world.on("s1", world.replica("s1").write(fails))
        await world.write("s1", b"second")
        assert world.entries("s1") == [b"first", b"second"]

    World().run(story)


def test_a_write_of_another_reign_is_refused() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first")
        term = world.replica("s1").term
        await world.write("s1", b"second", term=term)
        with pytest.raises(NotLeader):
            await world.write("s1", b"third", term=term + 1)
        await asyncio.sleep(40)  # the lease has run out; nobody else has led
        assert world.replica("s1").term == 0
        await world.write("s1", b"fourth", term=term)
        assert world.entries("s1") == [b"first", b"second", b"fourth"]

    World().run(story)


def test_a_leader_that_is_cut_off_does_not_know_and_its_write_is_there_at_most_once() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first")
        cut = world.faults.inject(f.Isolate(host="s1"))
        lost = world.on("s1", world.replica("s1").write(lambda _: b"in doubt"))
        await asyncio.sleep(5)
        assert not lost.done()

        async def elsewhere() -> bool:
            try:
                await world.write("s2", b"second")
            except NotLeader:
                return False
            return True

        while not await elsewhere():
            await asyncio.sleep(0.2)
        assert asyncio.get_running_loop().time() > 10  # not before the lease is over
        world.faults.lift(cut)
        with pytest.raises(Deposed):
            await lost
        await until(lambda: world.entries("s1") == world.entries("s2"))
        assert world.entries("s1").count(b"in doubt") <= 1
        assert world.journal("s1").reigns[-1] == 0

    World().run(story)


def test_leadership_is_handed_over_at_once() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first")
        before = asyncio.get_running_loop().time()
        world.simulation.machines["s1"].host.process.context.copy().run(world.replica("s1").abdicate, "s3")
        await until(lambda: world.replica("s3").term)
        assert asyncio.get_running_loop().time() - before < 0.5
        await world.write("s3", b"second")
        assert world.replica("s3").term > world.journal("s1").reigns[0] and world.replica("s1").term == 0

    World().run(story)


def test_whoever_is_asked_to_lead_keeps_its_lease_without_writing_anything() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"only")
        replica = world.replica("s1")
        term, start = replica.term, replica.lease[0]
        for _ in range(60):
            await asyncio.sleep(0.5)
            assert replica.term == term != 0
            assert await world.on("s1", replica.lead()) == term
        assert replica.lease[0] == start  # it has never run out

    World().run(story)


def test_a_lease_that_was_about_to_run_out_is_kept_when_it_is_needed_again() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"only")
        replica = world.replica("s1")
        rules = replica._rules
        await until(lambda: rules._role._asleep)  # type: ignore[union-attr]
        assert replica.term, "its lease is over"
        _, end = replica.lease
        await world.on("s1", replica.lead())
        await until(lambda: replica.lease[1] > end)
        assert replica.term

    World().run(story)


def test_a_replica_that_is_not_leader_learns_what_is_safe() -> None:
    async def story(world: World) -> None:
        (timestamp,) = await world.write("s1", b"first")
        replica = world.replica("s2")
        await world.on("s2", replica.paxos_safe(timestamp))
        assert world.entries("s2") == [b"first"]
        t = replica.truetime.now().latest
        await world.on("s2", replica.paxos_safe(t))  # nothing is written any more: it asks
        assert replica.paxos_safe_now >= t
        (later,) = await world.write("s1", b"second")
        assert later > t
        waiting = world.on("s2", replica.paxos_safe(t + 3_600_000 * MS))
        await asyncio.sleep(1)
        assert not waiting.done()
        waiting.cancel()

    World().run(story)


@pytest.mark.parametrize("kind", ["", "read-only", "witness"])
def test_who_was_away_for_long_gets_a_checkpoint(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "CHECKPOINT_ENTRIES", 100)
    monkeypatch.setattr(replica_module, "KEEP", 10)

    async def story(world: World) -> None:
        await world.write("s1", b"before")
        world.crash("s3")
        entries = [b"%d" % number for number in range(500)]
        for entry in entries:
            await world.write("s1", entry)
        await world.restart("s3")
        await world.write("s1", b"after")
        if kind == "witness":
            await until(lambda: world.replica("s3").applied == world.replica("s1").applied)
            return
        await until(lambda: world.entries("s3") == [b"before", *entries, b"after"])
        assert world.journal("s3").loaded == 1
        world.crash("s3")
        await world.restart("s3")
        await until(lambda: len(world.entries("s3")) >= 501)

    World(kinds=kind).run(story)


def test_all_restart_and_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "CHECKPOINT_ENTRIES", 100)

    async def story(world: World) -> None:
        entries = [b"%d" % number for number in range(350)]
        for at in range(0, 350, 50):
            await world.write("s1", *entries[at : at + 50])
        for host in HOSTS:
            world.crash(host)
        for host in HOSTS:
            world.simulation.machines[host].restart()
        await until(world.up)
        while world.entries("s1")[-1:] != [b"after"]:
            try:
                await world.write("s1", b"after")
            except NotLeader:
                await asyncio.sleep(0.5)
        assert world.entries("s1") == [*entries, b"after"]
        assert world.journal("s1").loaded == 1

    World().run(story)


def test_groups_are_dropped_and_what_they_had_is_gone() -> None:
    async def story(world: World) -> None:
        await world.write("s1", b"first", group=2)
        for host in HOSTS:
            await world.on(host, RUNNING[host].replicas.drop(2))
        assert all(RUNNING[host].replicas.get(2) is None for host in HOSTS)
        await world.write("s1", b"in the other", group=1)
        assert 2 not in RUNNING["s1"].replicas.storage.groups

    World(groups=2).run(story)


def test_idle_groups_have_no_timer_and_no_task() -> None:
    async def story(world: World) -> None:
        for group in range(1, 201):
            await world.write("s1", b"once", group=group)
        await asyncio.sleep(60)
        for host in HOSTS:
            replicas = RUNNING[host].replicas
            assert not replicas._tasks and not replicas.alarms._heap
            assert all(replica._rules.next_deadline() is None for replica in replicas.groups.values())

    World(groups=200).run(story)


def test_the_past_life_of_a_server_is_not_listened_to() -> None:
    """A stream of an earlier incarnation that is still being read says nothing any more."""

    async def story(world: World) -> None:
        await world.write("s1", b"first")
        links = RUNNING["s2"].replicas.links
        assert links._incarnations["s1"] == 0
        world.crash("s1")
        await world.restart("s1")
        while not world.replica("s1").term:
            try:
                await world.on("s1", world.replica("s1").lead())
            except NotLeader:
                await asyncio.sleep(0.5)
        assert links._incarnations["s1"] == 1

    World().run(story)
