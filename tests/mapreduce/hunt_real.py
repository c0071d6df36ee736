"""Looks for what breaks jobs on real processes: jobs under random kills, pauses, partitions and disk faults.

    python -m tests.mapreduce.hunt_real 50 [SEED]

Each job has a cluster of its own, and a story drawn from its seed: workers are killed (and restarted, or
not), so are children that run user code, and the master; nodes are stopped for a while or cut off; disks are
full, fail or are slow. When the story is over all is healed but for the workers that are dead for good. Then
the job must end with the answer of a plain program; or with an error, if no worker is left. Neither may
leave a process, a temporary file, or a `.temporary`.

It is no test: it takes minutes, and kernel and clock have their say, so a seed gives the same story but not
the same run. What it finds becomes a test of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from services.cluster import Cluster, ClusterError
from services.mapreduce.engines import cluster as engine
from services.mapreduce.job import JobFailed, Spec
from services.mapreduce.tasks import streaming
from sim import faults
from sim.faults import AnyFault
from sim.scenario.cluster_faults import ClusterFaults

WORKERS = 3
STORY_S = (3.0, 8.0)
ENDS_WITHIN_S = 120.0
CHILDREN_KILLED = 3  # one more could be the fourth failure of one task, which ends a job by right
MARK, MARKED = "DSIM_HUNT", str(os.getpid())
"""Stands in the environment of all processes of a hunt."""

TEXT = "the quick brown fox jumps over the lazy dog\n" * 200


def words(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if offset % 880 == 0:
        time.sleep(0.2)
    for word in line.split():
        yield word, 1


def add(word: str, counts: Iterable[int]) -> int:
    return sum(counts)


def slow_add(word: str, counts: Iterable[int]) -> int:
    time.sleep(0.2)
    return sum(counts)


def jobs(rng: random.Random, inputs: Path, output: Path) -> Spec:
    """Returns one of some word counts."""
    given: dict[str, Any] = {
        "inputs": str(inputs),
        "output": str(output),
        "split_bytes": rng.choice([2_000, 5_000, 20_000]),
        "backups": rng.random() < 0.8,
    }
    kind = rng.choice(["functions", "combiner", "streaming", "map only"])
    if kind == "streaming":
        mapper = (
            """awk '{for (n = 1; n <= NF; n++) print $n "\\t" 1; if (NR % 20 == 0) system("sleep 0.2")}'"""
        )
        reducer = (
            """awk -F '\\t' '{count[$1] += $2} END {for (word in count) print word "\\t" count[word]}'"""
        )
        return streaming.spec(mapper, reducer, "", reduces=rng.randint(1, 4), title=kind, **given)
    given["map"] = words
    if kind == "map only":
        return Spec(reduces=0, title=kind, **given)
    combine = add if kind == "combiner" else None
    return Spec(
        reduce=rng.choice([add, slow_add]),
        combine=combine,
        reduces=rng.randint(1, 4),
        title=kind,
        **given,
    )


class Story:
    """What happens to a cluster.

    Attributes:
        said: what was done, in order.
        gone: workers that are dead for good.
    """

    def __init__(self, cluster: Cluster, rng: random.Random, doomed: bool) -> None:
        self.cluster = cluster
        self.faults = ClusterFaults(cluster, rng)
        self.rng = rng
        self.said: list[str] = []
        self.gone: dict[str, None] = {}
        self.children = 0
        self.doomed = doomed
        self.workers = [f"worker{n}" for n in range(1, WORKERS + 1)]
        self.began = time.monotonic()

    def say(self, what: str) -> None:
        self.said.append(f"{time.monotonic() - self.began:.2f} {what}")

    async def tell(self) -> None:
        """Does harm for a while; then heals all but what is gone."""
        async with asyncio.TaskGroup() as group:
            ends = time.monotonic() + self.rng.uniform(*STORY_S)
            while time.monotonic() < ends:
                await asyncio.sleep(self.rng.uniform(0.05, 0.8))
                group.create_task(self.harm())
            if self.doomed:
                await asyncio.sleep(self.rng.uniform(0, 1))
        if self.doomed:
            for name in self.workers:
                if name not in self.gone:
                    self.gone[name] = None
                    self.say(f"kill {name} for good")
                    await self.cluster.kill(name)
        for number in (held := await self.faults.active()):
            fault = held[number]
            if not (isinstance(fault, faults.Crash) and fault.host in self.gone):
                self.say(f"heal {fault}")
                await self.faults.lift(number)
        self.say("healed")

    async def harm(self) -> None:
        """One thing, from its beginning to its end."""
        rng = self.rng
        living = [name for name in self.workers if name not in self.gone]
        nodes = ["master", *living]
        seconds = rng.choice([0.2, 1.0, 3.0, 6.0])
        kinds = {
            "kill": 4, "kill master": 2, "child": 3, "pause": 3, "isolate": 1, "cut": 2, "cut off": 2,
            "full": 2, "sync": 1, "slow disk": 1, "slow": 1, "reply": 2, "for good": 1,
        }  # fmt: skip
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        worker = rng.choice(living) if living else ""
        if not worker:
            return
        if kind == "child":
            self.kill_child(worker)
            return
        if kind == "for good":
            if len(living) > 1 or self.doomed:
                self.gone[worker] = None
                self.say(f"{worker} dies for good")
                await self._inject(faults.Crash(host=worker))
            return
        node = rng.choice(nodes)
        other = rng.choice([name for name in nodes if name != node] or ["master"])
        fault: AnyFault
        match kind:
            case "kill":
                fault = faults.Crash(host=worker)
            case "kill master":
                fault = faults.Crash(host="master")
            case "pause":
                fault = faults.Pause(host=node)
            case "isolate":
                fault = faults.Isolate(host=node)
            case "cut":
                if node == other:
                    return
                fault = faults.Cut(source=node, target=other, both=rng.random() < 0.5)
            case "cut off":
                fault = faults.Partition(groups=[[worker], [name for name in nodes if name != worker]])
            case "full":
                fault = faults.DiskFull(host=node)
            case "sync":
                fault = faults.SyncFails(host=node)
            case "slow disk":
                fault = faults.SlowDisk(host=node, factor=20.0)
            case "slow":
                fault = faults.Slow(host=worker, cpu=4.0)
            case _:
                fault = faults.LoseReply(host=node, count=rng.randint(1, 3))
        number = await self._inject(fault)
        if number and fault.lasting:
            await asyncio.sleep(seconds)
            hurt = fault.hosts()
            if isinstance(fault, faults.Crash) and hurt[0] in self.gone:
                return
            await self.faults.lift(number)
            self.say(f"end of {number}")

    async def _inject(self, fault: AnyFault) -> int:
        try:
            number = await self.faults.inject(fault)
        except (ValueError, ClusterError) as exc:  # it is in no state for it
            self.say(f"not {fault}: {exc}")
            return 0
        self.say(f"{number}: {fault}")
        return number

    def kill_child(self, worker: str) -> None:
        """Kills a process below a worker's: one that runs user code, or one that makes them."""
        if self.children >= CHILDREN_KILLED or self.cluster.state(worker) != "running":
            return
        process = self.cluster._process(worker)
        try:
            below = psutil.Process(process.pid).children(recursive=True) if process else []
            if below:
                child = self.rng.choice(below)
                self.children += 1
                self.say(f"kill -9 a child of {worker}: {' '.join(child.cmdline())[-60:]}")
                child.kill()
        except psutil.Error:
            return


def living() -> list[str]:
    """Returns the processes that bear this hunt's mark, but for this one and the template of its nodes."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == MARKED and process.status() != psutil.STATUS_ZOMBIE
            if marked and os.getpid() not in (process.pid, process.ppid()):
                found.append(f"{process.pid} {' '.join(process.cmdline())[-80:]}")
        except psutil.Error:
            continue
    return found


async def tidied(cluster: Cluster, story: Story) -> list[str]:
    """Returns what living workers still have of the job when they have had time to hear that it is over."""
    left: list[str] = []
    for _ in range(100):
        left = [
            f"intermediate file left on {name}: {path.name}"
            for name in story.workers
            if name not in story.gone
            for path in cluster.folder.node(name).data.glob("job-*/*")
        ]
        if not left:
            break
        await asyncio.sleep(0.1)
    return left


async def one(seed: int, root: Path) -> tuple[str, list[str]]:
    """Runs a job; returns how it ended, and what was wrong with that."""
    rng = random.Random(seed)
    wrong: list[str] = []
    inputs, output, temporary = root / "in", root / "out", root / "temporary"
    for folder in (inputs, temporary):
        folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (inputs / name).write_text(TEXT * rng.randint(1, 4))
    expected = Counter("".join(file.read_text() for file in sorted(inputs.iterdir())).split())
    spec = jobs(rng, inputs, output)
    doomed = rng.random() < 0.1
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    before = set(os.listdir(temporary))
    cluster = Cluster.create(root / "cluster")
    outcome = ""
    try:
        await asyncio.gather(*engine.nodes(cluster, WORKERS))
        story = Story(cluster, rng, doomed)
        telling = asyncio.create_task(story.tell())
        began = time.monotonic()
        job = asyncio.create_task(engine.run(spec, cluster=root / "cluster"))
        try:
            await telling
            result = await asyncio.wait_for(asyncio.shield(job), ENDS_WITHIN_S)
            more, lost = (
                result.extra["executions"] - result.maps - result.reduces,
                result.extra["failed_workers"],
            )
            outcome = (
                f"done after {result.seconds:.1f} s, {result.maps} + {result.reduces} tasks, "
                f"{more} more executions, {len(lost)} workers thought dead"
            )
            found: Counter[str] = Counter()
            for word, count in result:
                found[word.decode() if isinstance(word, bytes) else word] += int(count)
            if found != expected:
                wrong.append(f"wrong answer: {found - expected} too much, {expected - found} too little")
            left = sorted(os.listdir(output))
            parts = [f"part-{n:05}" for n in range(result.reduces or result.maps)]
            for _ in range(100):  # the master tidies up when the last worker has heard
                if sorted(os.listdir(output)) == ["_SUCCESS", *parts]:
                    break
                await asyncio.sleep(0.1)
            left = sorted(os.listdir(output))
            if left != ["_SUCCESS", *parts]:
                wrong.append(f"left in the output: {left}")
        except JobFailed as failed:
            outcome = f"failed after {time.monotonic() - began:.1f} s: {failed}"
            if not doomed:
                wrong.append(f"failed, though there were workers: {failed}")
            if output.exists() and {"_SUCCESS", ".temporary"} & set(os.listdir(output)):
                wrong.append(f"left by the failed job: {os.listdir(output)}")
        except TimeoutError:
            wrong.append(f"does not end within {ENDS_WITHIN_S:g} s after all was healed")
            (root / "keep").touch()
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
        finally:
            telling.cancel()
        wrong += await tidied(cluster, story)
    finally:
        await cluster.down()
    for _ in range(50):
        if not (left_over := living()):
            break
        await asyncio.sleep(0.1)
    if left_over:
        wrong.append(f"processes left: {left_over}")
    if more := set(os.listdir(temporary)) - before:
        wrong.append(f"temporary files left: {sorted(more)}")
    how = f"{spec.title}{', all workers die' if doomed else ''}: {outcome}"
    if wrong:
        (root / "story").write_text("\n".join([how, *wrong, *story.said]))
    return how, wrong


def main(arguments: list[str]) -> int:
    """Runs so many jobs; returns how many went wrong. Their folders stay."""
    count, first = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    base = Path(tempfile.mkdtemp(prefix="dsim-hunt-"))
    os.environ[MARK] = MARKED
    broken = 0
    for seed in range(first, first + count):
        root = base / str(seed)
        how, wrong = asyncio.run(one(seed, root))
        print(f"{seed}: {how}", *(f"\n    WRONG: {what}" for what in wrong), flush=True)
        if wrong:
            broken += 1
        else:
            shutil.rmtree(root)
    print(f"{count} jobs, {broken} wrong{f': see {base}' if broken else ''}")
    if not broken:
        base.rmdir()
    return broken


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
