"""Linearizability: verdicts, evidence, limits, and models of one's own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.history import Operation
from sim.check.budget import Budget
from sim.check.linearizable import Linearizable, check
from sim.check.models import MODELS, Model, ModelError, find
from sim.check.operations import Unusable, calls
from sim.check.search import Search
from tests.bench.linearizability import register
from tests.check.brute import compare, histories


def history(*events):
    """A history of (process, type, f, value) or (process, type, f, value, key)."""
    made = []
    for index, (process, kind, f, value, *key) in enumerate(events):
        made.append(Operation(process, kind, f, value, time=index * 10, index=index))
        if key:
            made[-1].key = key[0]
    return made


def write(process, value):
    return (process, "invoke", "write", value), (process, "ok", "write", value)


def read(process, value):
    return (process, "invoke", "read", None), (process, "ok", "read", value)


@pytest.mark.parametrize("name", MODELS)
def test_a_checker_that_tries_all_orders_agrees(name: str) -> None:
    verdicts = [compare(events, MODELS[name]) for events in histories(name, 400)]
    assert 20 < sum(verdicts) < 390  # of both kinds


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MODELS)), st.integers(1, 10**9))
def test_a_checker_that_tries_all_orders_agrees_on_any_seed(name: str, seed: int) -> None:
    for events in histories(name, 1, seed):
        compare(events, MODELS[name])


def test_a_violation_names_the_operation_the_prefix_and_what_was_possible() -> None:
    events = history(*write("c1", 1), *write("c1", 2), *read("c2", 1), *write("c1", 3))
    verdict = check(calls(events), "register")
    found = verdict.violation
    assert verdict.answer == "not linearizable"
    assert found is not None
    assert (found.culprit.process, found.culprit.called, found.prefix) == ("c2", 5, 6)
    assert found.possible == ["2"]
    assert [call.value for call in found.order] == [1, 2]
    assert [call.called for call in found.calls] == [1, 3, 5]


def test_the_shortest_prefix_is_that_of_whichever_key_fails_first() -> None:
    events = history(
        ("a", "invoke", "read", None, "x"),
        ("b", "invoke", "read", None, "y"),
        ("b", "ok", "read", 7, "y"),
        ("a", "ok", "read", 7, "x"),
    )
    found = check(calls(events), "register").violation
    assert found is not None
    assert (found.label, found.prefix, found.shortest) == ('key "y"', 3, True)


def test_true_is_not_1() -> None:
    assert check(calls(history(*write("c1", True), *read("c1", True))), "register").answer == "linearizable"
    assert check(calls(history(*write("c1", True), *read("c1", 1))), "register").answer == "not linearizable"


def test_values_may_be_lists_and_maps() -> None:
    value = {"a": [1, {"b": None}]}
    assert check(calls(history(*write("c1", value), *read("c1", value))), "register").answer == "linearizable"


def hard(clients: int) -> list[Operation]:
    """All add different amounts at once, and one reads a sum that no choice of them has."""
    adds = [(f"c{n}", "invoke", "add", 2 * n + 2) for n in range(clients)]
    ends = [(f"c{n}", "info", "add", 2 * n + 2) for n in range(clients)]
    return history(*adds, ("r", "invoke", "read", None), ("r", "ok", "read", clients * clients + 1), *ends)


def test_a_search_that_takes_too_long_is_unknown_and_no_guess() -> None:
    verdict = check(calls(hard(60)), "counter", timeout_s=0.2)
    assert verdict.answer == "unknown"
    assert verdict.why == "no answer within 0.2 s"
    assert verdict.violation is None


def test_a_search_that_needs_too_much_memory_is_unknown() -> None:
    with pytest.raises(Exception, match="within 50 positions"):
        Search(calls(hard(12)), Model_that_hints_nothing(), Budget(None, 50)).run()


class Model_that_hints_nothing(MODELS["counter"]):  # type: ignore[misc]
    def hints(self, calls, until):
        return Model.hints(self, calls, until)


def test_a_violation_of_one_key_stands_though_another_is_unknown() -> None:
    events = hard(60)
    for event in events:
        event.key = "hard"
    start = len(events)
    for index, (kind, value) in enumerate([("invoke", None), ("ok", 5)]):
        events.append(Operation("z", kind, "read", value, 10_000 + index, start + index, "easy"))
    verdict = check(calls(events), "counter", timeout_s=0.3)
    assert verdict.answer == "not linearizable"
    assert verdict.violation is not None
    assert not verdict.violation.shortest


def test_thousands_of_pending_operations_do_not_multiply() -> None:
    events = register(2000, clients=5, values=None, infos=0.3)
    assert sum(call.pending for call in events) > 500
    search = Budget(None, 20_000)
    assert Search(events, MODELS["register"](), search).run().culprit is None


def test_many_clients_at_once_are_decided_without_trying_all_orders() -> None:
    good = register(400, clients=200, values=None, infos=0.02, seed=1)
    bad = register(400, clients=200, values=None, infos=0.02, seed=1, lie=0.2)
    assert check(good, "register", positions=50_000, timeout_s=None).answer == "linearizable"
    assert check(bad, "register", positions=50_000, timeout_s=None).answer == "not linearizable"


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (
            [*write("c", 1), ("c", "ok", "write", 1)],
            "line 3: write of process c ends (ok) but was never invoked",
        ),
        (
            [("c", "invoke", "write", 1), ("c", "invoke", "read", None)],
            "line 2: process c invokes read while its write of line 1 is open: a process does one thing "
            "at a time",
        ),
        (
            [("c", "invoke", "write", 1), ("c", "info", "write", 1), ("c", "invoke", "read", None)],
            "line 3: process c goes on, although nobody knows how its operation ended (info, line 2)",
        ),
        (
            [("c", "invoke", "write", 1, "x"), ("c", "ok", "write", 1, "y")],
            "line 2: process c invoked write of key 'x' on line 1, but write of key 'y' ends",
        ),
    ],
)
def test_what_cannot_be_a_history_is_refused(events, said: str) -> None:
    with pytest.raises(Unusable) as caught:
        calls(history(*events))
    assert str(caught.value).startswith(said)


def test_time_does_not_go_back() -> None:
    events = history(*write("c", 1))
    events[1].time = -5
    with pytest.raises(Unusable, match="line 2: time goes back, from 0 ns to -5 ns"):
        calls(events)


@pytest.mark.parametrize(
    ("model", "event", "said"),
    [
        ("register", ("c", "invoke", "append", 1), "'append' of process c is no operation of a register"),
        ("cas-register", ("c", "invoke", "cas", 1), r"its value must be \[old, new\], not 1"),
        ("kv", ("c", "invoke", "put", 1), "it has no key"),
        ("kv", ("c", "invoke", "append", 1, "x"), "what is appended must be text, not 1"),
        ("counter", ("c", "invoke", "add", "x"), "expected an integer, not 'x'"),
        ("queue", ("c", "invoke", "enqueue", None), "null cannot be put into a queue"),
    ],
)
def test_an_operation_that_a_model_does_not_know_is_refused(model: str, event, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        check(calls(history(event)), model)


def test_what_the_nemesis_does_is_no_operation() -> None:
    events = history(
        ("nemesis", "info", "partition", "n1"), *write("c", 1), ("nemesis", "info", "heal", None)
    )
    assert check(calls(events), "register").operations == 1


OWN = """
from sim.check.models import ILLEGAL, Model


class MaxRegister(Model):
    name = "max-register"
    noun = "maximum"
    forms = {"write": "value: a number", "read": "ok: the greatest written, or null"}

    def action(self, call):
        return (call.f, call.value if call.f == "write" else call.result)

    def step(self, state, action):
        f, value = action
        if f == "read":
            return state if value == state else ILLEGAL
        return value if state is None else max(state, value)
"""


class Unfinished(Model):
    name = "unfinished"


def test_a_model_of_ones_own_is_a_class_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    model = find(f"{tmp_path}/own.py:MaxRegister")
    good = history(*write("a", 3), *write("b", 2), *read("c", 3))
    bad = history(*write("a", 3), *write("b", 2), *read("c", 2))
    assert check(calls(good), model).answer == "linearizable"
    assert check(calls(bad), model).answer == "not linearizable"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "regsiter",
            "there is no model 'regsiter'; there are: register, cas-register, kv, set, queue, lock, counter",
        ),
        ("nowhere.py:X", "there is no file nowhere.py"),
        (f"{__file__}:Nothing", "defines no Model of the name Nothing"),
        (f"{__file__}:Unfinished", "Unfinished does not say what a step does"),
    ],
)
def test_a_model_that_is_not_there_is_refused(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        find(name)


class TestInAScenario:
    def test_it_says_what_it_rests_on(self) -> None:
        ok, detail = Linearizable("register")(history(*write("c", 1), *read("c", 1)))
        assert ok
        assert detail == "2 operations: there is an order that explains them"

    def test_a_violation_is_told_in_words(self) -> None:
        ok, detail = Linearizable("register")(history(*write("c1", 1), *read("c2", 5)))
        assert not ok
        assert "read -> 5 by c2 (lines 3 to 4) has no place: by then the register is 1" in detail

    def test_other_operations_can_be_left_out(self) -> None:
        events = history(*write("c", 1), ("d", "invoke", "lock", None), ("d", "ok", "lock", None))
        assert Linearizable("register", only=("read", "write"))(events)[0]
        with pytest.raises(Unusable, match="line 3: 'lock' of process d"):
            Linearizable("register")(events)

    def test_nothing_to_judge_is_no_success(self) -> None:
        assert not Linearizable("register")([])[0]

    def test_its_name_says_the_model(self) -> None:
        assert Linearizable("cas-register").name == "linearizable (cas-register)"


def test_all_orders_of_a_small_history_have_the_same_verdict_as_their_mirror() -> None:
    """Two writers and a reader at once: whichever order their ends have, what is read is one of three "
    "values."""
    begins = [("a", "invoke", "write", 1), ("b", "invoke", "write", 2), ("r", "invoke", "read", None)]
    for seen, expected in ((None, True), (1, True), (2, True), (3, False)):
        ends = [("a", "ok", "write", 1), ("b", "ok", "write", 2), ("r", "ok", "read", seen)]
        for order in itertools.permutations(ends):
            assert (check(calls(history(*begins, *order)), "register").answer == "linearizable") == expected
