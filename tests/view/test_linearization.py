"""The picture of a history and its longest order."""

from __future__ import annotations

from pathlib import Path

from sim.check.linearizable import Verdict, check
from sim.check.models import MODELS
from sim.check.read import read
from sim.view.linearization import MOST, MOST_OPEN, draw, figure
from tests.bench.linearizability import register

HISTORIES = Path(__file__).parent.parent / "check" / "histories"


def texts(verdict: Verdict) -> list[str]:
    made = figure(verdict, MODELS[verdict.model]())
    found = [text.get_text() for text in made.texts]
    for panel in made.axes:
        found += [text.get_text() for text in panel.texts]
    return found


def test_it_names_the_operation_without_a_place_and_numbers_the_others() -> None:
    told = texts(check(read(HISTORIES / "stale-read.jsonl").calls, "register"))
    assert "Not linearizable (register): read -> 1 by c3 has no place" in told
    assert "Up to line 8 of the history: by then the register is 2." in told
    assert [text for text in told if text.isdigit()] == ["1", "2", "3"]


def test_of_a_long_history_the_end_is_drawn() -> None:
    verdict = check(register(1000, clients=5, values=None, infos=0.1, lie=0.2), "register")
    assert verdict.violation is not None
    told = texts(verdict)
    assert sum(text.isdigit() for text in told) <= MOST + MOST_OPEN
    assert str(len(verdict.violation.order)) in told
    assert any("other operations, most of them before these, are not drawn" in text for text in told)


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    verdict = check(read(HISTORIES / "etcd-000.edn").calls, "cas-register")
    for name in ("one.png", "two.png"):
        draw(verdict, MODELS["cas-register"](), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_name_with_a_dollar_sign_is_no_formula() -> None:
    calls = read(HISTORIES / "stale-read.jsonl").calls
    for call in calls:
        call.process = f"$x_{call.process}$"
    assert any("$x_c3$" in text for text in texts(check(calls, "register")))
