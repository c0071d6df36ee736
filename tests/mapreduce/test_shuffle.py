"""What a reduce worker pulls, from whom, and what it does when it cannot (3.1 step 5, 3.3)."""

from __future__ import annotations

import asyncio

import pytest

from tests.mapreduce.shuffling import Rig, outputs, put, region, run, until

BIG = 5 << 20  # bytes: several chunks


def test_it_pulls_its_region_of_every_map_output_whoever_has_it() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, 10), (2, 3, BIG))
        rig.peer("b", (1, 2, 7))
        await put(rig.host, rig.regions, 3, 4, [region(3, 4)])
        shuffle = rig.shuffle(maps=5)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, 10), (1, "b", 2, 7), (2, "a", 3, BIG)))
        shuffle.offer(outputs((3, "here", 4, 5), (4, "nobody is asked for nothing", 5, 0)))
        data = await rig.pulled(await pulling)
        assert len(data) == 10 + 7 + BIG + 5 == shuffle.bytes
        for number, attempt, size in ((0, 1, 10), (1, 2, 7), (2, 3, BIG), (3, 4, 0)):
            assert region(number, attempt, size) in data
        assert rig.lost == []

    run(case)
    run(case, 1, interleave=True)


def test_no_maps_no_waiting() -> None:
    async def case(rig: Rig) -> None:
        assert await rig.shuffle(maps=0).run() == ()

    run(case)


def test_what_is_offered_twice_is_read_once() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, 10), (1, 1, 10))
        rig.peer("b", (0, 7, 10))
        shuffle = rig.shuffle(maps=2)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, 10)))
        shuffle.offer(outputs((0, "a", 1, 10)))
        await until(lambda: shuffle.read == 1)
        shuffle.offer(
            outputs((0, "b", 7, 10), (0, "a", 1, 10))
        )  # a stream opened again; moved, but read already
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((1, "a", 1, 10)))
        assert await rig.pulled(await pulling) == region(0, 1, 10) + region(1, 1, 10)
        assert rig.asked == {"a": [(0, 1), (1, 1)], "b": []}

    run(case)


def test_an_old_notice_does_not_take_back_a_later_output() -> None:
    """A stream that is opened again tells from the beginning what was lost: also what has long moved."""

    async def case(rig: Rig) -> None:
        rig.peer("b", (0, 2, BIG))
        shuffle = rig.shuffle(maps=1)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "b", 2, BIG)))
        await until(lambda: any(segment.partial for segment in shuffle._segments))
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((0, "b", 2, BIG)))
        assert await rig.pulled(await pulling) == region(0, 2, BIG)
        assert rig.asked == {"b": [(0, 2)]}

    run(case)


def test_after_the_notice_nothing_is_read_from_a_failed_worker() -> None:
    """Also not the rest of what was being read: the output is taken whole from where it has moved to."""

    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, BIG))
        rig.peer("b", (0, 2, BIG))
        shuffle = rig.shuffle(maps=1)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, BIG)))
        await until(lambda: any(segment.partial for segment in shuffle._segments))
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((0, "b", 2, BIG)))
        assert await rig.pulled(await pulling) == region(0, 2, BIG)

    for seed in range(3):
        run(case, seed, interleave=bool(seed))


def test_a_region_that_broke_off_is_cut_off_and_read_again_from_the_start() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, 100), (1, 1, BIG))
        shuffle = rig.shuffle(maps=2)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, 100), (1, "a", 1, BIG)))
        await until(lambda: any(segment.partial for segment in shuffle._segments))
        rig.simulation.machines["a"].crash()
        await asyncio.sleep(0.1)
        rig.peer("a", (0, 1, 100), (1, 1, BIG))
        assert await rig.pulled(await pulling) == region(0, 1, 100) + region(1, 1, BIG)
        assert rig.asked["a"] == [(0, 1), (1, 1), (1, 1)], "what was whole stays"

    run(case)


@pytest.mark.parametrize("where", ["a", "here"])
def test_a_region_of_which_a_bit_has_flipped_is_reported_and_not_taken(where: str) -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, 3000), (1, 1, 10))
        rig.peer("b", (0, 2, 3000))
        await put(rig.host, rig.regions, 0, 1, [region(0, 1, 3000)])
        await asyncio.sleep(0.1)
        rig.simulation.machines[where].disk.corrupt("job/map-00000.1")
        shuffle = rig.shuffle(maps=2)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, where, 1, 3000), (1, "a", 1, 10)))
        await until(lambda: bool(rig.lost))
        assert [(lost.map, lost.attempt, lost.worker, lost.missing) for lost in rig.lost] == [
            (0, 1, where, True)
        ]
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((0, "b", 2, 3000)))
        data = await rig.pulled(await pulling)
        assert len(data) == 3010
        assert region(0, 2, 3000) in data

    run(case)


def test_a_peer_that_has_it_not_is_reported_at_once_and_the_others_outputs_are_read() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (1, 1, 10))
        shuffle = rig.shuffle(maps=2)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 5, 10), (1, "a", 1, 10)))
        await until(lambda: bool(rig.lost))
        lost = rig.lost[0]
        assert (lost.map, lost.attempt, lost.worker, lost.reduce, lost.missing) == (0, 5, "a", 0, True)
        assert asyncio.get_running_loop().time() < 0.1
        await until(lambda: shuffle.read == 1)
        rig.peer("b", (0, 6, 10))
        shuffle.withdraw([0], [5])
        shuffle.offer(outputs((0, "b", 6, 10)))
        await pulling

    run(case)


def test_a_peer_that_does_not_answer_is_tried_for_a_while_and_then_reported_again_and_again() -> None:
    """The first report may be lost, or reach a master that has just been restarted."""

    async def case(rig: Rig) -> None:
        shuffle = rig.shuffle(maps=1)
        pulling = asyncio.create_task(shuffle.run())
        rig.simulation.add_host("a")
        shuffle.offer(outputs((0, "a", 1, 10)))
        await asyncio.sleep(1.5)
        assert rig.lost == []
        await until(lambda: len(rig.lost) >= 3)
        assert not rig.lost[0].missing
        rig.peer("a", (0, 1, 10))  # it comes back, with its disk
        assert await rig.pulled(await pulling) == region(0, 1, 10)

    run(case)


def test_a_cut_in_the_middle_of_a_region_is_noticed() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, BIG))
        shuffle = rig.shuffle(maps=1)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, BIG)))
        await until(lambda: any(segment.partial for segment in shuffle._segments))
        rig.simulation.network.cut("a", "here")
        await until(lambda: bool(rig.lost))
        rig.peer("b", (0, 2, BIG))
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((0, "b", 2, BIG)))
        assert await rig.pulled(await pulling) == region(0, 2, BIG)

    run(case)


def test_an_own_output_that_cannot_be_read_is_a_lost_input_not_a_broken_disk() -> None:
    async def case(rig: Rig) -> None:
        await put(rig.host, rig.regions, 0, 1, [region(0, 1)])
        await rig.host.disk.remove("job/map-00000.1")
        shuffle = rig.shuffle(maps=1)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "here", 1, 5)))
        await until(lambda: bool(rig.lost))
        assert rig.lost[0].missing
        rig.peer("b", (0, 2, 5))
        shuffle.offer(outputs((0, "b", 2, 5)))
        await pulling

    run(case)


def test_a_full_disk_ends_it() -> None:
    async def case(rig: Rig) -> None:
        rig.peer("a", (0, 1, BIG), (1, 1, BIG))
        shuffle = rig.shuffle(maps=2)
        pulling = asyncio.create_task(shuffle.run())
        shuffle.offer(outputs((0, "a", 1, BIG), (1, "a", 1, BIG)))
        await until(lambda: any(segment.partial for segment in shuffle._segments))
        rig.simulation.machines["here"].disk.full = True
        with pytest.raises(OSError, match="No space"):
            await pulling

    run(case)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_moves_whenever_it_reads_each_map_once_and_whole(seed: int) -> None:
    """Outputs are withdrawn and move at any moment, while peers are killed and come back."""

    async def case(rig: Rig) -> None:
        chance = rig.simulation.chance.stream("test")
        maps, names = 12, ["a", "b", "c"]
        sizes = [chance.choice([0, 9, 3000, 3 << 20]) for _ in range(maps)]
        everything = [(n, k, sizes[n]) for n in range(maps) for k in range(20) if sizes[n]]
        for name in names:
            rig.peer(name, *[output for output in everything if output[1] < 6])
        attempt = dict.fromkeys(range(maps), 0)
        shuffle = rig.shuffle(maps)
        pulling = asyncio.create_task(shuffle.run())
        for _ in range(25):
            moved = chance.sample(range(maps), 3)
            shuffle.withdraw(moved, [attempt[number] for number in moved])
            await asyncio.sleep(chance.choice([0.0, 0.0001, 0.003, 0.05]))
            for number in moved:
                attempt[number] = min(attempt[number] + 1, 5)
            shuffle.offer(outputs(*[(n, chance.choice(names), attempt[n], sizes[n]) for n in moved]))
            await asyncio.sleep(chance.choice([0.0, 0.002, 0.05]))
            if chance.random() < 0.2:
                name = chance.choice(names)
                rig.simulation.machines[name].crash()
                rig.peer(name, *[output for output in everything if output[1] < 6])
        shuffle.offer(outputs(*[(n, "a", attempt[n], sizes[n]) for n in range(maps)]))
        data = await rig.pulled(await pulling)
        assert len(data) == sum(sizes) == shuffle.bytes
        assert shuffle.read == maps

    run(case, seed, interleave=True)
