"""`dsim list`, `run` and `replay`, as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Dsim


def test_list_shows_a_line_for_each_scenario(dsim: Dsim) -> None:
    result = dsim("list")
    assert result.status == 0
    assert "basics/ping" in [line.split()[0] for line in result.out.splitlines()]
    assert "Pings between hosts: their latency, a partition, a deadline that expires, healing." in result.out


def test_list_as_json_has_parameters_and_checks(dsim: Dsim) -> None:
    rows = {row["name"]: row for row in json.loads(dsim("list", "--json").out)}
    assert rows["basics/ping"]["parameters"] == {"pings": 5}
    assert rows["basics/ping"]["checks"] == ["answered", "deadline holds", "healed"]


def test_run_tells_verdict_checks_folder_and_how_to_run_again(dsim: Dsim, story: Path) -> None:
    result = dsim("run", story, "--seed", "7", "--set", "ticks=2")
    assert result.status == 0
    assert result.out.startswith("story, simulated, seed 7: PASS\n  ok  counted: 2 ticks\n")
    assert "run:    runs/story/sim-seed7\n" in result.out
    assert "again:  dsim run story.py:story --seed 7 --set ticks=2\n" in result.out
    assert Path("runs/story/sim-seed7/summary.json").exists()


@pytest.mark.parametrize(
    ("setting", "status", "verdict"),
    [("ticks=4", 0, "pass"), ("ticks=5", 1, "fail"), ("how=ill", 3, "error")],
)
def test_the_exit_status_is_the_verdict(
    dsim: Dsim, story: Path, setting: str, status: int, verdict: str
) -> None:
    result = dsim("run", story, "--set", setting, "--json")
    assert result.status == status
    assert json.loads(result.out)["verdict"] == verdict


def test_json_is_the_summary_and_nothing_else(dsim: Dsim, story: Path) -> None:
    result = dsim("run", story, "--json", "--out", "here")
    printed = json.loads(result.out)
    assert printed.pop("folder") == "here"
    assert printed == json.loads(Path("here/summary.json").read_bytes())


def test_a_failing_scenario_shows_its_own_traceback_and_none_of_ours(dsim: Dsim, story: Path) -> None:
    result = dsim("run", story, "--set", "how=ill")
    assert f'Traceback (most recent call last):\n  File "{story}", line ' in result.out
    assert "LookupError: it ends ill" in result.out
    assert "/sim/" not in result.out
    assert result.err == ""


def test_replay_says_that_the_trace_is_identical(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here", "--interleave")
    result = dsim("replay", "here")
    assert result.status == 0
    assert result.out.startswith("identical: ")


def test_replay_of_an_edited_schedule_shows_the_first_event_that_differs(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here")
    schedule = Path("here/schedule.json")
    schedule.write_text(schedule.read_text().replace('"at":1.0', '"at":0.25'))
    result = dsim("replay", "here")
    assert result.status == 1
    assert result.out.startswith("NOT identical: ")
    assert "first difference in line 4 of trace.jsonl" in result.out
    now = json.loads(result.out.split("now:    ")[1].splitlines()[0])
    assert (now["kind"], now["name"], now["time"]) == ("fault", "crash", 250_000_000)


def test_a_schedule_can_be_put_in_the_place_of_the_scenarios(dsim: Dsim, story: Path) -> None:
    Path("calm.json").write_text("[]")
    result = dsim("run", story, "--schedule", "calm.json", "--json")
    assert (result.status, json.loads(result.out)["faults"]) == (0, 0)


def test_a_scenario_runs_as_a_script(tmp_path: Path) -> None:
    from .conftest import STORY

    file = tmp_path / "script.py"
    file.write_text(STORY + '\n\nif __name__ == "__main__":\n    story.main()\n')
    done = subprocess.run(
        [sys.executable, file.name, "--set", "ticks=5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("script/story, simulated, seed 0: FAIL")


def test_ctrl_c_ends_with_130_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    from .conftest import STORY

    (tmp_path / "endless.py").write_text(STORY.replace("await asyncio.sleep(ticks)", "while True: pass"))
    dsim = [sys.executable, "-c", "from sim.cli import main; main()", "run", "endless.py", "--out", "here"]
    running = subprocess.Popen(dsim, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    mark = tmp_path / "here" / "schedule.json"
    while not mark.exists() and running.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(20) == 130
    assert running.stderr is not None
    assert running.stderr.read() == "dsim: interrupted\n"
    assert (tmp_path / "here" / "incomplete").read_text() == "interrupted by Ctrl-C\n"
    assert '"tick"' in (tmp_path / "here" / "trace.jsonl").read_text()
    assert not (tmp_path / "here" / "summary.json").exists()


def test_next_to_nothing_is_loaded_before_ctrl_c_is_answered() -> None:
    """Until `main` runs, Ctrl-C is answered by Python's traceback."""
    root = Path(__file__).parents[2]
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r}); before = set(sys.modules); import sim.cli; "
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sim.cli" in found and "typing" not in found
    assert len(found) < 30


def test_a_trace_that_ends_in_mid_line_is_drawn_and_exported_with_a_word(dsim: Dsim, story: Path) -> None:
    assert dsim("run", story, "--out", "here", "--no-plots").status == 0
    trace = Path("here/trace.jsonl")
    assert dsim("export", "here", "--to", "perfetto").err == ""
    trace.write_bytes(trace.read_bytes()[:-9])
    said = "dsim: here/trace.jsonl: ends in the middle of a line, which is left out\n"
    for command in (("export", "here", "--to", "perfetto"), ("plot", "here", "--kind", "spacetime")):
        told = dsim(*command)
        assert (told.status, told.err) == (0, said)
        assert told.out


def test_a_picture_of_a_part_of_a_run_leaves_the_whole_one_alone(dsim: Dsim, story: Path) -> None:
    assert dsim("run", story, "--out", "here", "--no-plots").status == 0
    assert dsim("plot", "here", "--kind", "spacetime").out == "here/spacetime.png\n"
    whole = Path("here/spacetime.png").read_bytes()
    part = dsim("plot", "here", "--kind", "spacetime", "--from", "0.5", "--to", "2")
    assert part.out == "here/spacetime-0.5s-2s.png\n"
    assert dsim("plot", "here", "--kind", "spacetime", "--from", "1").out == "here/spacetime-1s-end.png\n"
    assert Path("here/spacetime.png").read_bytes() == whole


def test_without_a_command_the_help_is_shown(dsim: Dsim) -> None:
    result = dsim()
    assert (result.status, result.err) == (2, "")
    assert result.out == dsim("--help").out


@pytest.mark.parametrize(
    "command",
    ["list", "run", "replay", "sweep", "shrink", "plot", "export", "up", "status", "fault", "heal", "down"],
)
def test_the_help_of_each_command_ends_with_an_example(dsim: Dsim, command: str) -> None:
    result = dsim(command, "--help")
    assert result.status == 0
    assert f"Example: dsim {command}" in " ".join(result.out.splitlines()[-2:])
