"""Input that cannot be used: one clear line, exit status 2, nothing left behind that looks whole."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Dsim


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run basics/pign", "there is no scenario 'basics/pign'; did you mean basics/ping"),
        ("run nowhere.py", "there is no scenario file nowhere.py"),
        ("run", "Missing argument 'SCENARIO'. (see: dsim run --help)"),
        (
            "run story.py --set tick=2",
            "story has no parameter 'tick'; did you mean ticks? (it has: ticks, how)",
        ),
        ("run story.py --set ticks=two", "parameter ticks=two: expected int"),
        ("run story.py --set ticks=0", "parameter ticks=0: expected int >= 1"),
        ("run story.py --set how=badly", "parameter how=badly: expected well or ill"),
        ("run story.py --set ticks", "--set ticks: write it as KEY=VALUE"),
        ("run story.py --seed x", "Invalid value for '--seed': Input should be a valid integer"),
        ("run story.py --world grcp", "there is no world 'grcp'; did you mean grpc? (there are: sim, grpc)"),
        ("run story.py --world grpc --interleave", "only the simulated world can permute ready tasks"),
        ("run story.py --limit -1", "the limit must be more than 0 s of real time, not -1"),
        ("run story.py --limit nan", "the limit must be more than 0 s of real time, not nan"),
        ("sweep story.py --limit nan", "--limit nan: a run needs some time"),
        (
            "sweep story.py --seeds 0:9999999999999999999999",
            "--seeds 0:9999999999999999999999: at most 1,000",
        ),
        ("run story.py --colour red", "No such option: --colour"),
        ("run story.py --out story.py", "cannot write story.py: File exists"),
        (
            "run story.py --schedule nowhere.json",
            "cannot read schedule nowhere.json: No such file or directory",
        ),
        ("run story.py --schedule story.py", "story.py is not a schedule of faults: "),
        ("replay nowhere", "there is no run folder nowhere"),
        ("replay story.py", "story.py is not a run folder but a file"),
        ("replay empty", "empty is not a run: it holds no summary.json"),
        ("plot nowhere", "nowhere: no such run folder"),
        ("plot empty", "empty: not a run folder (it has no trace.jsonl)"),
        ("plot empty --kind spacetiem", "no kind of picture 'spacetiem'; there are: spacetime, "),
        ("export nowhere --to perfetto", "there is no run folder nowhere"),
        ("sprout echo", "No such command 'sprout'"),
        (
            "up ehco",
            "there is no system 'ehco'; did you mean echo? (there are: echo, mapreduce",
        ),
        ("up echo --nodes 0", "echo needs at least 1 nodes, not 0"),
        ("up echo --nodes 101", "101 nodes are too many for one machine: at most 100"),
        ("status", "no cluster was started: dsim up SYSTEM"),
        ("down --dir empty", "there is no cluster in"),
        ("fault crush n1", "there is no fault 'crush'; did you mean crash?"),
        ("fault partition n1", "partition needs two groups or more: dsim fault partition a,b c"),
        ("fault slow n1 --set gpu=3", "slow has no setting 'gpu'; it has: cpu, disk"),
        ("fault slow n1 --set cpu=x", "slow: Expected `float`, got `str` - at `$.cpu`"),
        ("fault crash n1 --for 0", "--for 0: must be more than 0 seconds"),
    ],
)
def test_one_line_says_what_is_wrong(dsim: Dsim, story: Path, arguments: str, said: str) -> None:
    Path("empty").mkdir()
    before = sorted(path.name for path in Path.cwd().iterdir() if path.name != "__pycache__")
    result = dsim(*arguments.split())
    assert result.status == 2
    assert result.err.startswith(f"dsim: {said}")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    assert sorted(path.name for path in Path.cwd().iterdir() if path.name != "__pycache__") == before


def test_a_broken_file_is_shown_with_its_own_line(dsim: Dsim) -> None:
    Path("broken.py").write_text("from sim import scenario\n\n@scenaro(checks=())\nasync def x(world): ...\n")
    result = dsim("run", "broken.py")
    assert result.status == 2
    assert result.err == (
        f"dsim: cannot load {Path.cwd() / 'broken.py'}, line 3: NameError: name 'scenaro' is not defined\n"
        "    @scenaro(checks=())\n"
    )


def test_an_output_folder_that_is_not_empty_is_left_alone(dsim: Dsim, story: Path) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter1.txt").write_text("years of work")
    result = dsim("run", story, "--out", "thesis")
    assert (result.status, result.err) == (
        2,
        "dsim: output folder thesis is not empty: choose a new one with --out, or empty it\n",
    )
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter1.txt"]


def test_a_folder_that_cannot_be_read_or_written_is_named(
    dsim: Dsim, story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    dsim("run", story, "--out", "here")
    with monkeypatch.context() as patched:  # modes would not do: root may read everything
        patched.setattr(Path, "read_bytes", denied)
        assert dsim("replay", "here").err == "dsim: cannot read here: Permission denied\n"
        result = dsim("run", story, "--schedule", "here/schedule.json")
        assert result.err == "dsim: cannot read schedule here/schedule.json: Permission denied\n"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", denied)
        result = dsim("run", story, "--out", "locked/here")
        assert (result.status, result.err) == (2, "dsim: cannot write locked/here: Permission denied\n")


def test_a_damaged_run_is_named(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here")
    Path("here/summary.json").write_text('{"scenario": "story"')
    result = dsim("replay", "here")
    assert result.status == 2
    assert result.err.startswith("dsim: here/summary.json is damaged: ")
    result = dsim("plot", "here")
    assert result.status == 2
    assert result.err.startswith("dsim: here/summary.json: ")
    Path("here/summary.json").unlink()
    Path("here/incomplete").write_text("interrupted by Ctrl-C\n")
    assert dsim("replay", "here").err == (
        "dsim: the run in here is incomplete (interrupted by Ctrl-C): run it again\n"
    )


def test_a_run_without_its_trace_cannot_be_replayed_or_exported(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here")
    Path("here/trace.jsonl").unlink()
    assert dsim("replay", "here").err == "dsim: here holds no trace.jsonl: there is nothing to compare with\n"
    result = dsim("export", "here", "--to", "perfetto")
    assert result.status == 2
    assert result.err.startswith("dsim: here/trace.jsonl: No such file")


def test_an_unknown_export_format_lists_the_known_ones(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here")
    result = dsim("export", "here", "--to", "otlp")
    assert (result.status, result.err) == (2, "dsim: no export format 'otlp'; there are: perfetto, shiviz\n")


def test_a_schedule_that_names_a_host_that_there_is_not(dsim: Dsim, story: Path) -> None:
    Path("s.json").write_text('[{"at": 1, "fault": {"kind": "crash", "host": "clok"}}]')
    result = dsim("run", story, "--schedule", "s.json", "--out", "here")
    assert result.status == 2
    assert result.err == (
        "dsim: schedule, action 1: crash: there is no host 'clok'; did you mean clock? (there are: clock)\n"
    )
    assert not Path("here").exists()


def test_a_schedule_with_an_unknown_kind_or_a_value_out_of_range(dsim: Dsim, story: Path) -> None:
    Path("s.json").write_text('[{"at": 1, "fault": {"kind": "crush", "host": "clock"}}]')
    result = dsim("run", story, "--schedule", "s.json")
    assert result.status == 2
    assert "Invalid value 'crush' - at `$[0].fault.kind`" in result.err
    Path("s.json").write_text('[{"at": 1, "fault": {"kind": "slow", "host": "clock", "cpu": -1}}]')
    result = dsim("run", story, "--schedule", "s.json")
    assert result.status == 2
    assert result.err.startswith("dsim: schedule, action 1: slow: cpu is -1.0, must be")


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ('{"at": -1, "fault": {"kind": "crash", "host": "clock"}}', "not -1 - at `$[0].at`"),
        ('{"at": 1, "lasts": -3, "fault": {"kind": "crash", "host": "clock"}}', "not -3 - at `$[0].lasts`"),
        ('{"at": 1e17, "fault": {"kind": "crash", "host": "clock"}}', "not 1e+17 - at `$[0].at`"),
        ('{"at": 1, "lsts": 3, "fault": {"kind": "crash", "host": "clock"}}', "unknown field `lsts`"),
        ('{"at": 1, "fault": {"kind": "slow", "host": "clock", "gpu": 3}}', "unknown field `gpu`"),
    ],
)
def test_a_schedule_that_says_what_cannot_be_is_refused(
    dsim: Dsim, story: Path, action: str, said: str
) -> None:
    Path("s.json").write_text(f"[{action}]")
    result = dsim("run", story, "--schedule", "s.json", "--out", "here")
    assert result.status == 2
    assert result.err.startswith("dsim: s.json is not a schedule of faults: ")
    assert said in result.err
    assert not Path("here").exists()


def test_a_trace_that_is_not_what_was_recorded_is_not_called_identical(dsim: Dsim, story: Path) -> None:
    dsim("run", story, "--out", "here")
    trace = Path("here/trace.jsonl")
    trace.write_bytes(trace.read_bytes()[:-40])
    result = dsim("replay", "here")
    assert result.status == 2
    assert result.err.startswith(
        "dsim: here/trace.jsonl is damaged: it is not the trace that summary.json tells"
    )


@pytest.mark.parametrize("stop", ["import sys; sys.exit(5)", "raise BaseException('five')"])
def test_a_file_that_stops_while_it_is_loaded_is_shown(dsim: Dsim, stop: str) -> None:
    Path("broken.py").write_text(f"{stop}\n")
    result = dsim("run", "broken.py")
    assert result.status == 2
    assert result.err.startswith(f"dsim: cannot load {Path.cwd() / 'broken.py'}, line 1: ")
    assert "five" in result.err or "SystemExit: 5" in result.err


COMMAND = [sys.executable, "-c", "from sim.cli import main; main()"]


def test_a_full_disk_behind_the_output_is_named() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "dsim: cannot write the output: No space left on device\n")


def test_a_reader_that_has_seen_enough_is_no_failure(story: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "list"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_and_ascii_streams_will_do(story: Path) -> None:
    command = f'{shlex.join([*COMMAND, "run", str(story), "--out"])} "$0" <&- >&-'
    assert subprocess.run(["sh", "-c", command, story.parent / "closed"], check=False).returncode == 0
    told = [*COMMAND, "run", str(story), "--set", "ticks=→"]
    done = subprocess.run(
        told, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "dsim: parameter ticks=\\u2192: expected int, got str\n",
    )
