"""EDN as Jepsen writes it, and what is no EDN."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from sim.check.jepsen import read_edn, read_forms
from sim.check.operations import Unusable
from sim.check.read import read


def forms(text: str) -> list[object]:
    return [form for _, form in read_forms(text)]


def test_the_values_that_histories_hold() -> None:
    assert forms("nil true false 12 -3 1.5 1e3 7N 2.5M") == [None, True, False, 12, -3, 1.5, 1000.0, 7, 2.5]
    assert forms(r':key "a \"b\"\n\u00e9" sym \a') == ["key", 'a "b"\né', "sym", "\\a"]
    assert forms("{:a [1 2], :b #{3} (4) {}}") == [{"a": [1, 2], "b": [3], "[4]": {}}]


def test_tags_comments_and_discarded_forms_are_passed_over() -> None:
    assert forms('; a comment\n#inst "2020" #_ {:gone [1]} 5 #_6 7') == ["2020", 5, 7]


def test_an_outermost_vector_is_a_history_as_well() -> None:
    assert forms("[{:a 1}\n {:a 2}]") == [{"a": 1}, {"a": 2}]
    assert [line for line, _ in read_forms("[{:a 1}\n {:a 2}]")] == [1, 2]


def event(**more: str) -> str:
    fields = {"process": "0", "type": ":invoke", "f": ":read", "value": "nil"} | more
    return "{" + " ".join(f":{name} {value}" for name, value in fields.items()) + "}\n"


def test_an_operation_has_what_protos_history_says() -> None:
    events, lines = read_edn("\n" + event(process=":c1", time="5", error="[:timeout 3]"))
    assert lines == [2]
    assert (events[0].process, events[0].type, events[0].f, events[0].time) == ("c1", "invoke", "read", 5)
    assert events[0].error == "['timeout', 3]"


def test_without_times_lines_stand_for_them() -> None:
    events, _ = read_edn(event() + event(type=":ok"))
    assert [one.time for one in events] == [1, 2]


def test_pairs_are_keys_and_values_if_all_are_pairs() -> None:
    events, _ = read_edn(event(value="[7 nil]") + event(type=":ok", value="[7 3]"))
    assert [(one.key, one.value) for one in events] == [(7, None), (7, 3)]
    events, _ = read_edn(event(f=":cas", value="[1 2]"))
    assert (events[0].key, events[0].value) == (UNSET, [1, 2])
    events, _ = read_edn(event(f=":cas", value="[1 [2 3]]"))
    assert (events[0].key, events[0].value) == (1, [2, 3])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{:process 0", "line 1: what begins here has no end"),
        ("\n\n{:process ]", "line 3: ']' closes nothing that is open"),
        ('{:a "x}', "line 1: "),
        ("{:process 0 :type}", "line 1: a map with a key that has no value"),
        ("5", "line 1: expected an operation, a map, not 5"),
        (event(process="nil"), "line 1: an operation needs a :process, a number or a name, not None"),
        (event() + event(type=":okay"), "line 2: :type must be :invoke, :ok, :fail or :info, not 'okay'"),
        (event(f="nil"), "line 1: an operation needs an :f, not None"),
        (event(time='"x"'), "line 1: :time must be an integer (ns), not 'x'"),
        (event(process="0x1f"), "line 1: '0x1f' is no number"),
        ("[" * 500, "line 1: more than 100 values within one another"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(Unusable) as caught:
        read_edn(text)
    assert str(caught.value).startswith(said)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]()#_:;"\\ \n,ainvoke019.-+eNM\0é'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_edn(text)
    except Unusable as exc:
        assert str(exc).startswith("line ")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "history.jsonl"
    Path(path).write_bytes(data)
    with pytest.raises(Unusable):
        read(path)
