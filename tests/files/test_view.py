"""A remote file system in a child: reading what was prefetched, and never past it unnoticed."""

from __future__ import annotations

import pickle

import pytest

from services.files import connect, server
from services.files.api import BeyondView, Range
from services.files.view import Prefetched
from sim.world.simulation import Simulation

LINES = b"".join(b"line %04d\n" % n for n in range(1000))  # 10 bytes each


def view_of(*ranges: Range, tail: int = 25) -> Prefetched:
    simulation = Simulation(0)

    async def main():
        simulation.boot("files", server.serve, {"chunk_bytes": 3000})
        files = connect(simulation.boot("client"), "files")
        await files.write("in/lines", LINES)
        await files.write("in/empty", b"")
        return pickle.loads(pickle.dumps(await files.view(ranges, tail)))

    return simulation.run(main())


def test_a_range_with_a_byte_before_and_a_tail_behind() -> None:
    with view_of(Range("/in/lines", 5000, 100)).open("in/lines") as file:
        file.seek(4999)
        assert file.read(126) == LINES[4999:5125]
        file.seek(5000)
        assert [file.readline() for _ in range(12)] == [b"line %04d\n" % n for n in range(500, 512)]


@pytest.mark.parametrize("read", [lambda f: f.read(126), lambda f: f.readlines(), lambda f: f.read()])
def test_reading_past_the_view_is_told_and_never_looks_like_the_end(read) -> None:
    for buffering in (-1, 16):
        file = view_of(Range("in/lines", 5000, 100)).open("in/lines", "rb", buffering)
        file.seek(5000)
        with pytest.raises(BeyondView, match="in/lines at 5125"):
            read(file)
    file = view_of(Range("in/lines", 5000, 100)).open("in/lines")
    with pytest.raises(BeyondView, match="at 0"):
        file.read(1)


def test_the_end_of_the_file_is_the_end() -> None:
    view = view_of(Range("in/lines", 9900, 100), Range("in/empty", 0, -1))
    with view.open("in/lines") as file:
        file.seek(9900)
        assert file.read() == LINES[9900:]
        assert file.read(5) == file.readline() == b""
    with view.open("in/empty") as file:
        assert file.read() == b""
    assert view.size("in/lines") == 10_000
    with pytest.raises(FileNotFoundError, match="Not in the view"):
        view.open("in/other")


def test_ranges_of_one_file_that_touch_are_one() -> None:
    view = view_of(Range("in/lines", 0, 100), Range("in/lines", 100, 100), Range("in/lines", 9000, -1))
    with view.open("in/lines") as file:
        assert file.read(225) == LINES[:225]
        file.seek(9000)
        assert file.read() == LINES[9000:]


def test_what_code_writes_is_published_and_what_it_read_stays_behind() -> None:
    simulation = Simulation(0)

    async def main():
        simulation.boot("files", server.serve)
        files = connect(simulation.boot("client"), "files")
        await files.write("in/lines", LINES * 10)
        there = pickle.loads(pickle.dumps(await files.view([Range("in/lines", 0, -1)])))
        with there.open("in/lines") as source, there.open("out/.temporary/part.1", "xb") as sink:
            sink.write(source.read(10))
        with there.open("out/.temporary/part.1", "ab") as sink:
            sink.write(b"more\n")
        there.rename("out/.temporary/part.1", "out/.temporary/part")
        there.open("out/x", "wb").close()
        there.remove("out/x")
        with pytest.raises(FileExistsError):
            there.open("out/.temporary/part", "xb")
        assert there.list("out") == [".temporary"]
        with there.open("out/.temporary/part") as written:
            assert written.read() == b"line 0000\nmore\n"
        answer = pickle.dumps(there)
        await files.publish(pickle.loads(answer))
        return len(answer), await files.read("out/.temporary/part")

    size, written = simulation.run(main())
    assert written == b"line 0000\nmore\n"
    assert size < 1000
