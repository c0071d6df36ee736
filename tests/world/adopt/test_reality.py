"""Contract 2: reality does not leak into a simulated task; and outside of it nothing changes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as datetime_module
import gc
import io
import logging
import os
import pathlib
import pdb
import pickle
import platform
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from datetime import date, datetime
from random import randint
from time import time as now
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sim.simulate import simulate
from sim.world.reality import RealityLeak
from sim.world.simulation import EPOCH, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCKS: dict[str, Callable[[], Any]] = {
    "time.time()": lambda: time.time(),
    "time.time() by name": lambda: now(),
    "time.time_ns()": lambda: time.time_ns(),
    "time.monotonic()": lambda: time.monotonic(),
    "time.monotonic_ns()": lambda: time.monotonic_ns(),
    "time.perf_counter()": lambda: time.perf_counter(),
    "time.perf_counter_ns()": lambda: time.perf_counter_ns(),
    "time.process_time()": lambda: time.process_time(),
    "time.clock_gettime()": lambda: time.clock_gettime(time.CLOCK_REALTIME),
    "time.localtime()": lambda: time.localtime(),
    "time.gmtime()": lambda: time.gmtime(),
    "time.ctime()": lambda: time.ctime(),
    "time.strftime()": lambda: time.strftime("%Y"),
    "datetime.now()": lambda: datetime.now(),
    "datetime.now() with a zone": lambda: datetime_module.datetime.now(datetime_module.UTC),
    "datetime.today()": lambda: datetime.today(),
    "date.today()": lambda: date.today(),
}
CHANCE: dict[str, Callable[[], Any]] = {
    "random.random()": lambda: random.random(),
    "random.randint()": lambda: randint(1, 1 << 60),
    "random.choice()": lambda: random.choice(range(1 << 60)),
    "random.Random()": lambda: random.Random().random(),
    "random.random() of SystemRandom": lambda: random.SystemRandom().random(),
    "os.urandom()": lambda: os.urandom(8),
    "uuid.uuid1()": lambda: uuid.uuid1(),
    "uuid.uuid4()": lambda: uuid.uuid4(),
    "secrets.token_hex()": lambda: secrets.token_hex(),
}
FILES: dict[str, Callable[[], Any]] = {
    "open('/etc/hostname')": lambda: open("/etc/hostname"),  # noqa: SIM115
    "open('/etc/hosts')": lambda: pathlib.Path("/etc/hosts").read_bytes(),
    "open('/etc/passwd')": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "os.listdir('/')": lambda: os.listdir("/"),
}
NEVER: dict[str, Callable[[], Any]] = {
    "time.sleep()": lambda: time.sleep(0),
    "open('written', 'w')": lambda: open("written", "w"),  # noqa: SIM115
    "open('added', 'a')": lambda: open("added", "ab"),  # noqa: SIM115
    "os.mkdir('folder')": lambda: os.mkdir("folder"),
    "os.mkfifo('pipe')": lambda: os.mkfifo("pipe"),
    "os.chdir('..')": lambda: os.chdir(".."),
    "open('/nowhere/log', 'a')": lambda: logging.FileHandler("/nowhere/log"),
    "running another event loop": lambda: asyncio.SelectorEventLoop().run_forever(),
    "waiting for another thread": lambda: threading.Event().wait(1),
    "os.remove('gone')": lambda: os.remove("gone"),
    "sqlite3.connect('base')": lambda: sqlite3.connect("base"),
    "open('/dev/urandom')": lambda: open("/dev/urandom", "rb"),  # noqa: SIM115
    "socket.socket()": lambda: socket.socket(),
    "socket.getaddrinfo()": lambda: socket.getaddrinfo("localhost", 80),
    "subprocess.Popen()": lambda: subprocess.run(["true"], check=False),
    "os.system()": lambda: os.system("true"),
    "os.kill()": lambda: os.kill(os.getpid(), 0),
    "threading.Thread.start()": lambda: threading.Thread(target=print).start(),
    "signal.alarm()": lambda: signal.alarm(0),
    "grpc.insecure_channel()": lambda: grpc.insecure_channel("localhost:1"),
    "grpc.server()": lambda: grpc.server(None),
    "grpc.aio.secure_channel()": lambda: grpc.aio.secure_channel(
        "localhost:1", grpc.ssl_channel_credentials()
    ),
}
ROUTED: dict[str, Callable[[], Any]] = {
    "grpc.aio.insecure_channel()": lambda: grpc.aio.insecure_channel("localhost:1"),
    "grpc.aio.server()": lambda: grpc.aio.server(),
    "signal.signal()": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
}


def each(calls: dict[str, Callable[[], Any]], *, adopt: bool, seed: int = 0) -> dict[str, Any]:
    """Makes each call in a simulated task; returns what it gave, or the leak that it raised."""

    async def main() -> dict[str, Any]:
        await asyncio.sleep(1.5)
        found: dict[str, Any] = {}
        for name, call in calls.items():
            try:
                found[name] = call()
            except RealityLeak as leak:
                found[name] = leak
        return found

    return simulate(main, adopt=adopt, seed=seed)


@pytest.mark.parametrize("name", [*CLOCKS, *CHANCE, *FILES, *NEVER, *ROUTED])
def test_without_adoption_a_call_raises_and_names_itself_and_what_to_use(name: str) -> None:
    calls = {**CLOCKS, **CHANCE, **FILES, **NEVER, **ROUTED}
    leak = each({name: calls[name]}, adopt=False)[name]
    assert isinstance(leak, RealityLeak)
    call = name.partition(" ")[0] if name.startswith(("time", "date", "random")) else name
    assert str(leak).startswith(call)
    assert "host localhost" in str(leak)
    assert (
        "use " in str(leak)
        or "stop or crash" in str(leak)
        or "start another" in str(leak)
        or "let " in str(leak)
    )


@pytest.mark.parametrize("name", NEVER)
def test_what_cannot_be_simulated_is_refused_to_adopted_programs_too(name: str) -> None:
    assert isinstance(each(NEVER, adopt=True)[name], RealityLeak)
    assert not pathlib.Path("written").exists()


def test_an_adopted_program_reads_its_host_s_clock() -> None:
    read = each(CLOCKS, adopt=True)
    wall = EPOCH / 1e9 + 1.5
    assert read["time.time()"] == read["time.time() by name"] == read["time.clock_gettime()"] == wall
    assert read["time.time_ns()"] == EPOCH + 1_500_000_000
    assert read["time.monotonic()"] == read["time.perf_counter()"] == 1.5
    assert read["time.monotonic_ns()"] == read["time.perf_counter_ns()"] == 1_500_000_000
    assert read["datetime.now()"] == read["datetime.today()"] == datetime.fromtimestamp(wall)
    assert read["datetime.now() with a zone"] == datetime(2000, 1, 1, 0, 0, 1, 500_000, datetime_module.UTC)
    assert read["date.today()"] == date.fromtimestamp(wall)
    assert read["time.gmtime()"] == time.gmtime(wall)
    assert read["time.strftime()"] == time.strftime("%Y", time.localtime(wall))
    assert type(read["datetime.now()"]) is datetime


def test_the_clock_of_an_adopted_program_is_as_wrong_as_its_host_s() -> None:
    async def read() -> tuple[float, float]:
        return time.time(), asyncio.get_running_loop().time()

    simulation = Simulation()
    simulation.boot("late", adopt=True)
    simulation.machines["late"].clock.shift(-5_000_000_000)
    wall, true = simulation.run(read(), name="late")
    assert wall == EPOCH / 1e9 + true - 5


def test_the_chance_of_an_adopted_program_follows_from_the_seed() -> None:
    first = each(CHANCE, adopt=True, seed=1)
    assert first == each(CHANCE, adopt=True, seed=1)
    other = each(CHANCE, adopt=True, seed=2)
    assert all(first[name] != other[name] for name in CHANCE)
    assert first["uuid.uuid4()"].version == 4
    assert first["uuid.uuid1()"].version == 1
    assert first["uuid.uuid1()"].time == (EPOCH + 1_500_000_000) // 100 + 0x01B21DD213814000 + (
        first["uuid.uuid1()"].time % 10
    )


def test_an_adopted_program_may_seed_its_own_chance() -> None:
    async def main() -> tuple[list[float], list[float]]:
        random.seed(5)
        once = [random.random() for _ in range(3)]
        state = random.getstate()
        random.seed(5)
        again = [random.random() for _ in range(3)]
        assert random.getstate() == state
        return once, again

    once, again = simulate(main)
    assert once == again


def test_an_adopted_program_knows_its_host_and_incarnation() -> None:
    async def main() -> tuple[str, int]:
        return socket.gethostname(), os.getpid()

    assert Simulation().run(main(), name="web", adopt=True) == ("web", 1000)


@pytest.mark.parametrize("adopt", [False, True])
def test_a_program_sees_the_machine_that_it_runs_on(adopt: bool) -> None:
    async def main() -> list[Any]:
        return [
            os.cpu_count(),
            os.getpid(),
            os.getppid(),
            os.uname().nodename,
            platform.node(),
            socket.getfqdn(),
        ]

    simulation = Simulation()
    simulation.add_host("web", cores=3)
    assert simulation.run(main(), name="web", adopt=adopt) == [3, 1000, 1, "web", "web", "web"]


def test_a_log_file_opened_before_the_run_goes_on(tmp_path: pathlib.Path) -> None:
    handler = logging.FileHandler(tmp_path / "log", delay=True)

    async def main() -> None:
        handler.emit(logging.makeLogRecord({"msg": "hello"}))

    simulate(main, adopt=False)
    handler.close()
    assert (tmp_path / "log").read_text() == "hello\n"


def test_an_adopted_program_reads_its_own_data() -> None:
    async def main() -> str:
        return pathlib.Path(__file__).read_text()[:12]

    assert simulate(main) == '"""Contract '


def test_generators_with_a_seed_of_their_own_are_no_leak() -> None:
    async def main() -> float:
        return random.Random(7).random()

    assert simulate(main, adopt=False) == random.Random(7).random()


def test_libraries_go_on_working_without_adoption() -> None:
    async def main() -> list[str]:
        done = []
        import sched  # noqa: F401  (an import inside a task)

        done.append("import")
        try:
            raise ValueError("shown with its source line")
        except ValueError:
            assert "raise ValueError(" in traceback.format_exc()
            done.append("traceback")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
        assert len(caught) == 1
        done.append("warnings")
        output = io.StringIO()
        debugger = pdb.Pdb(stdin=io.StringIO("list\np 6 * 7\ncontinue\n"), stdout=output, nosigint=True)
        debugger.set_trace()
        done.append("pdb")
        assert "42" in output.getvalue()
        assert "debugger.set_trace()" in output.getvalue()
        return done

    trace = sys.gettrace()
    try:
        assert simulate(main, adopt=False) == ["import", "traceback", "warnings", "pdb"]
    finally:
        sys.settrace(trace)


def test_outside_nothing_changes_not_even_meanwhile_in_other_threads() -> None:
    before = (
        time.time,
        random.random,
        os.urandom,
        datetime.__dict__["now"],
        socket.gethostname,
        gc.isenabled(),
    )
    running, stop = threading.Event(), threading.Event()
    seen: list[Any] = []

    def other() -> None:
        running.wait(10)
        seen.append((time.time(), datetime.now(), random.random(), socket.gethostname(), os.getpid()))
        with tempfile.TemporaryFile() as file:
            file.write(b"real")
        subprocess.run([sys.executable, "-c", ""], check=True)
        time.sleep(0.01)
        stop.set()

    async def main() -> float:
        running.set()
        while not stop.is_set():
            await asyncio.sleep(0.001)
        return time.time()

    real = time.time()
    thread = threading.Thread(target=other)
    thread.start()
    try:
        simulated = simulate(main)
    finally:
        running.set()
        thread.join()
    ((wall, moment, _, name, pid),) = seen
    assert real <= wall <= real + 60
    assert abs(moment.timestamp() - wall) < 60
    assert (name, pid) == (socket.gethostname(), os.getpid())
    assert simulated < real - 1e8
    after = (
        time.time,
        random.random,
        os.urandom,
        datetime.__dict__["now"],
        socket.gethostname,
        gc.isenabled(),
    )
    assert after == before


def test_two_worlds_in_two_threads_do_not_meet() -> None:
    async def main() -> list[Any]:
        seen: list[Any] = []
        for _ in range(200):
            await asyncio.sleep(random.random())
            seen.append((time.time(), uuid.uuid4(), datetime.now()))
        return seen

    alone = [simulate(main, seed=seed) for seed in (1, 2)]
    together: dict[int, list[Any]] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: together.update({seed: simulate(main, seed=seed)}))  # type: ignore[misc]
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[1], together[2]] == alone


def test_moments_can_be_pickled_and_compared_inside() -> None:
    async def main() -> bool:
        moment = datetime.now()
        copy = pickle.loads(pickle.dumps(moment))
        return copy == moment and type(copy) is datetime and isinstance(moment, date)

    assert simulate(main)


def test_a_name_imported_before_is_real_again_after() -> None:
    async def main() -> float:
        return now()

    assert simulate(main) == EPOCH / 1e9
    assert now() > EPOCH / 1e9 + 1e8


def test_a_task_of_a_bare_loop_is_simulated_too() -> None:
    from sim.world.loop import Loop

    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError):
            raise ZeroDivisionError
        random.random()

    loop = Loop()
    with pytest.raises(RealityLeak, match=r"random\.random\(\)"):
        loop.run_until_complete(main())
    loop.close()


def test_what_a_module_draws_while_it_is_imported_does_not_shift_the_host_s_chance(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draws_at_import.py").write_text("import random, os\nx = random.random(), os.urandom(4)\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> float:
        import draws_at_import  # type: ignore[import-not-found]

        assert draws_at_import.x
        return random.random()

    assert simulate(main) == simulate(main)
