"""The status page (MapReduce 4.8): HTTP in the master, in both worlds; in a browser where there is one."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.mapreduce.engines import cluster as engine
from services.mapreduce.examples.word_count import WordCount
from services.mapreduce.job import Spec
from services.mapreduce.master.service import Master
from services.mapreduce.master.status_page import StatusPage
from sim.world.simulation import Simulation
from tests.mapreduce.fakes import MemoryFiles, fake_worker
from tests.mapreduce.rig import JOB, MASTER, client, pb

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def told(story, *, seconds=2.0, wrong=None, maps=6, seed=0):
    """Runs `story(simulation, get, start)` beside a master with a status page and three fake workers."""
    simulation = Simulation(seed, limit_s=600)
    files = MemoryFiles({"in/a": 100 * maps})

    async def program(host):
        await Master(host, files, **MASTER).run(host.serve(), ("0.0.0.0", 8080))

    async def get(path: str, method: str = "GET", raw: bytes = b"") -> tuple[str, str]:
        reader, writer = await asyncio.open_connection("master", 8080)
        writer.write(raw or f"{method} {path} HTTP/1.1\r\nHost: master:8080\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return head, body

    async def main():
        user = simulation.boot("user")
        simulation.boot("master", program)
        for n in range(3):
            how = {"files": files, "seconds": seconds, "wrong": wrong}
            simulation.boot(f"w{n}", fake_worker, how)
        await asyncio.sleep(1)

        def start(**fields) -> asyncio.Task[pb.Progress]:
            return asyncio.create_task(
                client.run(user, "master", pb.Job(**{**JOB, "id": "j/1", **fields}), None)
            )

        return await story(simulation, get, start)

    return simulation.run(main())


async def job_of(get) -> dict:
    head, body = await get("/api/job/j%2F1")
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    return json.loads(body)


def test_tasks_by_state_rates_counters_and_attempts_with_their_logs() -> None:
    async def story(simulation, get, start):
        job = start(code=pb.Code(title="count <words>"))
        await asyncio.sleep(3.1)
        first = await job_of(get)
        await asyncio.sleep(3)
        later = await job_of(get)
        tasks = json.loads((await get("/api/job/j%2F1/map?state=completed"))[1])
        log = await get(f"/job/j%2F1/log/map/0/{tasks['tasks'][0]['attempts'][0]['attempt']}")
        pages = [
            await get(path) for path in ("/", "/job/j%2F1", "/job/j%2F1/map", "/job/j%2F1/reduce?state=idle")
        ]
        await job
        over = await job_of(get)
        late = json.loads((await get("/api/job/j%2F1/reduce"))[1])["tasks"]
        printed = await get(f"/job/j%2F1/log/reduce/0/{late[0]['attempts'][0]['attempt']}")
        return first, later, tasks, log, pages, over, late, printed, json.loads((await get("/api"))[1])

    first, later, tasks, log, pages, over, late, printed, overview = told(story, seconds=4.0, maps=12)
    assert [task["state"] for task in late] == ["completed"] * 2, "also when the job is over"
    assert printed[1].startswith("log log-")
    about = first["job"]
    assert about["title"] == "count <words>"
    assert about["state"] == "running"
    assert (about["maps"], about["reduces"]) == (12, 2)
    assert about["maps_running"] == len([a for a in first["running"] if a["kind"] == "map"])
    assert {attempt["state"] for attempt in first["running"]} <= {"running", "waiting"}
    assert about["maps_completed"] < later["job"]["maps_completed"] < 12
    assert later["job"]["rates"]["input_bytes"] > 0
    assert later["job"]["counters"]["tasks"] >= later["job"]["maps_completed"]
    assert [task["state"] for task in tasks["tasks"]] == ["completed"] * later["job"]["maps_completed"]
    assert log[0].startswith("HTTP/1.1 200")
    assert log[1] == f"log log-{tasks['tasks'][0]['attempts'][0]['attempt']}"
    for head, body in pages:
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/html")
        assert "count &lt;words&gt;" in body
        assert "<words>" not in body
        assert not re.search(r'(src|href)="?https?:', body), "no external assets"
        size = int(re.search(r"Content-Length: (\d+)", head)[1])
        assert size == len(body.encode())
    assert over["job"]["state"] == "done"
    assert overview["jobs"][0]["state"] == "done"
    assert [worker["name"] for worker in overview["workers"]] == ["w0", "w1", "w2"]


def test_failed_workers_and_what_they_were_executing_head_the_first_page() -> None:
    async def story(simulation, get, start):
        job = start()
        await asyncio.sleep(1)
        simulation.machines["w1"].crash()
        await asyncio.sleep(4)
        overview, page = json.loads((await get("/api"))[1]), (await get("/"))[1]
        simulation.machines["w1"].restart()
        await job
        return overview, page

    overview, page = told(story, seconds=3.0)
    (failed,) = overview["failed_workers"]
    assert (failed["name"], failed["why"]) == ("w1", "silent")
    assert any("map task" in task for task in failed["executing"])
    assert "Failed workers (1)" in page
    assert all(task in page for task in failed["executing"])


def test_failed_executions_are_named_with_their_errors() -> None:
    async def story(simulation, get, start):
        job = start(max_attempts=100)
        failed: list[dict] = []
        while not failed:
            await asyncio.sleep(0.5)
            failed = (await job_of(get))["failed"]
        page = (await get("/job/j%2F1"))[1]
        job.cancel()
        return failed, page

    failed, page = told(story, wrong={"user": 0.3}, seconds=0.5, maps=40)
    assert failed[0]["error"]
    assert "Failed executions" in page
    assert failed[0]["error"] in page


def test_requests_that_are_none_are_refused_and_harm_nothing() -> None:
    async def story(simulation, get, start):
        refused = [
            await get("", raw=raw)
            for raw in (b"hello\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET /nothing HTTP/1.0\r\n\r\n")
        ]
        silent = [
            await get("", raw=b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000),
            await get("", raw=b"GET / HTTP/1.1\r\n"),  # the rest never comes
        ]
        unknown = [
            await get(path)
            for path in (
                "/job/x",
                "/job/x/map",
                "/job/x/log/map/1/1",
                "/job/x/log/map/1/y",
                "/api/job/x/map?state=y",
                f"/api/job/x/map?from={'9' * 5000}",
                f"/job/x/log/map/{'9' * 5000}/1",
            )
        ]
        return refused, silent, unknown, await get("/", "HEAD"), await get("/")

    refused, silent, unknown, head, page = told(story)
    assert [first.split(" ", 2)[1] for first, _ in refused] == ["400", "405", "404"]
    assert silent == [("", "")] * 2
    assert [first.split(" ", 2)[1] for first, _ in unknown] == ["404"] * 7
    assert unknown[0][1] == "the master knows of no job x\n"
    assert head[0] == page[0]
    assert head[1] == ""
    assert "No job has been submitted yet." in page[1]


def test_a_page_that_breaks_is_told_and_does_not_break_the_master(monkeypatch) -> None:
    monkeypatch.setattr(StatusPage, "overview", lambda self: 1 / 0)

    async def story(simulation, get, start):
        return (await get("/"))[0].split("\r\n")[0], (await start()).state

    assert told(story, seconds=0.1) == ("HTTP/1.1 500 Internal Server Error", pb.Progress.DONE)


# On real processes


class Chatty(WordCount):
    """Counts words, slowly, and talks."""

    def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
        if line.endswith("0 others"):
            print("at", offset, flush=True)
            time.sleep(0.004)
        return super().map(offset, line)


def write_input(folder: Path, size: int) -> None:
    line = "the quick brown fox jumps over the lazy dog and runs away from %d others\n"
    folder.joinpath("input.txt").write_text("".join(line % n for n in range(size // 70)))


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def with_page(tmp_path: Path, look) -> None:
    """Runs a job on real processes, and `look(url)` in the middle of it; the cluster waits for it."""
    write_input(tmp_path, 1_000_000)
    spec = Spec(Chatty, inputs=str(tmp_path / "input.txt"), output=str(tmp_path / "out"), split_bytes=50_000)
    looked: list[str] = []

    def progress(report: pb.Progress) -> None:
        if report.status_page and not looked and report.maps_completed > 2:
            looked.append(report.status_page)
            look(report.status_page)

    asyncio.run(engine.run(spec, workers=2, progress=progress))
    assert looked, "no report named the page while the job ran"


def test_the_page_of_real_processes_is_live(tmp_path: Path) -> None:
    seen: list[dict] = []

    def look(url: str) -> None:
        (job,) = json.loads(fetch(f"{url}api"))["jobs"]
        seen.append(json.loads(fetch(f"{url}api{job['link']}")))
        page = fetch(url + job["link"].removeprefix("/"))
        assert "<h2>Counters</h2>" in page
        assert len(json.loads(fetch(f"{url}api"))["workers"]) == 2
        tasks = json.loads(fetch(f"{url}api{job['link']}/map?state=completed"))["tasks"]
        assert tasks
        for task in tasks[:1]:
            (attempt,) = task["attempts"]
            assert "at " in fetch(f"{url}{job['link'][1:]}/log/map/{task['number']}/{attempt['attempt']}")
        assert all(attempt["log"] for attempt in seen[0]["running"] if attempt["progress"] > 0)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(f"{url}nothing")

    with_page(tmp_path, look)
    about = seen[0]["job"]
    assert about["maps"] == -(-about["total_input_bytes"] // 50_000)


@pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason=f"none of the browsers {', '.join(BROWSERS)} is installed"
)
def test_a_real_browser_shows_the_page_and_keeps_it_up_to_date(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    shown: list[str] = []

    def look(url: str) -> None:
        (job,) = json.loads(fetch(f"{url}api"))["jobs"]
        for what in ("--screenshot=" + str(tmp_path / "page.png"), "--dump-dom"):
            command = [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,1100",
                "--virtual-time-budget=5000", what, url + job["link"].removeprefix("/"),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            shown.append(done.stdout)
            assert not re.search(r"CONSOLE.*(Error|Refused)", done.stderr), done.stderr

    with_page(tmp_path, look)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert "Counters" in shown[1]
    assert re.search(r'<span id="alive" class="error" title="renewed [^"]+"></span>', shown[1])
