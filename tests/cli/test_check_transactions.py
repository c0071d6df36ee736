"""`dsim check` on transactions: verdicts and exit statuses, words, JSON, pictures, unusable input."""

import json
from pathlib import Path

import pytest

from protos.history import Operation
from sim.check.transactions import LEVELS
from sim.cli.check_transactions import MODELS
from tests.check.transactions.stories import in_turn, together

from .conftest import Dsim


def write(events: list[Operation], path: str = "h.jsonl") -> None:
    import msgspec

    Path(path).write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))


SKEW = together("r x [], append y 1", "r y [], append x 1")


def test_the_levels_are_those_of_the_checker() -> None:
    assert MODELS[:4] == LEVELS


def test_a_level_that_holds_ends_with_0(dsim: Dsim) -> None:
    write(in_turn("append x 1", "r x [1]"))
    result = dsim("check", "h.jsonl", "--model", "strict-serializable")
    assert (result.status, result.err) == (0, "")
    assert result.out == "strict-serializable: 2 committed transactions on 1 list: no anomaly.\n"
    assert [path.name for path in Path.cwd().iterdir()] == ["h.jsonl"]


def test_a_level_that_is_broken_ends_with_1_and_a_weaker_one_with_0(dsim: Dsim) -> None:
    write(SKEW)
    result = dsim("check", "h.jsonl", "--model", "serializable")
    assert result.status == 1
    assert result.out.startswith(
        "NOT serializable: 2 committed transactions on 2 lists.\n"
        "The weakest level that is broken is serializable, and so every stronger one.\n\n"
        "G2-item x 1: write skew: a cycle with adjacent anti-dependencies; breaks serializable\n"
    )
    assert "T1 -> T2     rw        T1 read 'x' = [], without 1, which T2 appended" in result.out
    assert result.out.endswith("picture: h-violation.png\n")
    assert Path("h-violation.png").read_bytes().startswith(b"\x89PNG")
    result = dsim("check", "h.jsonl", "--model", "snapshot-isolation")
    assert result.status == 0
    assert result.out.startswith("snapshot-isolation: ")
    assert "G2-item x 1" in result.out


def test_json_has_the_whole_verdict(dsim: Dsim) -> None:
    write(SKEW)
    result = dsim("check", "h.jsonl", "--model", "serializable", "--json", "--no-plots")
    told = json.loads(result.out)
    assert (told["answer"], told["weakest"], told["committed"]) == ("broken", "serializable", 2)
    assert told["proven"] == "snapshot-isolation"
    (anomaly,) = told["anomalies"]
    assert (anomaly["name"], anomaly["count"]) == ("G2-item", 1)
    assert [(hop["from"], hop["to"], hop["kind"], hop["key"]) for hop in anomaly["cycle"]] == [
        ("T1", "T2", "rw", "x"),
        ("T2", "T1", "rw", "y"),
    ]
    assert anomaly["transactions"][0]["operations"] == [["r", "x", []], ["append", "y", 1]]


def test_jepsens_edn_is_read_also_when_each_transaction_has_two_operations(dsim: Dsim) -> None:
    Path("history.edn").write_text(
        "{:index 0 :type :invoke :process 0 :f :txn :value [[:r :x nil] [:append :y 1]] :time 1}\n"
        "{:index 1 :type :invoke :process 1 :f :txn :value [[:r :y nil] [:append :x 1]] :time 2}\n"
        "{:index 2 :type :ok :process 0 :f :txn :value [[:r :x []] [:append :y 1]] :time 3}\n"
        "{:index 3 :type :info :process :nemesis :f :kill :value nil :time 3}\n"
        "{:index 4 :type :ok :process 1 :f :txn :value [[:r :y nil] [:append :x 1]] :time 4}\n"
    )
    result = dsim("check", "history.edn", "--model", "serializable", "--no-plots")
    assert result.status == 1
    assert "G2-item x 1" in result.out


def test_timestamps_are_judged_and_their_disagreement_is_drawn(dsim: Dsim) -> None:
    write(in_turn(("w x 1", "ok", 9), ("w y 1", "ok", 5), ("r x 1, r y 1", "ok", 10)))
    result = dsim("check", "h.jsonl", "--model", "external-consistency", "--out", "picture.svg")
    assert result.status == 1
    assert "timestamp-replay: 3 transactions in the order of their timestamps explain 2 reads." in result.out
    assert (
        "NOT external-consistency: timestamp-order x 1 (timestamps against real time): "
        "T1 had ended (line 2) before T2 began (line 3), but T2 has timestamp 5, T1 9."
    ) in result.out
    assert "T1, process c0, lines 1 to 2" in Path("picture.svg").read_text()
    assert "timestamp 9" in Path("picture.svg").read_text()
    told = json.loads(dsim("check", "h.jsonl", "--model", "external-consistency", "--json", "--no-plots").out)
    assert [(one["check"], one["ok"]) for one in told["checks"]] == [
        ("timestamp-replay", True),
        ("timestamp-order", False),
    ]


def test_versions_in_the_order_of_timestamps(dsim: Dsim) -> None:
    write(together(("w x 1", "ok", 5), ("w x 2, w y 2", "ok", 7), ("r x 1, r y 2", "ok", 9)))
    arguments = ("check", "h.jsonl", "--model", "serializable", "--no-plots")
    assert dsim(*arguments).status == 0
    assert dsim(*arguments, "--by-timestamp").status == 1


def test_buffered_writes_are_not_seen_by_their_own_transaction(dsim: Dsim) -> None:
    write(together("append x 1, r x []"))
    assert dsim("check", "h.jsonl", "--model", "serializable", "--no-plots").status == 1
    assert dsim("check", "h.jsonl", "--model", "serializable", "--buffered").status == 0


def txn(value: str, **more: object) -> str:
    lines = [
        {"process": "c", "type": kind, "f": "txn", "value": 0, "time": 0, "index": 0}
        for kind in ("invoke", "ok")
    ]
    return "".join(
        json.dumps(line | more).replace('"value": 0', f'"value": {value}') + "\n" for line in lines
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (txn("3"), "line 2: the value of a transaction is a list of operations, not 3"),
        (txn("[3]"), "line 2: an operation of a transaction is [r|w|append, key, value], not 3"),
        (txn('[["r", "x"]]'), "is [r|w|append, key, value], not ['r', 'x']"),
        (txn('[["inc", "x", 1]]'), "line 2: 'inc' is no operation of a transaction (r, w, append)"),
        (txn('[["r", null, 1]]'), "line 2: an operation needs a key"),
        (txn('[["w", "x", null]]'), "line 2: what is written must be a number or a text"),
        (txn('[["append", "x", [1]]]'), "line 2: what is written must be a number or a text"),
        (txn('[["append", "x", true]]'), "line 2: what is written must be a number or a text"),
        (txn('[["append", "x", 1], ["append", "x", 1]]'), "line 1: 1 is written to key 'x' twice"),
        (txn('[["append", "x", 1], ["w", "x", 2]]'), "line 1: key 'x' is both appended to and written"),
        (txn('[["append", "x", 1], ["r", "x", 5]]'), "line 2: a read of key 'x' returned 5, not a list"),
        (
            txn('[["w", "x", 1], ["r", "x", [5]]]'),
            "line 2: a read of key 'x' returned [5], not a number or a text",
        ),
        (txn('[["r", "x", [[5]]]]'), "line 2: a read of key 'x' has the element [5]"),
        (
            txn('[["r", "x", {"a": 1}]]'),
            "line 2: a read of key 'x' returned {'a': 1}, not a number or a text",
        ),
        (txn("[]", f="read"), "line 1: 'read' of process c is no transaction"),
        (txn('[["w", "x", 1]]', timestamp="now"), "line 1: not an operation"),
        ("", "holds no operations"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_line(dsim: Dsim, text: str, said: str) -> None:
    Path("h.jsonl").write_text(text)
    result = dsim("check", "h.jsonl", "--model", "serializable")
    assert result.status == 2
    assert result.err.startswith("dsim: h.jsonl")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_the_same_value_by_two_transactions_is_told_with_both_lines(dsim: Dsim) -> None:
    write(in_turn("w x 1", "w x 1"))
    result = dsim("check", "h.jsonl", "--model", "serializable")
    assert result.status == 2
    assert "lines 1 and 3: 1 is written to key 'x' twice: each write needs a value of its own" in result.err


def test_options_for_transactions_are_refused_elsewhere(dsim: Dsim) -> None:
    write(SKEW)
    result = dsim("check", "h.jsonl", "--model", "register", "--by-timestamp")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("dsim: --by-timestamp is for transactions: --model read-committed, ")
    assert "serializable" in dsim("check", "h.jsonl", "--model", "serialisable").err
    assert "no transaction has a timestamp" in dsim("check", "h.jsonl", "--model", "external-consistency").err
