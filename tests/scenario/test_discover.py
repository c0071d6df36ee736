from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sim import InvalidInput
from sim.scenario import discover

GOOD = '''
from sim import World, scenario

@scenario(checks=("fine",))
async def story(world: World) -> None:
    """A story."""
    world.check("fine", True)
'''


def test_packaged_scenarios_have_the_names_of_their_files() -> None:
    assert {"basics/ping", "basics/clocks", "basics/disk", "mapreduce/worker-crash"} <= set(discover.names())


def test_every_packaged_scenario_loads_and_bears_its_name() -> None:
    for name in discover.names():
        assert discover.find(name).name == name


def test_a_packaged_scenario_is_the_same_by_path() -> None:
    ping = discover.find("basics/ping")
    assert discover.find(ping.file) is ping


def test_a_path_names_the_one_scenario_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    found = discover.find(tmp_path / "mine.py")
    assert (found.name, found.packaged) == ("mine/story", False)
    assert discover.find(found.locator) is found


def test_a_file_may_be_named_like_a_module_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text(GOOD)
    assert discover.find(tmp_path / "random.py").name == "random/story"


def test_one_of_several_is_named_behind_a_colon(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(GOOD + GOOD.replace("def story", "def tale"))
    assert discover.find(f"{file}:tale").name == "two/tale"
    with pytest.raises(InvalidInput, match=f"2 scenarios: name one of them, {file}:story or {file}:tale"):
        discover.find(file)
    with pytest.raises(
        InvalidInput, match=r"no scenario 'tail'; did you mean tale\? \(it has: story, tale\)"
    ):
        discover.find(f"{file}:tail")


def test_a_package_that_bears_the_name_of_one_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "protos").mkdir()
    (tmp_path / "protos" / "bank_pb2.py").write_text("")
    (tmp_path / "bank.py").write_text("import protos.bank_pb2\n")
    with pytest.raises(InvalidInput, match="dsim has a package 'protos' of its own"):
        discover.find(tmp_path / "bank.py")


def test_two_threads_may_load_the_same_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "slow_to_load.py"
    file.write_text("import time\ntime.sleep(0.05)\n" + GOOD)
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(discover.find, [file, file])
    assert first is second


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("basics/pign", "there is no scenario 'basics/pign'; did you mean basics/ping"),
        ("ping", "there is no scenario 'ping'; did you mean basics/ping"),
        ("zzz", "there is no scenario 'zzz'; `dsim list` shows them all"),
        ("no/such.py", "there is no scenario file no/such.py"),
    ],
)
def test_an_unknown_scenario_is_answered_with_near_misses(wanted: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        discover.find(wanted)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("import sim\n\nnope()\n", "line 3: NameError: name 'nope' is not defined\n    nope()", ""),
        ("import sim\nasync def f(:\n", "line 2: SyntaxError: ", "\n    async def f(:"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named", "\n    import no_such"),
        (GOOD.replace(") -> None", ", *, n: int) -> None"), "line 4: TypeError: ", "n needs a default"),
    ],
)
def test_a_broken_file_is_shown_with_its_own_line(tmp_path: Path, text: str, line: str, problem: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        discover.find(file)
    assert f"cannot load {file}, {line}" in str(caught.value)
    assert problem in str(caught.value)


def test_a_file_without_a_scenario_is_said_to_hold_none(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(InvalidInput, match="holds no scenario"):
        discover.find(tmp_path / "empty.py")
