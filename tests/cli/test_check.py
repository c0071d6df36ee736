"""`dsim check`: verdicts and exit statuses, words, JSON, pictures, and input that cannot be used."""

import json
from pathlib import Path

import pytest

from .conftest import Dsim

HISTORIES = Path(__file__).parent.parent / "check" / "histories"


def lines(*events: dict[str, object]) -> str:
    return "".join(
        json.dumps({"time": index * 1_000_000, "index": index, "value": None} | event) + "\n"
        for index, event in enumerate(events)
    )


def call(process: str, f: str, value: object, result: object = None) -> tuple[dict[str, object], ...]:
    ended = value if result is None else result
    return (
        {"process": process, "type": "invoke", "f": f, "value": value},
        {"process": process, "type": "ok", "f": f, "value": ended},
    )


GOOD = lines(*call("c1", "write", 1), *call("c2", "read", None, 1))
BAD = lines(*call("c1", "write", 1), *call("c1", "write", 2), *call("c2", "read", None, 1))


def hard() -> str:
    """A history that no search can decide soon: sums of sixty numbers."""
    adds = [{"process": f"c{n}", "type": "invoke", "f": "add", "value": 2 * n + 2} for n in range(60)]
    return lines(*adds, *call("r", "read", None, 3601))


def test_a_linearizable_history_ends_with_0(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(GOOD)
    result = dsim("check", "h.jsonl", "--model", "register")
    assert (result.status, result.err) == (0, "")
    assert result.out == "linearizable: 2 operations: there is an order that explains them\n"
    assert [path.name for path in Path.cwd().iterdir()] == ["h.jsonl"]


def test_a_violation_ends_with_1_and_says_what_has_no_place(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(BAD)
    result = dsim("check", "h.jsonl", "--model", "register")
    assert result.status == 1
    assert result.out.startswith(
        "NOT linearizable: read -> 1 by c2 (lines 5 to 6) has no place: by then the register is 2."
    )
    assert "shortest prefix that fails: lines 1 to 6; the longest that does not: to 5" in result.out
    assert result.out.endswith("picture: h-violation.png\n")
    assert Path("h-violation.png").read_bytes().startswith(b"\x89PNG")


def test_a_prefix_said_to_be_the_shortest_fails_and_one_line_less_does_not(dsim: Dsim) -> None:
    writes = [*call("c1", "write", 1), *call("c1", "write", 2)]
    Path("h.jsonl").write_text(lines(*writes, *call("c2", "read", None, 1), *call("c3", "write", 9)))
    told = json.loads(dsim("check", "h.jsonl", "--model", "register", "--json", "--no-plots").out)
    text = Path("h.jsonl").read_text().splitlines(keepends=True)
    for prefix, status in ((told["prefix"], 1), (told["prefix"] - 1, 0)):
        Path("prefix.jsonl").write_text("".join(text[:prefix]))
        assert dsim("check", "prefix.jsonl", "--model", "register", "--no-plots").status == status


def test_json_holds_all_that_is_known(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(BAD)
    told = json.loads(dsim("check", "h.jsonl", "--model", "register", "--json", "--no-plots").out)
    assert told == {
        "answer": "not linearizable",
        "model": "register",
        "operations": 3,
        "pending": 0,
        "keys": 1,
        "why": "read -> 1 by c2 (lines 5 to 6) has no place: by then the register is 2",
        "operation": {
            "process": "c2",
            "f": "read",
            "value": None,
            "result": 1,
            "ended": "ok",
            "lines": [5, 6],
        },
        "prefix": 6,
        "shortest": True,
        "possible": ["2"],
        "order": [
            {"process": "c1", "f": "write", "value": 1, "result": 1, "ended": "ok", "lines": [1, 2]},
            {"process": "c1", "f": "write", "value": 2, "result": 2, "ended": "ok", "lines": [3, 4]},
        ],
    }


def test_no_answer_in_time_ends_with_3(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(hard())
    result = dsim("check", "h.jsonl", "--model", "counter", "--timeout", "0.2")
    assert result.status == 3
    assert result.out == "UNKNOWN: 61 operations (60 of unknown end): no answer within 0.2 s\n"


def test_a_run_folder_will_do(dsim: Dsim) -> None:
    folder = Path("run")
    folder.mkdir()
    (folder / "history.jsonl").write_text(BAD)
    assert dsim("check", "run", "--model", "register").status == 1
    assert (folder / "history-violation.png").exists()


def test_jepsens_histories_will_do(dsim: Dsim) -> None:
    result = dsim("check", HISTORIES / "etcd-007.edn", "--model", "cas-register")
    assert result.status == 0
    result = dsim("check", HISTORIES / "etcd-000.edn", "--model", "cas-register", "--out", "it.svg")
    assert result.status == 1
    assert Path("it.svg").read_text().startswith("<?xml")


def test_an_order_of_a_good_history_is_drawn_on_request(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(GOOD)
    assert "picture: it.png" in dsim("check", "h.jsonl", "--model", "register", "--out", "it.png").out
    assert Path("it.png").exists()


def test_a_picture_that_cannot_be_written_leaves_the_verdict_alone(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(BAD)
    result = dsim("check", "h.jsonl", "--model", "register", "--out", "nowhere/it.png")
    assert result.status == 1
    assert result.err == "dsim: no picture: nowhere/it.png: No such file or directory\n"


def test_operations_of_other_kinds_can_be_left_out(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(
        lines(*call("c1", "write", 1), *call("c1", "lock", None), *call("c1", "read", None, 1))
    )
    assert dsim("check", "h.jsonl", "--model", "register", "--only", "read", "--only", "write").status == 0


def test_a_last_line_that_is_cut_off_is_left_out_and_told(dsim: Dsim) -> None:
    Path("h.jsonl").write_text(GOOD + '{"process": "c3", "ty')
    result = dsim("check", "h.jsonl", "--model", "register")
    assert result.status == 0
    assert result.err == "dsim: h.jsonl: ends in the middle of line 5, which is left out\n"


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (GOOD, "nowhere.jsonl --model register", "there is no history nowhere.jsonl"),
        (GOOD, ". --model register", ". is not a run folder: it holds no history.jsonl"),
        (GOOD, "h.jsonl --model regsiter", "there is no model 'regsiter'; there are: register, cas-register"),
        (GOOD, "h.jsonl", "Missing option '--model'"),
        (GOOD, "h.jsonl --model register --timeout 0", "--timeout 0: a search needs some time"),
        (GOOD, "h.jsonl --model register --timeout nan", "--timeout nan: a search needs some time"),
        (GOOD, "h.jsonl --model register --out it.pdf", "--out it.pdf: the picture is a .png or a .svg"),
        (GOOD, "h.jsonl --model queue", "h.jsonl, line 1: 'write' of process c1 is no operation of a queue"),
        (GOOD, "h.jsonl --model register --only cas", "h.jsonl holds no operations of that kind"),
        ("", "h.jsonl --model register", "h.jsonl holds no operations"),
        ("hello\n", "h.jsonl --model register", "h.jsonl, line 1: not an operation: "),
        (
            GOOD + "{}\n",
            "h.jsonl --model register",
            "h.jsonl, line 5: not an operation: object missing required",
        ),
        (
            GOOD.splitlines()[1] + "\n",
            "h.jsonl --model register",
            "h.jsonl, line 1: write of process c1 ends (ok)",
        ),
        ("{:process 0", "h.jsonl --model register", "h.jsonl, line 1: what begins here has no end"),
        ("\ud800", "h.jsonl --model register", "h.jsonl, line 1: not UTF-8 text"),
    ],
)
def test_one_line_says_what_is_wrong(dsim: Dsim, text: str, arguments: str, said: str) -> None:
    Path("h.jsonl").write_bytes(text.encode(errors="surrogatepass"))
    if text == "\ud800":
        Path("h.jsonl").write_bytes(b'{:a "\xff"}')
    result = dsim("check", *arguments.split())
    assert result.status == 2
    assert result.err.startswith(f"dsim: {said}")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""


STORY = '''
from sim import World, scenario
from sim.check.linearizable import Linearizable


@scenario(checks=(Linearizable("register"),), plots=())
async def story(world: World, *, lie: bool = False):
    """A register that may lie."""
    async with world.operation("c1", "write", 1) as op:
        op.ok()
    async with world.operation("c2", "read") as op:
        op.ok(2 if lie else 1)
'''


def test_a_scenario_names_it_among_its_checks(dsim: Dsim) -> None:
    Path("story.py").write_text(STORY)
    result = dsim("run", "story.py", "--out", "good")
    assert result.status == 0
    assert "ok  linearizable (register): 2 operations: there is an order that explains them" in result.out
    result = dsim("run", "story.py", "--set", "lie=true", "--out", "bad")
    assert result.status == 1
    assert (
        "NOT linearizable (register): 2 operations: read -> 2 by c2 (lines 3 to 4) has no place" in result.out
    )
    assert dsim("check", "bad", "--model", "register").status == 1
