"""Stories of every ending, run in the simulated world."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from protos.history import Operation
from protos.trace import Note, TraceEvent
from services.host import Host
from sim import InvalidInput, Summary, World, run, scenario
from sim.faults import Action, Crash, Isolate, Pause, Slow, read_schedule
from sim.scenario.folder import (
    INCOMPLETE,
    SCHEDULE,
    SUMMARY,
    TRACE,
    RunFolder,
    default_folder,
    read_summary,
)


async def ticker(host: Host, ticks: int = 3) -> None:
    for tick in range(ticks):
        host.trace("tick", number=tick)
        await asyncio.sleep(1)


@scenario(checks=("ticked", "counted"))
async def ticks(world: World, *, ticks: int = 3, expected: int = 3) -> None:
    """A host ticks, and a client counts."""
    await world.start("clock", ticker, ticks=ticks)
    async with world.operation("client", "count") as op:
        await asyncio.sleep(ticks)
        op.ok(ticks)
    world.note("counted", ticks=ticks)
    world.check("ticked", True)
    world.check("counted", ticks == expected, f"{ticks} ticks, expected {expected}")


def test_a_run_that_holds_passes(tmp_path: Path) -> None:
    summary = run(ticks, out=tmp_path / "run")
    assert (summary.verdict, summary.passed, summary.exit_status) == ("pass", True, 0)
    assert [(c.name, c.ok) for c in summary.checks] == [("ticked", True), ("counted", True)]
    assert (summary.operations, summary.faults, summary.virtual_s) == (1, 0, 3.0)


def test_a_violated_check_fails_and_the_summary_says_how_to_run_it_again() -> None:
    summary = run(ticks, {"ticks": 2}, seed=4)
    assert (summary.verdict, summary.exit_status, summary.failed()) == ("fail", 1, ["counted"])
    assert "counted: 2 ticks, expected 3" in repr(summary)
    assert "dsim run tests/scenario/test_run.py:ticks --seed 4 --set ticks=2" in repr(summary)


def test_the_run_folder_holds_what_the_design_lists(tmp_path: Path) -> None:
    summary = run(ticks, out=tmp_path / "run")
    fields = json.loads((tmp_path / "run" / SUMMARY).read_bytes())
    assert {
        "scenario",
        "world",
        "seed",
        "params",
        "verdict",
        "checks",
        "events",
        "operations",
        "faults",
    } <= set(fields)
    assert {"trace_sha256", "virtual_s", "wall_s", "version", "replay", "complete"} <= set(fields)
    assert {"plots", "pictures"} <= set(fields)
    assert fields["complete"] is True
    trace = (tmp_path / "run" / TRACE).read_text().splitlines()
    assert len(trace) == summary.events
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [(o["process"], o["type"], o["time"]) for o in history] == [
        ("client", "invoke", 0),
        ("client", "ok", 3_000_000_000),
    ]
    assert not (tmp_path / "run" / INCOMPLETE).exists()
    assert read_summary(tmp_path / "run") == summary


def test_the_same_seed_gives_the_same_trace_and_keeping_it_or_not_makes_no_difference(tmp_path: Path) -> None:
    kept = run(ticks, out=tmp_path / "run")
    assert run(ticks).trace_sha256 == kept.trace_sha256


@scenario(checks=("reached", "never"))
async def forgets(world: World) -> None:
    """Declares a check and forgets to report it."""
    world.check("reached", True)


def test_a_check_that_is_never_reached_counts_as_failed() -> None:
    summary = run(forgets)
    assert summary.verdict == "fail"
    assert [(c.ok, c.detail) for c in summary.checks] == [(True, ""), (False, "never reached")]


@scenario(checks=("once",))
async def repeats(world: World) -> None:
    """Reports a check three times."""
    world.check("once", True, "first")
    world.check("once", False, "second")
    world.check("once", True, "third")


def test_a_check_must_hold_each_time_it_is_reported() -> None:
    assert [(c.ok, c.detail) for c in run(repeats).checks] == [(False, "second")]


class NoWrites:
    name = "no writes"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        writes = [o for o in history if o.f == "write"]
        return not writes, f"{len(writes)} events"


@scenario(checks=("done", NoWrites()))
async def writes(world: World, *, count: int = 0) -> None:
    """Writes as often as told."""
    for number in range(count):
        async with world.operation("c", "write", number) as op:
            op.ok()
    world.check("done", True)


def test_a_check_over_the_history_is_made_when_the_run_has_ended() -> None:
    assert run(writes).verdict == "pass"
    failed = run(writes, {"count": 2})
    assert [(c.name, c.ok, c.detail) for c in failed.checks] == [
        ("done", True, ""),
        ("no writes", False, "4 events"),
    ]


async def broken(host: Host) -> None:
    await asyncio.sleep(1)
    raise LookupError("the program's own")


async def fails_soon() -> None:
    await asyncio.sleep(1)
    raise LookupError("the task's own")


@scenario(checks=("fine",))
async def ends(world: World, *, how: str = "well") -> None:
    """Ends in the way that it is told."""
    if how == "program":
        await world.start("a", broken)
        await asyncio.Event().wait()
    elif how == "raise":
        raise LookupError("the story's own")
    elif how == "undeclared":
        world.check("fin", True)
    elif how == "exit":
        raise SystemExit(7)
    elif how == "deadlock":
        await asyncio.Event().wait()
    elif how == "late":
        await asyncio.sleep(3601)
    elif how == "task":
        world.spawn(fails_soon())
        await asyncio.sleep(1000)
    elif how == "twice":
        await world.play([])
        await world.play([])
    world.check("fine", True)


class Ticked:
    """The clock ticked so often: seen in the trace."""

    name = "as often"

    def __init__(self, times: int) -> None:
        self.times = times

    def begin(self) -> "Ticking":
        return Ticking(self.times)


class Ticking:
    def __init__(self, times: int) -> None:
        self.times = times
        self.seen = 0

    def see(self, events: Sequence[TraceEvent]) -> None:
        self.seen += sum(isinstance(event, Note) and event.name == "tick" for event in events)
        if self.times < 0:
            raise ValueError("no such number")

    def verdict(self) -> tuple[bool, str]:
        return self.seen == self.times, f"{self.seen} ticks"


@pytest.mark.parametrize(("times", "ends"), [(3, "pass"), (4, "fail"), (-1, "error")])
@pytest.mark.parametrize("kept", [True, False])
def test_a_check_may_watch_the_trace(times: int, ends: str, kept: bool, tmp_path: Path) -> None:
    @scenario(checks=(Ticked(times),))
    async def watched(world: World) -> None:
        """A host ticks, and the trace tells."""
        await world.start("clock", ticker)
        await asyncio.sleep(4)

    for _ in range(2):  # each run counts anew
        summary = run(watched, out=tmp_path / str(len(list(tmp_path.iterdir()))) if kept else None)
        assert summary.verdict == ends
        assert (
            "no such number" in summary.reason if ends == "error" else summary.checks[0].detail == "3 ticks"
        )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "LookupError: the story's own"),
        ("undeclared", "check 'fin' is not declared in @scenario(checks=...); did you mean fine?"),
        ("exit", "the scenario called exit(7)"),
        ("deadlock", "deadlock: nothing can ever run again\n  scenario: scenario (ends) waits at"),
        ("late", "the limit of 3600 s of virtual time is reached\n  scenario: scenario (ends) waits at"),
        ("task", "LookupError: the task's own"),
        ("twice", "a story plays one schedule"),
        ("program", "The program on a had failed: LookupError: the program's own\nTraceback"),
    ],
)
def test_a_story_that_fails_by_itself_is_an_error_that_tells_where(how: str, said: str) -> None:
    summary = run(ends, {"how": how})
    assert (summary.verdict, summary.exit_status) == ("error", 3)
    assert said in summary.error
    assert "test_run.py" in summary.error
    assert len(summary.reason.splitlines()) == 1


def test_the_traceback_starts_in_the_scenarios_file_and_shows_none_of_ours() -> None:
    for how in ("raise", "undeclared", "task", "exit"):
        error = run(ends, {"how": how}).error
        assert error.splitlines()[1].startswith(f'  File "{__file__}"')
        assert "sim/scenario/base.py" not in error


def test_a_program_that_raises_is_told_even_when_the_run_passes() -> None:
    @scenario(checks=("fine",))
    async def survives(world: World) -> None:
        """Outlives a program that fails."""
        await world.start("a", broken)
        await asyncio.sleep(2)
        world.check("fine", True)

    summary = run(survives)
    assert summary.passed
    assert summary.failures == ["a: LookupError: the program's own"]


@scenario(checks=("played",))
async def plays(world: World) -> None:
    """Plays a schedule of faults."""
    for name in ("a", "b"):
        await world.start(name, ticker, ticks=100)
    await world.play([Action(1.0, Crash(host="a"), 0.5), Action(2.0, Pause(host="b"), 1.0)])
    world.check("played", world.now() == 3.0, f"until {world.now()} s")


def test_a_schedule_is_kept_as_data_and_another_can_be_put_in_its_place(tmp_path: Path) -> None:
    first = run(plays, out=tmp_path / "first")
    assert (first.verdict, first.faults) == ("pass", 2)
    kept = json.loads((tmp_path / "first" / SCHEDULE).read_bytes())
    assert [(a["at"], a["fault"]["kind"], a["fault"]["host"]) for a in kept] == [
        (1.0, "crash", "a"),
        (2.0, "pause", "b"),
    ]
    second = run(plays, schedule=[Action(0.5, Crash(host="b"), 2.5)], out=tmp_path / "second")
    assert (second.verdict, second.faults) == ("pass", 1)
    assert second.replay.endswith(f"--schedule {tmp_path / 'second' / SCHEDULE}")


@scenario(checks=("fine",))
async def late_client(world: World) -> None:
    """A fault names a client that comes while the schedule is being played."""

    async def comes() -> None:
        await asyncio.sleep(1)
        world.client("late")

    await world.start("a", ticker, ticks=5)
    world.spawn(comes())
    await world.play([Action(2, Isolate(host="late"), 1)])
    world.check("fine", True)


@scenario(checks=("fine",))
async def whole_numbers(world: World, *, at: int = 1) -> None:
    """Plays a schedule in which floats are written as integers."""
    await world.start("a", ticker, ticks=5)
    await world.play([Action(at, Slow(host="a", cpu=3), 1)])
    world.check("fine", True)


def test_of_two_runs_that_start_at_once_one_gets_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder(tmp_path)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(()))  # as it was when the other one looked
    with pytest.raises(InvalidInput, match="is another run's"):
        RunFolder(tmp_path)


def test_within_a_running_loop_it_says_what_to_do_instead() -> None:
    async def asks() -> str:
        with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread"):
            run(ticks)
        return (await asyncio.to_thread(run, ticks)).verdict

    assert asyncio.run(asks()) == "pass"


def test_to_stop_a_host_that_there_is_not_is_an_error_with_its_name() -> None:
    @scenario(checks=("fine",))
    async def stops(world: World) -> None:
        """Stops what was never started."""
        await world.start("clock", ticker)
        await world.stop("clok")

    assert run(stops).reason.startswith("ValueError: there is no host 'clok'; did you mean clock?")


def test_what_is_played_is_what_is_kept(tmp_path: Path) -> None:
    first = run(whole_numbers, out=tmp_path / "run")
    schedule = read_schedule((tmp_path / "run" / SCHEDULE).read_bytes())
    assert run(whole_numbers, schedule=schedule).trace_sha256 == first.trace_sha256
    assert run(whole_numbers, {"at": -1}).reason == (
        "ValueError: not a schedule of faults: Expected 0 to 1e9 seconds, not -1 - at `$[0].at`"
    )


def test_a_kept_schedule_may_name_who_comes_later(tmp_path: Path) -> None:
    first = run(late_client, out=tmp_path / "run")
    schedule = read_schedule((tmp_path / "run" / SCHEDULE).read_bytes())
    assert run(late_client, schedule=schedule).trace_sha256 == first.trace_sha256


def test_a_given_schedule_that_cannot_be_played_is_the_givers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="schedule, action 1: crash: there is no host 'zk1'"):
        run(plays, schedule=[Action(0.5, Crash(host="zk1"))], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InvalidInput, match="plays no schedule of faults"):
        run(ticks, schedule=[])


def test_a_fault_on_a_host_that_there_is_not_is_the_scenarios_mistake() -> None:
    @scenario(checks=("fine",))
    async def mistaken(world: World) -> None:
        """Crashes nobody."""
        await world.start("alpha", ticker)
        await world.inject(Crash(host="alhpa"))

    error = run(mistaken).error
    assert "ValueError: crash: there is no host 'alhpa'; did you mean alpha? (there are: alpha)" in error


def test_parameters_of_programs_are_values_as_they_would_be_sent() -> None:
    @scenario(checks=("fine",))
    async def sends(world: World) -> None:
        """Sends what cannot be sent."""
        await world.start("a", ticker, ticks=object())

    assert "TypeError" in run(sends).error


async def says_an_object(host: Host) -> None:
    host.trace("object", value=object())


def test_what_cannot_be_recorded_is_an_error_that_says_where_it_was_said() -> None:
    @scenario(checks=("fine",))
    async def unfit(world: World, *, where: str = "note") -> None:
        """Records what cannot be recorded."""
        if where == "note":
            world.note("object", value=object())
        elif where == "operation":
            async with world.operation("c", "write", object()):
                pass
        else:
            await world.start("a", says_an_object)
            await asyncio.sleep(1)
        world.check("fine", True)

    assert 'world.note("object", value=object())' in run(unfit, {"where": "note"}).error
    assert "world.operation(" in run(unfit, {"where": "operation"}).error
    program = run(unfit, {"where": "program"})
    assert program.verdict == "error"
    assert "Encoding objects of type object is unsupported" in program.error
    assert "host='a', name='object'" in program.error


def test_hardware_that_cannot_be_laid_out_is_the_scenarios_mistake() -> None:
    @scenario(checks=("fine",), hardware=lambda simulation: simulation.network.use(None))
    async def on_nothing(world: World) -> None:
        """Runs on hardware that there is not."""
        world.check("fine", True)

    assert run(on_nothing).verdict == "error"


def test_arguments_that_cannot_be_used_are_named_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InvalidInput, match=r"there is no world 'gprc'; did you mean grpc\?"):
        run(ticks, world="gprc", out=out)
    with pytest.raises(InvalidInput, match="the limit must be more than 0 s"):
        run(ticks, limit_s=0, out=out)
    with pytest.raises(InvalidInput, match="--interleave needs --world sim"):
        run(ticks, world="grpc", interleave=True, out=out)
    assert not out.exists()


def test_an_output_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="is not empty"):
        run(ticks, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_that_is_interrupted_keeps_what_was_recorded_and_is_marked(tmp_path: Path) -> None:
    @scenario(checks=("fine",))
    async def interrupted(world: World) -> None:
        """Is interrupted."""
        world.note("before")
        await asyncio.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, out=tmp_path / "run")
    assert (tmp_path / "run" / INCOMPLETE).read_text() == "interrupted by Ctrl-C\n"
    assert "before" in (tmp_path / "run" / TRACE).read_text()
    assert not (tmp_path / "run" / SUMMARY).exists()
    with pytest.raises(InvalidInput, match=r"is incomplete \(interrupted by Ctrl-C\)"):
        read_summary(tmp_path / "run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_disk_that_is_full_ends_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["sim.scenario.records"], "TRACE", "/dev/full")

    @scenario(checks=("fine",))
    async def chatters(world: World) -> None:
        """Writes more than a buffer."""
        for number in range(10_000):
            world.note("number", n=number)
            await asyncio.sleep(0.001)
        world.check("fine", True)

    with pytest.raises(InvalidInput, match=f"cannot write {tmp_path / 'run'}: the disk is full"):
        run(chatters, out=tmp_path / "run")
    assert not (tmp_path / "run" / SUMMARY).exists()


def test_default_folders_count_up(tmp_path: Path) -> None:
    for expected in ("sim-seed3", "sim-seed3-2", "sim-seed3-3"):
        folder = default_folder("basics/ping", "sim", 3, tmp_path)
        assert folder == tmp_path / "basics/ping" / expected
        folder.mkdir(parents=True)


def test_the_hardware_is_laid_out_before_the_story_begins() -> None:
    seen = []

    @scenario(checks=("fine",), hardware=lambda simulation: seen.append(sorted(simulation.machines)))
    async def on_hardware(world: World) -> None:
        """Runs on hardware of its own."""
        await world.start("a", ticker)
        world.check("fine", True)

    assert run(on_hardware).passed
    assert seen == [[]]


def test_the_summary_reads_well() -> None:
    assert isinstance(run(ticks), Summary)
    text = repr(run(ends, {"how": "raise"}, seed=2))
    assert text.startswith("test-run/ends (sim, seed 2): error\nTraceback")
    assert text.endswith("  replay: dsim run tests/scenario/test_run.py:ends --seed 2 --set how=raise")


def test_what_simulated_programs_log_goes_to_the_trace_and_not_to_the_terminal(tmp_path: Path) -> None:
    """In a process of its own: pytest gives every logger a handler."""
    story = tmp_path / "story.py"
    story.write_text(
        "import asyncio, logging\n"
        "from sim import scenario\n\n"
        "async def grumbler(host):\n"
        "    logging.getLogger('grumbler').warning('all is not well')\n\n"
        "@scenario(checks=('ended',))\n"
        "async def grumbles(world):\n"
        '    """A program warns."""\n'
        "    await world.start('a', grumbler)\n"
        "    await asyncio.sleep(1)\n"
        "    world.check('ended', True)\n"
    )
    dsim = Path(sys.executable).with_name("dsim")
    told = subprocess.run(
        [dsim, "run", story, "--no-plots", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    assert "all is not well" in (tmp_path / "run" / TRACE).read_text()
