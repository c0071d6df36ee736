"""The checker against one that tries all executions; and against itself on larger histories."""

from __future__ import annotations

import random
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from sim.check.operations import calls
from sim.check.transactions import LEVELS, check
from sim.check.transactions.components import components
from tests.bench.transactions import history
from tests.check.transactions.brute import KINDS, compare, histories


@pytest.mark.parametrize("kind", KINDS)
def test_small_histories_get_the_verdict_of_a_search_through_all_executions(kind):
    tally = {level: [0, 0, 0] for level in LEVELS}
    for events in histories(kind, 300, seed=1):
        for level, (told, so) in compare(kind, events).items():
            tally[level][0 if so else 2 if told else 1] += 1
    for good, broken, missed in tally.values():
        assert good > 50
        assert broken > 25
        assert missed == 0


@pytest.mark.parametrize("append", [True, False])
def test_a_large_history_of_a_good_store_is_strictly_serializable_and_one_of_stale_reads_is_not(append):
    count = 2000 if append else 300  # of blind writes an order must be found, too
    good = check(calls(history(count, append=append, infos=0.05)))
    assert (good.anomalies, good.proven) == ([], "strict-serializable")
    assert (good.committed + good.possible, good.possible > 0) == (count, True)
    stale = check(calls(history(count, append=append, stale=0.02)))
    assert stale.answer("strict-serializable") == "broken"
    for anomaly in stale.anomalies:
        for hop, follows in pairwise([*anomaly.cycle, *anomaly.cycle[:1]]):
            assert hop.target is follows.source


def test_the_verdict_does_not_depend_on_the_names_of_keys_and_processes():
    events = history(600, append=True, stale=0.02)
    before = check(calls(events))
    for event in events:
        event.process = f"other-{event.process}"
        event.value = [[f, f"key {key}", value] for f, key, value in event.value]
    after = check(calls(events))
    assert [(one.name, one.count) for one in before.anomalies] == [
        (one.name, one.count) for one in after.anomalies
    ]


def test_components_are_those_that_networkx_finds():
    chance = random.Random(7)
    for _ in range(300):
        count = chance.randrange(1, 12)
        edges = [(chance.randrange(count), chance.randrange(count)) for _ in range(chance.randrange(25))]
        edges = [(one, other) for one, other in edges if one != other]
        graph = nx.DiGraph(edges)
        expected = sorted(sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1)
        sources, targets = np.array(edges, dtype=np.int64).reshape(-1, 2).T
        assert components(count, sources, targets) == expected
