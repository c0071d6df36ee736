"""`dsim mr`: one MapReduce job from the command line."""

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Dsim

WORD_COUNT = '''
"""Counts words."""

from collections.abc import Iterable, Iterator

from services.mapreduce.job import Job


class WordCount(Job):
    def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
        for word in line.split():
            yield word, 1

    def reduce(self, word: str, counts: Iterable[int]) -> Iterator[int]:
        yield sum(counts)

    combine = reduce
'''


@pytest.fixture
def folder(dsim: Dsim) -> Path:
    """The current folder, with a job and some input."""
    Path("words.py").write_text(WORD_COUNT)
    Path("texts").mkdir()
    Path("texts/a").write_text("to be or not to be\n")
    Path("texts/b").write_text("that is the question\nto be\n")
    return Path.cwd()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "name a job (JOB.py), or commands: --mapper CMD --reducer CMD"),
        ("words.py --mapper cat", "either a job, or commands (--mapper, --reducer, --combiner), not both"),
        ("--reducer cat", "name a job (JOB.py), or commands: --mapper CMD --reducer CMD"),
        ("--mapper cat --combiner cat", "a combiner needs a reducer"),
        ("--mapper cat --reducers 2", "2 reduces need a reducer (cat passes its input on)"),
        ("--mapper cat --reducer NONE --reducers 2", "2 reduces need a reducer"),
        ("--mapper nosuch", "--mapper: there is no command 'nosuch'"),
        ("--mapper ./words.py", "--mapper: ./words.py is not executable (chmod +x ./words.py)"),
        ("--mapper words.py", "--mapper: words.py is not executable (chmod +x words.py)"),
        ("--mapper texts", "--mapper: texts is a folder, not a command"),
        ("--mapper cat --reducer ./nowhere.sh", "--reducer: there is no command './nowhere.sh'"),
        ("--mapper cat|", "--mapper 'cat|': "),
        ("--mapper cat --skip-bad-records", "a streaming job cannot skip bad records"),
        ("nowhere.py", "there is no job file nowhere.py"),
        ("nowhere", "there is no job 'nowhere': No module named 'nowhere'"),
        ("words", "there is no job 'words': No module named 'words'; did you mean words.py?"),
        ("words.py:Count", "words.py has no job 'Count'; did you mean WordCount? (it has: WordCount)"),
        ("empty.py", "empty.py holds no job: write a class Job, or a function map"),
        ("two.py", "two.py holds 2 jobs: name one of them, two.py:WordCount or two.py:Other"),
        ("words.py --engine gprc", "there is no engine 'gprc'; did you mean grpc? (there are: grpc, local"),
        ("words.py --engine local --workers 3", "--workers is for --engine grpc or dask, not local"),
        ("words.py --only map:3", "--only is for --engine local, not grpc"),
        ("words.py --engine local --only maps:3", "--only maps:3: write it as map:N or reduce:N"),
        ("words.py --scheduler tcp://x:1", "--scheduler is for --engine dask, not grpc"),
        ("words.py --workers 0", "--workers 0: must be from 1 to 100"),
        ("words.py --reducers -1", "--reducers -1: must be from 0 to 100,000"),
        ("words.py --split-size much", "--split-size much: write a size such as 64M or 1G"),
        (f"words.py --split-size {'9' * 400}", "--split-size 999"),
        ("words.py --split-size 99999999T", "--split-size 99999999T: write a size such as 64M or 1G"),
        (f"words.py --engine local --only map:{'9' * 5000}", "--only map:999"),
        ("words.py --memory 0", "--memory 0: write a size such as 64M or 1G"),
        ("words.py --memory 1M", "--memory 1M: must be at least 64M"),
        ("words.py --max-attempts 0", "--max-attempts 0: must be from 1 to 1,000"),
        ("words.py --task-timeout nan", "--task-timeout nan: must be from 0.1 to 1,000,000"),
        ("words.py --set x", "--set x: write it as KEY=VALUE"),
        ("words.py --input gone --input lost", "cannot read gone: No such file or directory; lost: No such"),
        ("words.py --input /dev/zero", "cannot read /dev/zero: neither a file nor a folder"),
        ("words.py --output texts", "output texts exists already: choose a new folder, or remove it"),
        ("words.py --output words.py/out", "output words.py/out cannot be made: "),
        ("words.py --cluster gone --workers 2", "--workers is for a cluster of the job's own, not --cluster"),
        ("words.py --plot", "--plot draws into the folder of --trace DIR: name one"),
        ("words.py --cluster gone", "there is no cluster in"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(dsim: Dsim, folder: Path, arguments: str, said: str) -> None:
    Path("empty.py").write_text("x = 1\n")
    Path("two.py").write_text(WORD_COUNT + "\n\nclass Other(WordCount):\n    pass\n")
    before = snapshot(folder)
    rest = [] if "--output" in arguments else ["--output", "out"]
    rest += [] if "--input" in arguments else ["--input", "texts"]
    result = dsim("mr", *arguments.split(), *rest)
    assert result.status == 2
    assert result.err.startswith(f"dsim: {said}")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    assert snapshot(folder) == before


def test_a_port_that_is_taken_is_named(dsim: Dsim, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        result = dsim("mr", "words.py", "--input", "texts", "--output", "out", "--status-port", str(number))
    assert result.status == 2
    assert result.err == f"dsim: --status-port {number}: Address already in use: choose another\n"


def test_input_and_output_must_be_named(dsim: Dsim, folder: Path) -> None:
    for job in (("words.py",), ("--mapper", "cat")):
        assert dsim("mr", *job, "--output", "out").err == "dsim: name the input: --input PATH\n"
    result = dsim("mr", "words.py", "--input", "texts")
    assert result == (2, "", "dsim: name a new folder for the output: --output DIR\n")


def test_an_input_without_a_name_is_not_the_present_folder(dsim: Dsim, folder: Path) -> None:
    result = dsim("mr", "words.py", "--input", "", "--output", "out")
    assert result == (2, "", 'dsim: --input "": name a file or a folder (. is the present one)\n')


def test_a_link_to_nothing_among_the_inputs_is_named(dsim: Dsim, folder: Path) -> None:
    Path("texts", "latest").symlink_to("gone")
    result = dsim("mr", "words.py", "--input", "texts", "--output", "out")
    assert result.err == "dsim: cannot read texts/latest: a link to gone, which does not exist\n"


def test_a_module_that_lies_in_a_folder_here_is_guessed(dsim: Dsim, folder: Path) -> None:
    Path("jobs").mkdir()
    Path("words.py").rename("jobs/words.py")
    result = dsim("mr", "jobs.words:WordCount", "--input", "texts", "--output", "out")
    assert result.status == 2
    assert result.err.endswith("; did you mean jobs/words.py:WordCount?\n")


def test_a_job_that_raises_on_import_is_shown_with_its_line(dsim: Dsim, folder: Path) -> None:
    Path("broken.py").write_text("import os\nos.nowhere()\n")
    result = dsim("mr", "broken.py", "--input", "texts", "--output", "out")
    assert result.status == 2
    assert result.err == (
        f"dsim: cannot load {folder / 'broken.py'}, line 2: "
        "AttributeError: module 'os' has no attribute 'nowhere'\n    os.nowhere()\n"
    )


@pytest.mark.parametrize("engine", ["local", "grpc"])
def test_a_job_of_ones_own_says_what_came_of_it(dsim: Dsim, folder: Path, engine: str) -> None:
    result = dsim(
        "mr", "words.py", "--input", "texts", "--output", "out", "--engine", engine, "--reducers", "2"
    )
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("out: 2 parts, 50 B, in ")
    assert "  map     1 task, 46 B, " in result.out
    assert "  map input records       3\n" in result.out
    lines = sorted("".join(path.read_text() for path in Path("out").glob("part-*")).splitlines())
    assert lines == ["be\t3", "is\t1", "not\t1", "or\t1", "question\t1", "that\t1", "the\t1", "to\t3"]
    assert Path("out/_SUCCESS").exists()


@pytest.mark.parametrize("engine", ["local", "grpc"])
def test_executables_and_a_result_for_programs(dsim: Dsim, folder: Path, engine: str) -> None:
    Path("texts/c").write_bytes(b"\xff\xfe \x80\r\n")
    commands = ["--mapper", "tr -s ' ' '\\n'", "--reducer", "uniq -c | awk '{print $2 \"\\t\" $1}'"]
    result = dsim(
        "mr", *commands, "--input", "texts", "--output", "out", "--engine", engine, "--json", "--set", "x=1"
    )
    assert (result.status, result.err) == (0, "")
    said = json.loads(result.out)
    assert said["engine"] == engine
    assert (said["maps"], said["reduces"]) == (1, 1)
    assert said["counters"]["reduce input records"] == 14
    assert said["phases"]["map"] > 0
    assert said["bytes"]["input"] == 52
    assert b"\xff\xfe\t1\n" in Path("out/part-00000").read_bytes()


def test_only_a_map(dsim: Dsim, folder: Path) -> None:
    dsim("mr", "--mapper", "tr a-z A-Z", "--reducers", "0", "--input", "texts/a", "--output", "out")
    assert Path("out/part-00000").read_text() == "TO BE OR NOT TO BE\n"


def test_functions_and_several_jobs_in_one_file(dsim: Dsim, folder: Path) -> None:
    Path("functions.py").write_text("def map(offset, line):\n    yield len(line), line\n")
    dsim("mr", "functions.py", "--input", "texts", "--output", "out", "--engine", "local")
    assert sorted(Path("out/part-00000").read_text().splitlines())[0] == "18\tto be or not to be"
    Path("two.py").write_text(WORD_COUNT + "\n\nclass Other(WordCount):\n    pass\n")
    result = dsim("mr", "two.py:Other", "--input", "texts", "--output", "o2", "--engine", "local")
    assert result.status == 0


def test_a_job_that_prints_does_not_spoil_the_json(dsim: Dsim, folder: Path) -> None:
    Path("loud.py").write_text("def map(offset, line):\n    print(line)\n    yield line, 1\n")
    result = dsim("mr", "loud.py", "--input", "texts", "--output", "out", "--engine", "local", "--json")
    assert json.loads(result.out)["maps"] == 1
    assert "to be or not to be\n" in result.err


def test_a_job_whose_input_is_no_file_needs_none(dsim: Dsim, folder: Path) -> None:
    Path("numbers.py").write_text(NUMBERS)
    for engine in ("local", "grpc"):
        assert dsim("mr", "numbers.py", "--output", engine, "--engine", engine)[0::2] == (0, "")
        assert Path(engine, "part-00000").read_text() == "0\t1\n1\t1\n2\t1\n3\t1\n"


NUMBERS = """
from services.mapreduce.inputs import Input
from services.mapreduce.job import Job, Range


class Numbers(Input):
    def split(self, files, split_bytes):
        return [[Range("", 0, 2)], [Range("", 2, 2)]]

    def read(self, piece, files):
        for number in range(piece.offset, piece.offset + piece.size):
            yield number, None


class Count(Job):
    input = Numbers()

    def map(self, number, nothing):
        yield number, 1
"""


def test_one_task_alone(dsim: Dsim, folder: Path) -> None:
    arguments = ("mr", "words.py", "--input", "texts", "--output", "out", "--engine", "local", "--only")
    result = dsim(*arguments, "map:0")
    assert (result.status, result.err) == (0, "")
    assert not Path("out").exists()
    assert dsim(*arguments, "map:7").err == "dsim: only: there is no map task 7; there are 1 of them\n"


def test_empty_input_gives_empty_parts(dsim: Dsim, folder: Path) -> None:
    Path("nothing").mkdir()
    Path("nothing/empty").touch()
    for engine in ("local", "grpc"):
        result = dsim(
            "mr", "words.py", "--input", "nothing", "--output", engine, "--engine", engine, "--reducers", "2"
        )
        assert result.status == 0
        assert {path.name: path.stat().st_size for path in Path(engine).iterdir()} == {
            "part-00000": 0,
            "part-00001": 0,
            "_SUCCESS": 0,
        }


BAD = """
from services.mapreduce.job import Job


class Bad(Job):
    def map(self, offset, line):
        print("looking at", line)
        if "question" in line:
            {what}
        yield line, 1
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise LookupError('none')", "map raised LookupError: none (bad.py, line 9)"),
        ("bytearray(1 << 40)", "map raised MemoryError: the limit is 536,870,912 bytes (bad.py, line 9)"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("yield line, object()", "object"),
        ("while True: pass", "no progress for 1 s"),
    ],
)
def test_a_job_that_fails_says_which_task_which_record_and_the_end_of_the_log(
    dsim: Dsim, folder: Path, what: str, said: str
) -> None:
    Path("bad.py").write_text(BAD.replace("{what}", what))
    result = dsim(
        "mr", "bad.py", "--input", "texts/b", "--output", "out", "--max-attempts", "2", "--task-timeout", "1"
    )
    assert (result.status, result.out) == (1, "")
    *log, last = result.err.splitlines()
    assert last.startswith("dsim: map task 0 failed 2 times; the last time: ")
    assert said in last
    assert "record 0" in last
    assert "  | looking at that is the question" in log
    (kept,) = Path("out/_logs").iterdir()
    assert last.endswith(f"log: {folder / kept}")
    assert [path.name for path in Path("out").iterdir()] == ["_logs"]


def test_what_user_code_raises_in_this_process_is_shown_from_its_own_lines_on(
    dsim: Dsim, folder: Path
) -> None:
    Path("bad.py").write_text(BAD.replace("{what}", "raise LookupError('none')"))
    result = dsim("mr", "bad.py", "--input", "texts/b", "--output", "out", "--engine", "local")
    assert result.status == 1
    first, *_, last = result.err.splitlines()
    assert first == f'  |   File "{folder / "bad.py"}", line 9, in map'
    assert last == f"dsim: LookupError: none in map task 0, record 0 ({folder / 'texts/b'}:0)"
    assert not Path("out").exists()


def test_bad_records_are_left_out_when_asked(dsim: Dsim, folder: Path) -> None:
    Path("bad.py").write_text(BAD.replace("{what}", "import os; os.abort()"))
    result = dsim("mr", "bad.py", "--input", "texts", "--output", "out", "--skip-bad-records")
    assert result.status == 0
    assert f"  skipped  map 0: {folder / 'texts/b'}:0\n" in result.out
    assert "  skipped records        1\n" in result.out


def test_a_trace_and_pictures_of_the_run(dsim: Dsim, folder: Path) -> None:
    result = dsim(
        "mr", "words.py", "--input", "texts", "--output", "out", "--trace", "run", "--plot", "--workers", "1"
    )
    assert result.status == 0
    assert "picture: run/topology.png\n" in result.err
    assert dsim("plot", "run", "--kind", "spacetime").status == 0
    result = dsim("mr", "words.py", "--input", "texts", "--output", "o2", "--trace", "run")
    assert result.err == "dsim: --trace run: is there already, and not an empty folder: choose a new one\n"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("odd", "input that cannot be read: '"),
        ("odd/b\udcffd", "cannot be sent to a master, for it is not UTF-8: '"),
    ],
)
def test_names_that_no_message_can_hold_are_refused_before_there_is_an_output(
    dsim: Dsim, folder: Path, named: str, said: str
) -> None:
    Path("odd").mkdir()
    Path("odd/b\udcffd").write_text("to be\n")
    arguments = ("mr", "words.py", "--input", named, "--output", "out")
    assert dsim(*arguments, "--engine", "local").status == 0  # in one process nothing is sent
    shutil.rmtree("out")
    result = dsim(*arguments, "--workers", "1")
    assert (result.status, len(result.err.splitlines())) == (2, 1)
    assert result.err.startswith(f"dsim: {said}")
    assert "b\\udcffd'" in result.err
    assert not Path("out").exists()


def test_a_running_cluster_can_be_used(dsim: Dsim, folder: Path) -> None:
    assert dsim("up", "mapreduce", "--nodes", "1", "--dir", "cluster").status == 0
    try:
        for output in ("one", "two"):
            result = dsim(
                "mr", "words.py", "--input", "texts", "--output", output, "--cluster", "cluster", "--trace",
                f"run-{output}",
            )  # fmt: skip
            assert (result.status, result.err) == (0, "")
            assert Path(output, "_SUCCESS").exists()
        assert Path("run-two/trace.jsonl").read_text().count('"job finished"') == 2  # the last one's end too
    finally:
        assert dsim("down").status == 0


@pytest.mark.parametrize(
    ("engine", "how"),
    [("local", signal.SIGINT), ("grpc", signal.SIGINT), ("grpc", signal.SIGTERM), ("grpc", signal.SIGHUP)],
)
def test_ctrl_c_leaves_nothing_behind(folder: Path, engine: str, how: signal.Signals) -> None:
    mark = f"{os.getpid()}.{engine}.{how}"
    command = [Path(sys.executable).with_name("dsim"), "mr", "--mapper", f"touch begun; sleep 120; : {mark}"]
    temporary = folder / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [*command, "--input", "texts", "--output", "out", "--engine", engine],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    until(Path("begun").exists)
    os.killpg(process.pid, how)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "dsim: interrupted\n")
    assert not Path("out").exists()
    assert list(temporary.iterdir()) == []
    until(lambda: mark not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)


def test_one_ctrl_c_ends_a_function_that_never_returns_in_this_process(folder: Path) -> None:
    Path("endless.py").write_text(BAD.replace("{what}", "while True: pass"))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("dsim"), "mr", "endless.py", "--input", "texts/b", "--output", "out",
         "--engine", "local"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "looking at that is the question\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "dsim: interrupted\n")
    assert not Path("out").exists()


def test_a_terminal_shows_how_far_the_job_is(folder: Path) -> None:
    seen = bytearray()

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 4096)
        seen.extend(data)
        return b"."  # `spawn` would show it

    command = [str(Path(sys.executable).with_name("dsim")), "mr", "--mapper", "cat; sleep 1.5"]
    status = pty.spawn([*command, "--input", "texts", "--output", "out"], read)
    assert os.waitstatus_to_exitcode(status) == 0
    text = seen.decode()
    assert "[....................] map 0/1" in text
    assert text.index("map 0/1") < text.index("out: 1 part, ")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def snapshot(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts)
