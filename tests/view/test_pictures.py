"""Pictures of every kind: legible at every size, shaded by faults, the same bytes each time."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from protos.trace import ClockSample, FaultEvent, HostEvent, Lost, Message, Note, TraceEvent
from sim.view import KINDS, Run, ViewError, draw, kinds
from sim.view.faults import fault_colour
from tests.trace.story import Story, save, tell

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

S = 1_000_000_000
OF_JOBS = ("overlay", "tasks", "throughput", "commit-wait", "groups")  # they have tests of their own
TIMED = ("spacetime", "timeline", "rates", "clocks", "epsilon")
SIZES = {
    "two hosts": tell(servers=1, calls=10),
    "few": tell(servers=3, calls=40),
    "many messages": tell(servers=5, calls=1500),
    "many hosts": tell(servers=48, calls=2500),
    "long names": tell(servers=12, calls=200, prefix="a-host-with-quite-a-long-name-in-rack-"),
}


def figure(kind: str, story: Story, start: int | None = None, end: int | None = None) -> Figure:
    return KINDS[kind].figure(Run(story.events, story.history, name="lab/story", start=start, end=end))


def texts(drawn: Figure) -> list[Text]:
    """Returns the texts that are really drawn (tick labels outside the limits exist, but are not)."""
    found: list[Text] = []

    def listen(*args: Any, **named: Any) -> None:  # laid out they are; their pixels, nobody looks at
        found.append(named.get("mtext") or args[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RendererAgg, "draw_text", listen)
        drawn.canvas.draw()
    return found


def words(drawn: Figure) -> str:
    return " ".join(one.get_text() for one in texts(drawn))


@cache
def crowd() -> Story:
    return tell(servers=1000, calls=20_000, gap=1_000_000)


def many_faults() -> Story:
    story = tell(servers=4, calls=60)
    names = ["crash", "partition", "delay", "disk-full", "clock-skew", "moonquake"]
    for number in range(80):
        start = number * 17_000_000
        host = f"server{number % 4 + 1}"
        story.events += [
            FaultEvent(start, 100 + number, names[number % len(names)], "begin", [host]),
            FaultEvent(start + 90_000_000, 100 + number, names[number % len(names)], "end", [host]),
        ]
    story.events.sort(key=lambda event: event.time)
    return story


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [*SIZES, "many faults"])
def test_texts_neither_overlap_nor_leave_the_picture(kind: str, size: str) -> None:
    drawn = figure(kind, SIZES[size] if size in SIZES else many_faults())
    boxes = [(one.get_text(), one.get_window_extent()) for one in texts(drawn)]
    width, height = drawn.canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    for (a, one), (b, other) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or down <= 1, f"{a!r} and {b!r} overlap"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OF_JOBS])
def test_a_hundred_thousand_events_and_a_thousand_hosts_are_summed_up(kind: str) -> None:
    story = crowd()
    assert len(story.events) > 100_000
    drawn = figure(kind, story)
    said = words(drawn)
    if kind == "rates":
        assert "Each point sums up" in said
    else:
        assert "hosts" in said and ("too many for" in said or "are one node" in said)
    artists = len(drawn.findobj())
    assert artists < 3000, "a picture is made of few artists, however many events there are"


@pytest.mark.parametrize("kind", TIMED)
@pytest.mark.parametrize("size", ["few", "many hosts"])
def test_faults_are_shaded_and_named_in_every_plot_over_time(kind: str, size: str) -> None:
    drawn = figure(kind, SIZES[size])
    assert "crash server1" in words(drawn)
    strip, *panels = sorted(drawn.axes, key=lambda axes: axes.get_position().height)[:1] + [
        axes for axes in drawn.axes if axes.get_position().width > 0.5
    ]
    panels = [axes for axes in panels if axes is not strip]
    assert panels
    for panel in panels:
        shades = [one for one in panel.collections if isinstance(one, PolyCollection)]
        assert fault_colour("crash") in {
            to_hex(face).upper() for one in shades for face in one.get_facecolor()
        }
        instants = [one for one in panel.collections if isinstance(one, LineCollection)]
        assert fault_colour("clock-jump") in {
            to_hex(edge).upper() for one in instants for edge in one.get_edgecolor()
        }


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_trace_gives_a_picture_that_says_so(kind: str) -> None:
    assert "The trace is empty." in words(figure(kind, Story([], [])))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_without_the_events_of_a_kind_gives_a_picture_that_says_so(kind: str) -> None:
    said = words(figure(kind, Story([Note(1, "a", "hello")], [])))
    assert KINDS[kind].without in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "events",
    [
        [Message(0, "b", "a", 0, 1, "/S/M", "request")],
        [Message(5, "a", "a", 5, 1, "/S/M", "request")],
        [Lost(5, "b", "a", 1, 1, "/S/M", "request", "cut")],
        [Message(1 << 61, "b", "a", (1 << 61) - 7, 1, "/$S$/M^2", "response", 3, "OK")],
        [
            FaultEvent(3, 1, "partition", "begin", [], {"groups": []}),
            Message(9, "", "$x", 2, 1, "tcp", "data"),
        ],
        [HostEvent(4, "a", "crash"), Note(9, "b", "")],
    ],
)
def test_odd_traces_are_drawn(kind: str, events: list[TraceEvent]) -> None:
    texts(figure(kind, Story(events, [])))


@pytest.mark.parametrize(("length", "unit"), [(900, "ns"), (50_000, "µs"), (90_000_000, "ms"), (70 * S, "s")])
def test_the_time_axis_has_the_unit_that_suits_the_window(length: int, unit: str) -> None:
    events: list[TraceEvent] = [Message(length, "b", "a", 0, 1, "/S/M", "request")]
    assert f"time ({unit})" in words(figure("spacetime", Story(events, [])))


def test_a_short_window_late_in_a_run_is_labelled_from_its_start() -> None:
    story = tell(servers=2, calls=3000)
    late = next(event.sent for event in story.events if isinstance(event, Message) and event.sent > 60 * S)
    said = words(figure("spacetime", story, late, late + 90_000))
    assert f"time (µs after {late / S:.6f} s)" in said


def test_a_window_shows_what_is_in_it() -> None:
    story = tell(servers=3, calls=400)
    run = Run(story.events, start=S, end=2 * S)
    within = [e for e in story.events if isinstance(e, Message) and e.time >= S and e.sent <= 2 * S]
    assert run.messages == len(within)
    assert (run.start, run.end) == (S, 2 * S)
    drawn = figure("spacetime", story, S, 2 * S)
    assert drawn.axes[-1].get_xlim() == (1000, 2000)
    assert "clock-jump" not in words(drawn)


def test_a_skew_is_drawn_as_a_step_there_and_back() -> None:
    skew = [(1, 0), (1, 5), (2, 5), (2, 0), (2, 0), (9, 0)]
    steps = [ClockSample(at * S, "a", offset * S) for at, offset in skew]
    shown = KINDS["clocks"].figure(Run([HostEvent(0, "a", "boot"), *steps]))
    line = next(line for axes in shown.axes for line in axes.get_lines() if len(line.get_xdata()) > 2)  # type: ignore[arg-type]
    assert [float(y) / S for y in line.get_ydata()] == [0, 5, 5, 0, 0, 0]  # type: ignore[union-attr]


def test_epsilon_is_a_saw_that_breaks_where_a_host_does_not_know_the_time() -> None:
    def poll(at: int, before: int, after: int) -> list[TraceEvent]:
        fields = {"agreed": True, "before_ns": before, "epsilon_ns": after, "growth_ppb": 200_000}
        samples = [ClockSample(at * S, "a", 0, bound) for bound in (before, after) if bound >= 0]
        return [*samples, Note(at * S, "a", "truetime-poll", fields=fields)]

    told = [HostEvent(0, "a", "boot"), *poll(1, -1, 10), *poll(2, 30, 10), HostEvent(3 * S, "a", "crash")]
    told += [*poll(4, -1, 20), Note(4 * S, "a", "truetime-violated", fields={"side": "latest"})]
    told += [HostEvent(5 * S, "a", "pause")]
    shown = KINDS["epsilon"].figure(Run(told))
    upper = next(axes for axes in shown.axes if axes.get_ylabel().startswith("ε"))
    saws = next(one for one in upper.collections if isinstance(one, LineCollection)).get_segments()
    assert [[tuple(point) for point in saw] for saw in saws] == [
        [(1, 10), (2, 30), (2, 10)],
        [(4, 20), (5, 200_020)],
    ]
    assert "hosts that began to be wrong about the time: 1." in words(shown)


def test_lives_follow_boots_crashes_and_pauses() -> None:
    steps: list[TraceEvent] = [
        HostEvent(0, "a", "boot"),
        HostEvent(10, "a", "pause"),
        HostEvent(20, "a", "resume"),
        HostEvent(30, "a", "crash"),
        HostEvent(40, "a", "restart", 1),
        HostEvent(50, "b", "boot"),
        HostEvent(60, "b", "exit"),
        Note(100, "c", "x"),
    ]
    lives = Run(steps).lives
    assert [(one.state, one.start, one.end) for one in lives["a"]] == [
        ("up", 0, 10),
        ("paused", 10, 20),
        ("up", 20, 30),
        ("down", 30, 40),
        ("up", 40, 100),
    ]
    assert [(one.state, one.start, one.end) for one in lives["b"]] == [("up", 50, 60)]
    assert [(one.state, one.start, one.end) for one in lives["c"]] == [("up", 0, 100)]


def test_hosts_are_in_natural_order() -> None:
    assert Run([Note(0, f"w{n}", "x") for n in (10, 9, 1)]).hosts == ["w1", "w9", "w10"]


def test_pictures_are_written_for_what_the_run_has(tmp_path: Path) -> None:
    folder = save(tell(calls=20), tmp_path / "run")
    had = [kind for kind in kinds() if kind not in OF_JOBS]
    assert draw(folder) == [folder / f"{kind}.png" for kind in had]
    assert all((folder / f"{kind}.png").read_bytes().startswith(b"\x89PNG") for kind in had)
    notes = Story([Note(0, "a", "x"), Note(9, "a", "y")], [])
    assert draw(save(notes, tmp_path / "notes")) == [tmp_path / "notes" / "spacetime.png"]


def test_the_scenario_may_name_its_plots(tmp_path: Path) -> None:
    folder = save(tell(calls=20), tmp_path / "run", plots=["rates", "clocks"])
    assert draw(folder, formats=("svg",)) == [folder / "rates.svg", folder / "clocks.svg"]


DRAW = """
import sys
from pathlib import Path
from sim.view import draw
draw(Path(sys.argv[1]), ["spacetime", "topology"], formats=("png", "svg"))
"""


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path) -> None:
    story = tell(servers=6, calls=150)
    digests = []
    for seed in ("0", "1"):
        folder = save(story, tmp_path / seed)
        subprocess.run(
            [sys.executable, "-c", DRAW, folder], check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        digests.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(digests[0]) == 3 + 2 * 2
    assert digests[0] == digests[1]


def test_nothing_heavy_is_loaded_before_a_picture_is_drawn() -> None:
    heavy = "{'matplotlib', 'numpy', 'networkx'}"
    program = (
        f"import sys, sim.view, sim.trace.words, sim.trace.export; assert not {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ["pie"]}, "no kind of picture 'pie'; there are: spacetime, timeline"),
        ({"formats": ["gif"]}, "no picture format 'gif'; there are: png, svg"),
        ({"start_s": 2.0, "end_s": 1.0}, r"--from \(2 s\) must be before --to \(1 s\)"),
        ({"start_s": 99.0}, r"--from 99 s is after the end of the run \(0\.\d+ s\)"),
        ({"start_s": float("nan")}, "--from nan is no time within a run"),
        ({"end_s": float("inf")}, "--to inf is no time within a run"),
        ({"end_s": 1e300}, r"--to 1e\+300 is no time within a run"),
        ({"end_s": 0.0}, r"--to 0 s is before the start of the run \(0 s\)"),
    ],
)
def test_unusable_arguments_are_named(tmp_path: Path, options: dict[str, object], said: str) -> None:
    folder = save(tell(calls=20), tmp_path / "run")
    with pytest.raises(ViewError, match=said):
        draw(folder, **options)  # type: ignore[arg-type]
    assert not list(folder.glob("*.png"))


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="nowhere: no such run folder"):
        draw(tmp_path / "nowhere")
    with pytest.raises(ViewError, match=r"not a run folder \(it has no trace\.jsonl\)"):
        draw(tmp_path)


def test_a_damaged_trace_is_named(tmp_path: Path) -> None:
    folder = save(tell(calls=20), tmp_path / "run")
    (folder / "trace.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ViewError, match=r"trace\.jsonl, line 1: "):
        draw(folder)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = save(tell(calls=20), tmp_path / "run")
    (folder / "rates.png").mkdir()
    with pytest.raises(ViewError, match=r"rates\.png: Is a directory"):
        draw(folder, ["rates"])
