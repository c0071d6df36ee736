"""Fuzzy snapshots and their replay (4.3), and what damaged ones do. Invariant 14."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination.api import (
    CloseSession,
    Create,
    CreateMode,
    CreateSession,
    Delete,
    Multi,
    Reconfigure,
    SetData,
)
from services.coordination.state import snapshot as snapshots
from services.coordination.state.snapshot import snapshot
from services.coordination.state.transactions import decode
from services.coordination.state.tree import Diverged, Tree
from tests.coordination.state import requests
from tests.coordination.state.service import EPOCH, Service, contents, copy, restored

QUOTA = Multi(
    (
        Create("/zookeeper/quota/a"),
        Create("/zookeeper/quota/a/zookeeper_limits", b"count=50,bytes=1000"),
        Create("/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0"),
    )
)


@pytest.fixture(autouse=True)
def one_znode_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PIECE", 0)


def history(asked: list[tuple[int, Any]]) -> list[tuple[int, bytes]]:
    """Returns the log that such requests make."""
    service = Service()
    service.identities[4] = []
    for request in requests.SETTLE:
        service.do(request)
    for session, request in asked:
        service.do(request, session)
    return service.log


def replay(tree: Tree, log: list[tuple[int, bytes]], times: int = 1) -> Tree:
    for zxid, data in log:
        for _ in range(times):
            tree.apply(zxid, decode(data))
    return tree


def fuzzy(log: list[tuple[int, bytes]], begin: int, pulls: list[int]) -> tuple[list[bytes], Tree]:
    """Applies a log while a snapshot is taken of it.

    Args:
        log: all transactions.
        begin: after how many the snapshot begins.
        pulls: how many pieces are taken before each further transaction; the rest after the last.
    """
    tree = replay(Tree(Service().tree.configuration), log[:begin])
    pieces = snapshot(tree)
    taken = [next(pieces)]
    for transaction, pull in zip(log[begin:], pulls, strict=False):
        taken += [piece for _, piece in zip(range(pull), pieces, strict=False)]
        replay(tree, [transaction])
    taken += list(pieces)
    replay(tree, log[begin + len(pulls) :])
    return taken, tree


def wild(seed: int, length: int) -> list[tuple[int, Any]]:
    """Returns requests, among them some about quotas and the ensemble."""
    random = Random(seed)
    special = [(1, QUOTA), (1, Delete("/zookeeper/quota/a/zookeeper_limits")), (3, Reconfigure(leaving=(3,)))]
    return [
        random.choice(special) if random.random() < 0.08 else requests.asked(random) for _ in range(length)
    ]


@settings(max_examples=400, deadline=None)
@given(requests.seeds, st.integers(0, 40))
def test_replay_of_a_fuzzy_snapshot_gives_the_state_without_the_crash(seed: int, length: int) -> None:
    log = history(wild(seed, length))
    random = Random(seed)
    begin = random.randint(0, len(log))
    pulls = [random.choice([0, 0, 1, 1, 2, 5]) for _ in range(random.randint(0, 30))]
    earlier, times = random.choice([0, 0, 1, 5]), random.choice([1, 1, 2])
    pieces, tree = fuzzy(log, begin, pulls)
    recovered = replay(restored(pieces), log[max(0, begin - earlier) :], times)
    assert contents(recovered) == contents(tree)
    assert recovered.zxid == tree.zxid
    assert not recovered.fuzzy


NASTY = [
    # another incarnation of a parent and its child; an ephemeral that changes its session; a multi; counters
    (1, Delete("/a/a")),
    (1, CloseSession()),
    (2, Multi((Delete("/a"), Create("/a"), Create("/a/b", mode=CreateMode.EPHEMERAL), SetData("/b", b"1")))),
    (2, Create("/a/s-", mode=CreateMode.PERSISTENT_SEQUENTIAL)),
    (2, Delete("/a/s-0000000001")),
    (2, CloseSession()),
]


def test_every_interleaving_of_a_nasty_history() -> None:
    log = history(NASTY)
    begin = len(log) - len(NASTY)
    whole = contents(fuzzy(log, begin, [])[1])
    seen = set()

    def pulls(left: int, pieces: int) -> Any:
        if not left:
            yield []
            return
        for now in range(pieces + 1):
            for later in pulls(left - 1, pieces - now):
                yield [now, *later]

    for schedule in pulls(len(NASTY), 7):
        pieces, _ = fuzzy(log, begin, schedule)
        seen.add(tuple(pieces))
        assert contents(replay(restored(pieces), log[begin:])) == whole, schedule
    assert len(seen) > 20  # different snapshots


@settings(max_examples=100, deadline=None)
@given(requests.seeds, st.integers(0, 40))
def test_applying_each_transaction_twice_changes_nothing(seed: int, length: int) -> None:
    log = history(wild(seed, length))
    once, twice = Tree(Service().tree.configuration), Tree(Service().tree.configuration)
    assert contents(replay(once, log)) == contents(replay(twice, log, 2))


@settings(max_examples=100, deadline=None)
@given(requests.seeds, st.integers(0, 40), st.integers(0, 40))
def test_replaying_what_was_applied_long_ago_changes_nothing(seed: int, length: int, begin: int) -> None:
    log = history(wild(seed, length))
    tree = replay(Tree(Service().tree.configuration), log)
    before = contents(tree)
    assert contents(replay(tree, log[begin:])) == before


def test_a_snapshot_of_a_still_tree_is_the_tree() -> None:
    service = Service()
    for request in requests.SETTLE:
        service.do(request)
    service.do(QUOTA)
    assert contents(copy(service.tree)) == contents(service.tree)


def test_null_data_is_no_empty_string_after_a_snapshot_either() -> None:
    log = history([(1, Create("/null", None)), (1, Create("/empty", b"")), (1, Create("/set", b"x"))])
    log_too = history([(1, Create("/null", b"")), (1, Create("/empty", b"")), (1, Create("/set", b"x"))])
    tree, other = (replay(Tree(Service().tree.configuration), one) for one in (log, log_too))
    assert tree.digest != other.digest
    again = restored(list(snapshot(tree)))
    assert [again.lookup(path).data for path in ("/null", "/empty", "/set")] == [None, b"", b"x"]
    assert again.digest == tree.digest


def test_many_sessions_and_much_data_are_split_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PIECE", 64 * 1024)
    service = Service()
    for session in range(10, 2510):
        service.do(CreateSession(1000, b"p"), session)
    for number in range(50):
        service.do(Create(f"/n{number}", bytes(10_000)))
    pieces = list(snapshot(service.tree))
    assert max(map(len, pieces)) < 100_000
    assert contents(restored(pieces)) == contents(service.tree)


def test_the_present_moment_is_that_of_the_first_piece() -> None:
    service = Service()
    pieces = snapshot(service.tree)
    service.do(Create("/late"))
    assert "/late" in contents(restored(pieces))["znodes"]


# Damage


def whole() -> list[bytes]:
    service = Service()
    for request in requests.SETTLE:
        service.do(request)
    return list(snapshot(service.tree))


@pytest.mark.parametrize("missing", range(len(whole())))
def test_a_missing_piece_is_noticed(missing: int) -> None:
    pieces = whole()
    del pieces[missing]
    with pytest.raises((ValueError, Diverged)):
        restored(pieces)


def test_a_piece_too_many_is_noticed() -> None:
    pieces = whole()
    with pytest.raises(ValueError, match="order"):
        restored([*pieces, pieces[-1]])
    with pytest.raises(ValueError, match="/a"):
        restored([*pieces[:-1], *pieces[-3:]])


def test_another_format_is_named() -> None:
    pieces = whole()
    pieces[0] = pieces[0].replace(b"head\x01", b"head\x02")
    with pytest.raises(ValueError, match="format 2, this is format 1"):
        restored(pieces)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 100), st.integers(0, 2000), st.binary(min_size=1, max_size=4))
def test_changed_bytes_never_restore_another_state_silently(piece: int, where: int, with_what: bytes) -> None:
    pieces = whole()
    piece %= len(pieces)
    where %= len(pieces[piece])
    changed = pieces[piece][:where] + with_what + pieces[piece][where + len(with_what) :]
    state = contents(restored(pieces))
    try:
        found = contents(restored([*pieces[:piece], changed, *pieces[piece + 1 :]]))
    except (ValueError, Diverged):
        return
    assert found == state or b"config" in pieces[piece] or piece in (0, len(pieces) - 1)


def test_a_replay_that_leads_elsewhere_is_noticed() -> None:
    service = Service()
    pieces = snapshot(service.tree)
    taken = [next(pieces)]
    service.do(Create("/x", b"1"))
    taken += list(pieces)
    tree = restored(taken)
    assert tree.fuzzy
    other = Service()
    other.do(Create("/x", b"2"))
    with pytest.raises(Diverged, match=hex(EPOCH + 4)):
        replay(tree, other.log[-1:])
