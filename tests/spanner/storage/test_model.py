"""Random workloads of several groups with restarts and crashes, against a plain model."""

from __future__ import annotations

import asyncio
from itertools import islice
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from services.spanner.storage import storage as module
from tests.coordination.storage.disk import MemoryDisk, few
from tests.spanner.storage.rig import Rig, recovered

GROUP = st.integers(1, 3)
ACTIONS = st.one_of(
    st.tuples(st.just("write"), GROUP, st.integers(1, 4)),
    st.tuples(st.just("replace"), GROUP, st.integers(0, 3)),
    st.tuples(st.just("state"), GROUP, st.just(0)),
    st.tuples(st.just("checkpoint"), GROUP, st.integers(0, 3)),
    st.tuples(st.just("install"), GROUP, st.integers(-2, 5)),
    st.tuples(st.just("wait"), GROUP, st.integers(0, 4)),
    st.tuples(st.just("restart"), GROUP, st.just(0)),
    st.tuples(st.just("crash"), GROUP, st.integers(0, 30)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.sampled_from([560, 700, 1 << 20]), st.sampled_from([2, 4, 64]))
def test_what_is_found_is_what_was_confirmed(
    actions: list[tuple[str, int, int]], segment: int, segments: int
) -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        for group in (1, 2, 3):
            rig.create(group)
        for serial, (what, group, number) in enumerate(actions, 1):
            _, base, _, entries = rig.possible()[-1][group]
            last = base + len(entries)
            if what == "write":
                rig.write(group, serial, last + 1, *(b"%d/%d" % (serial, at) for at in range(number)))
            elif what == "replace":
                rig.write(group, serial, max(base, last - number) + 1, b"instead %d" % serial)
            elif what == "state":
                rig.write(group, serial)
            elif what == "checkpoint":
                await rig.idle()
                if last - number > base:
                    await rig.checkpoint(group, last - number)
            elif what == "install":
                await rig.idle()
                index = max(base + 1, last + number)
                await rig.install(group, index, keep=index <= last and serial % 2 == 0)
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
                assert found in possible, (found, possible)
                rig = Rig(MemoryDisk(files), found)
                await rig.start()
                for missing in {1: None, 2: None, 3: None}.keys() - found.keys():
                    rig.create(missing)
            assert not rig.task.done()
        await rig.idle()
        await rig.stop()
        assert recovered(rig.disk)[1] == rig.certain

    with mock.patch.multiple(module, SEGMENT=segment, SEGMENTS=segments):
        asyncio.run(story())


def test_segments_go_when_idle_groups_are_written_again_and_big_ones_are_asked_for_a_checkpoint() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.start()
        for group in (1, 2, 3):
            rig.create(group)
        rig.write(2, "idle", 1, b"small")
        rig.write(3, "idle", 1, b"x" * 5000)
        for index in range(1, 400):
            rig.write(1, "busy", index, b"y" * 100)
            await rig.idle()
            if index % 10 == 0:
                await rig.checkpoint(1, index)
            if rig.wanted:
                assert set(rig.wanted) == {3}
                rig.wanted.clear()
                await rig.checkpoint(3, 1)
        size = sum(len(inode.data) for path, inode in rig.disk.names.items() if path.startswith("log/"))
        assert size < 20_000  # of more than 60,000 that were written
        assert "log/segment-00000000" not in rig.disk.names
        await rig.stop()
        assert recovered(rig.disk)[1] == rig.certain

    with mock.patch.multiple(module, SEGMENT=2000, CARRY=4000):
        asyncio.run(story())
