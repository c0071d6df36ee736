"""Random workloads with restarts and crashes, against a plain list."""

from __future__ import annotations

import asyncio
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.coordination.storage.disk import MemoryDisk, few
from tests.coordination.storage.rig import Rig, matches, record, recovered

ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 5)),
    st.tuples(st.just("truncate"), st.integers(0, 4)),
    st.tuples(st.just("snapshot"), st.integers(0, 3)),
    st.tuples(st.just("install"), st.integers(1, 9)),
    st.tuples(st.just("epoch"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 4)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 30)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_what_is_found_is_what_was_confirmed(actions: list[tuple[str, int]]) -> None:
    async def story() -> None:
        rig = Rig(keep=2)
        await rig.start()
        epoch = counter = 1
        floor = 0  # delivered: in a snapshot
        for what, number in actions:
            state = rig.possible()[-1]
            if what == "append":
                for _ in range(number):
                    rig.append(record(epoch, counter))
                    counter += 1
            elif what == "epoch":
                epoch, counter = epoch + 1, 1
                rig.accepted(epoch)
            elif what == "truncate":
                known = [zxid for zxid, _, _ in state.records if zxid >= floor] or [floor]
                rig.truncate(max(known[-1 - number % len(known)], floor, state.base))
                epoch, counter = epoch + 1, 1
            elif what == "install":
                epoch, counter = epoch + 1, 1
                floor = (epoch << 32) + number
                rig.install(floor, [b"piece"] * number)
                epoch += 1
            elif what == "snapshot":
                known = [floor, *(zxid for zxid, _, _ in state.records if zxid >= floor)]
                floor = known[max(0, len(known) - 1 - number)]
                if floor > max(state.base, rig.snapshot):
                    await rig.save_snapshot(floor, [b"piece"], upto=known[-1])
                    floor = known[-1]
            elif what == "wait":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif what == "restart":
                await rig.idle()
                await rig.restart()
            else:
                possible = rig.possible()
                rig.task.cancel()
                await asyncio.gather(rig.task, return_exceptions=True)
                *_, files = islice(rig.disk.outcomes(few), number + 1)
                found = recovered(files)[1]
                right = [one for one in possible if matches(found, one)]
                assert right, (found, possible)
                rig = Rig(MemoryDisk(files), right[-1], keep=2, snapshot=found.base)
                floor = max(floor if floor in [r[0] for r in found.records] else 0, found.base)
                epoch, counter = max(epoch, found.accepted) + 1, 1
                await rig.start()
            assert not rig.task.done() or rig.task.cancelled() or rig.task.exception() is None
        await rig.idle()
        await rig.stop()
        assert matches(recovered(rig.disk)[1], rig.certain)

    asyncio.run(story())
