"""The shape of a history, against histories written out."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination.zab.history import History
from tests.coordination.zab.by_hand import z

RUNS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4)), max_size=5
)  # epochs apart, proposals in each


IN_ITS_OWN_TIME = settings(deadline=None)  # others may use the machine


def zxids(runs: list[tuple[int, int]], epoch: int = 0) -> list[int]:
    """Writes out: of ever higher epochs, so many proposals each."""
    written = []
    for step, count in runs:
        epoch += step
        written += [z(epoch, counter) for counter in range(1, count + 1)]
    return written


def made(written: list[int]) -> History:
    history = History()
    for zxid in written:
        history.append(zxid)
    return history


def ends(written: list[int]) -> tuple[int, ...]:
    return tuple({zxid >> 32: zxid for zxid in written}.values())


@IN_ITS_OWN_TIME
@given(RUNS, RUNS, RUNS)
def test_the_common_prefix_of_two_histories_is_found_by_the_last_zxid_of_one(
    both: list[tuple[int, int]], mine: list[tuple[int, int]], yours: list[tuple[int, int]]
) -> None:
    """A leader and a follower whose histories part: the leader's epochs after that are later ones (V)."""
    prefix = zxids(both)
    alone = zxids(yours, prefix[-1] >> 32 if prefix else 0)  # what the follower alone has
    last = ([0, *prefix, *alone])[-1]
    history = made(prefix + zxids(mine, last >> 32))
    assert history.common(last) == ([0, *prefix])[-1]


@IN_ITS_OWN_TIME
@given(RUNS, st.data())
def test_a_history_is_made_truncated_and_purged_alike(runs: list[tuple[int, int]], data: Any) -> None:
    written = zxids(runs)
    history = made(written)
    keep = data.draw(st.integers(0, len(written)))
    purged = data.draw(st.integers(0, keep))
    after = written[purged - 1] if purged else 0
    history.truncate(written[keep - 1] if keep else 0)
    history.purge(after)
    other = History(after, ends(written[:keep]))
    assert (history.oldest, history.last) == (other.oldest, other.last)
    for zxid in [*written, *(zxid + 7 for zxid in written), 1, z(9, 9)]:
        expected = max([after, *(x for x in written[purged:keep] if x <= zxid)]) if zxid >= after else None
        assert history.common(zxid) == other.common(zxid) == expected


def test_a_snapshot_takes_the_place_of_a_history() -> None:
    history = made([z(1, 1), z(2, 1)])
    history.replace(z(3, 5))
    assert (history.oldest, history.last) == (z(3, 5), z(3, 5))
    assert history.common(z(2, 1)) is None
    history.append(z(3, 6))
    history.append(z(4, 1))
    assert history.common(z(3, 9)) == z(3, 6)
