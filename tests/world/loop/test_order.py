"""The same order of everything, under any PYTHONHASHSEED and on every supported Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pythons import environments

ROOT = Path(__file__).parents[3]
STORY = """
import asyncio, hashlib, random, sys, time, uuid
from sim.simulate import simulate

async def main():
    seen = []
    queue = asyncio.Queue(3)
    lock, condition, barrier = asyncio.Lock(), asyncio.Condition(), asyncio.Barrier(4)

    async def worker(name):
        for number in range(5):
            async with lock:
                await asyncio.sleep(random.random())
            await queue.put((name, number, str(uuid.uuid4())))
            seen.append(("put", name, time.time()))
        await barrier.wait()
        seen.append(("past", name))
        async with condition:
            condition.notify_all()

    async def consumer():
        for _ in range(20):
            seen.append(await queue.get())

    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask(number):
        reader, writer = await asyncio.open_connection("localhost", port)
        writer.write(b"%d\\n" % number)
        seen.append((await reader.read(), writer.get_extra_info("sockname")))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(worker(name))
        group.create_task(consumer())
        for number in range(5):
            group.create_task(ask(number))
    for done in asyncio.as_completed([asyncio.sleep(random.randint(1, 3), number) for number in range(20)]):
        seen.append(await done)
    tasks = [asyncio.create_task(asyncio.sleep(1, number)) for number in range(20)]
    done, _ = await asyncio.wait(tasks)
    seen.extend(task.result() for task in done)
    seen.append(len(asyncio.all_tasks()))
    server.close()
    return hashlib.sha256(repr(seen).encode()).hexdigest()

print(simulate(main, seed=int(sys.argv[1]), interleave=True))
"""


def digest(python: Path | str, hash_seed: str, seed: int = 1) -> str:
    done = subprocess.run(
        [str(python), "-c", STORY, str(seed)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_order_does_not_depend_on_the_hash_seed_but_on_the_seed() -> None:
    digests = {digest(sys.executable, hash_seed) for hash_seed in ("0", "1", "random")}
    assert len(digests) == 1
    assert digest(sys.executable, "0", seed=2) not in digests


def test_the_order_is_the_same_on_every_python_that_is_set_up() -> None:
    digests = {version: digest(python, "0") for version, python in environments().items()}
    assert len(set(digests.values())) == 1, digests
