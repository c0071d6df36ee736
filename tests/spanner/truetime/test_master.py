"""Time masters: what they advertise, when they count themselves out, and when they are back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.truetime.master import serve
from sim.faults import ClockDrift, ClockJump, ClockSkew, Crash, LyingMaster
from sim.world.clock import EPOCH
from tests.spanner.truetime.rig import MS, SECOND, Rig


async def ask(rig: Rig, name: str) -> pb.MasterTime:
    """Asks a master, whose clock is read half-way: 1 ms each way."""
    host = rig.simulation.machines["main"].host
    stub = rpc.TimeMasterStub(host.connect(name))
    await stub.Now(pb.Poll())
    return await stub.Now(pb.Poll())


def test_a_receiver_is_sure_of_the_time_and_an_atomic_clock_less_and_less() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        await asyncio.sleep(10)
        said = await ask(rig, "m1")
        assert (said.kind, said.evicted) == ("gps", False)
        assert said.uncertainty == 100
        assert EPOCH + rig.simulation.now() - said.time == pytest.approx(1 * MS, rel=0.001)

        first = await ask(rig, "m3")
        assert (first.kind, first.evicted) == ("armageddon", False)
        assert 1 * MS < first.uncertainty < 1.1 * MS, "it was set over the network"
        assert abs(EPOCH + rig.simulation.now() - 1 * MS - first.time) <= first.uncertainty
        for name in ("m1", "m2"):
            rig.inject(Crash(host=name))
        await asyncio.sleep(3600)
        later = await ask(rig, "m3")
        grown = later.uncertainty - first.uncertainty
        assert grown == pytest.approx(3600 * 100, rel=0.01), "100 ns a second"
        assert abs(EPOCH + rig.simulation.now() - 1 * MS - later.time) <= later.uncertainty

    rig.run(main())


def test_an_atomic_clock_that_is_not_set_counts_itself_out() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        rig.inject(*(Crash(host=name) for name in rig.names[:2]))
        await asyncio.sleep(5)
        assert (await ask(rig, "m3")).evicted

    rig.run(main())
    assert [note.fields["why"] for note in rig.notes("time-master-evicted", "m3")] == [
        "it has not been set yet"
    ]


def test_an_atomic_clock_alone_is_set_by_hand() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        rig.simulation.boot("alone", serve, {"kind": "armageddon", "settings": {"uncertainty_s": 0.5}})
        await asyncio.sleep(1)
        said = await ask(rig, "alone")
        assert not said.evicted
        assert said.uncertainty == pytest.approx(500 * MS, rel=1e-6)

    rig.run(main())


def test_a_receiver_that_jumps_notices_by_its_own_crystal_at_once() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        await asyncio.sleep(11)
        [number] = rig.inject(ClockSkew(host="m1", seconds=0.5))
        assert (await ask(rig, "m1")).evicted, "before any comparison"
        await asyncio.sleep(15)
        assert (await ask(rig, "m1")).evicted
        rig.faults.lift(number)
        await asyncio.sleep(15)
        assert not (await ask(rig, "m1")).evicted, "it agrees with the others again"

    rig.run(main())
    [note] = rig.notes("time-master-evicted", "m1")
    assert note.fields["why"] == "it jumped by +500.000 ms against its crystal"


def test_a_receiver_that_drifts_is_found_out_by_comparison() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        await asyncio.sleep(5)
        rig.inject(ClockDrift(host="m2", rate=200e-6))
        await asyncio.sleep(60)
        assert (await ask(rig, "m2")).evicted
        assert not (await ask(rig, "m1")).evicted
        assert not (await ask(rig, "m3")).evicted

    rig.run(main())
    [note] = rig.notes("time-master-evicted", "m2")
    assert "apart from the others" in note.fields["why"]
    assert note.time < 30 * SECOND


def test_an_atomic_clock_that_was_wrong_is_set_again_when_it_keeps_its_rate() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        await asyncio.sleep(15)
        [number] = rig.inject(ClockDrift(host="m3", rate=0.001))
        await asyncio.sleep(60)
        assert (await ask(rig, "m3")).evicted
        rig.faults.lift(number)
        await asyncio.sleep(60)
        said = await ask(rig, "m3")
        assert not said.evicted
        assert abs(EPOCH + rig.simulation.now() - 1 * MS - said.time) <= said.uncertainty

    rig.run(main())


def test_a_lying_master_is_sure_of_itself_and_evicts_nobody() -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        await asyncio.sleep(15)
        rig.inject(LyingMaster(host="m1", seconds=0.25))
        await asyncio.sleep(60)
        said = await ask(rig, "m1")
        assert said.time - (EPOCH + rig.simulation.now()) == pytest.approx(249 * MS, rel=0.001)
        assert said.uncertainty == 100
        for name in rig.names:
            assert not (await ask(rig, name)).evicted

    rig.run(main())


def test_a_lone_receiver_is_back_when_it_is_steady_again() -> None:
    rig = Rig(1, hosts=0)

    async def main() -> None:
        await asyncio.sleep(5)
        rig.inject(ClockJump(host="m1", seconds=1.0))
        assert (await ask(rig, "m1")).evicted
        await asyncio.sleep(15)
        assert not (await ask(rig, "m1")).evicted

    rig.run(main())


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"kind": "sundial"}, 'a time master is "gps" or "armageddon", not \'sundial\''),
        ({"settings": {"compare_s": 0}}, "time master m: Expected `float` > 0.0 - at `$.compare_s`"),
        ({"masters": ["a", "a"]}, "time masters: 'a' is named 2 times"),
        ({"masters": [3]}, r"time masters: Expected `str \| object`, got `int` - at `\$\[0\]`"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: dict[str, Any], why: str) -> None:
    rig = Rig(hosts=0)

    async def main() -> None:
        rig.simulation.boot("m", serve, parameters)
        await asyncio.sleep(1)

    rig.simulation.run(main())
    [(name, error)] = rig.simulation.failures
    assert (name, type(error)) == ("m", ValueError)
    with pytest.raises(ValueError, match=why.replace("$.", r"\$\.") if r"\$" not in why else why):
        raise error
