"""The status page (MapReduce 4.8): HTTP in the master, live.

    /                                       jobs, failed workers and what they were executing, workers
    /job/JOB                                one job: tasks by state, rates, counters, executions
    /job/JOB/map?state=idle&from=0          its map tasks (or /reduce), some at a time, each with its attempts
    /job/JOB/log/map/NUMBER/ATTEMPT         what an attempt has printed, from its worker's disk

Each but the last is JSON as well, under the same path below /api. It runs on `asyncio.start_server`, which
both worlds have, and speaks as much HTTP as that needs (GET, one request a connection): a library for it
would be larger than what it saves. It only reads, and costs nothing while nobody looks: rates are taken
between one look and the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from google.protobuf import json_format

from protos import mapreduce_pb2 as pb
from services.mapreduce.master import status_html
from services.mapreduce.master.state import Kind, State
from services.pages import Page, plain, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.mapreduce.master.view import View

WINDOW_S = 10.0
"""A rate is the mean over so many seconds, or since the look before when that was earlier."""

PAGE = 100
"""Tasks of one page."""

_AMOUNTS = ("input_bytes", "intermediate_bytes", "output_bytes")
_KINDS = {kind.word: kind for kind in Kind}
_STATES = {state.value: state for state in State}


class StatusPage:
    """A server of pages about a master.

    Args:
        view: what it may see.
        name: of the master's host, for the title.

    Attributes:
        url: where it is, once it has started.
    """

    def __init__(self, view: View, name: str) -> None:
        self.url = ""
        self._view = view
        self._name = name
        self._rates = Rates()

    async def run(self, address: str, port: int, started: asyncio.Event) -> None:
        """Serves until cancelled.

        Args:
            address: to listen at.
            port: 0: any that is free.
            started: set when `url` is known.

        Raises:
            OSError: it cannot listen there.
        """
        server = await serve(self._respond, address, port)
        real: int = server.sockets[0].getsockname()[1]
        self.url = f"http://{self._name if address in ('', '0.0.0.0') else address}:{real}/"
        started.set()
        async with server:
            await server.serve_forever()

    async def _respond(self, steps: list[str], query: dict[str, str]) -> Page:
        if steps[2:3] == ["log"] and len(steps) == 6 and steps[0] == "job":
            return await self._log(steps)
        kind, body = self._page(steps, query)
        return Page(body, kind)

    def _page(self, steps: list[str], query: dict[str, str]) -> tuple[str, bytes]:
        """Returns a page's type and content.

        Raises:
            LookupError: there is no such page.
        """
        api = steps[:1] == ["api"]
        about: dict[str, Any]
        match steps[api:]:
            case []:
                about = self.overview()
                render = status_html.overview
            case ["job", job]:
                about = self.job(job)
                render = status_html.job
            case ["job", job, word] if word in _KINDS:
                about = self.tasks(job, word, query.get("state", ""), query.get("from", "0"))
                render = status_html.tasks
            case _:
                raise LookupError("there is no such page; begin at /")
        if api:
            return "application/json", msgspec.json.format(msgspec.json.encode(about)) + b"\n"
        return "text/html; charset=utf-8", render(about).encode("utf-8", "replace")

    async def _log(self, steps: list[str]) -> Page:
        """Returns what an attempt has printed, as it comes from the worker's disk."""
        _, job, _, word, number, attempt = steps
        if word not in _KINDS or not (_is_number(number) and _is_number(attempt)):
            raise LookupError("there is no such log")
        pieces = aiter(self._view.log(job, _KINDS[word], int(number), int(attempt)))
        try:
            first = await anext(pieces)  # whether there is such a log, shows here
        except StopAsyncIteration:
            return plain("(it has printed nothing)\n")
        return Page(_chain(first, pieces), "text/plain; charset=utf-8")

    # What the pages say, as JSON has it

    def overview(self) -> dict[str, Any]:
        """Returns the jobs and the workers."""
        return {
            "master": self._name,
            "jobs": [self._progress(report) for report in reversed(self._view.jobs())],
            "failed_workers": msgspec.to_builtins(self._view.failed_workers()),
            "workers": msgspec.to_builtins(self._view.workers()),
        }

    def job(self, job: str) -> dict[str, Any]:
        """Returns all about a job but its single tasks.

        Raises:
            LookupError: there is no such job.
        """
        return {
            "master": self._name,
            "job": self._find(job),
            "locality": self._view.locality(job),
            "running": msgspec.to_builtins(self._view.running(job)),
            "failed": msgspec.to_builtins(self._view.failed(job)),
            "failed_workers": msgspec.to_builtins(self._view.failed_workers()),
        }

    def tasks(self, job: str, word: str, state: str, start: str) -> dict[str, Any]:
        """Returns some tasks of a job.

        Raises:
            LookupError: there is no such job, or no such state.
        """
        if state and state not in _STATES:
            raise LookupError(f'there is no state "{state}" (there are: {", ".join(_STATES)})')
        if not _is_number(start):
            raise LookupError(f'"from" must be the number of a task, not "{start[:40]}"')
        tasks = self._view.tasks(job, _KINDS[word], int(start), PAGE + 1, _STATES.get(state))
        return {
            "master": self._name,
            "job": self._find(job),
            "kind": word,
            "state": state,
            "from": int(start),
            "next": tasks[PAGE].number if len(tasks) > PAGE else None,
            "tasks": msgspec.to_builtins(tasks[:PAGE]),
        }

    def _find(self, job: str) -> dict[str, Any]:
        for report in self._view.jobs():
            if report.job == job:
                return self._progress(report)
        raise LookupError(f"the master knows of no job {job}")

    def _progress(self, report: pb.Progress) -> dict[str, Any]:
        about: dict[str, Any] = {
            field.name: getattr(report, field.name)
            for field in report.DESCRIPTOR.fields
            if field.name not in ("counters", "skipped", "state", "failed_log", "failed_workers")
        }
        about["title"] = self._view.title(report.job)
        about["state"] = pb.Progress.State.Name(report.state).lower()
        about["failed_workers"] = list(report.failed_workers)
        about["failed_log"] = report.failed_log.decode("utf-8", "replace")
        about["counters"] = dict(sorted(report.counters.values.items()))
        about["skipped"] = [
            json_format.MessageToDict(bad, preserving_proto_field_name=True) for bad in report.skipped
        ]
        running = report.state == pb.Progress.RUNNING
        rates = self._rates.of(report) if running else mean(report, report.elapsed_s)
        about["rates"] = dict(zip(_AMOUNTS, rates, strict=True))
        about["link"] = f"/job/{quote(report.job, safe='')}"
        return about


def _is_number(text: str) -> bool:
    """Says whether it is the number of a task or an attempt; Python makes none of thousands of digits."""
    return text.isdecimal() and len(text) <= 20


class Rates:
    """Bytes a second of each job, from what was seen of it at each look."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, tuple[int, ...]]]] = {}

    def of(self, report: pb.Progress) -> list[float]:
        """Returns bytes a second of input, intermediate data and output, by now."""
        now = asyncio.get_running_loop().time()
        amounts = tuple(getattr(report, name) for name in _AMOUNTS)
        seen = self._seen.pop(report.job, None) or deque()
        self._seen[report.job] = seen
        if len(self._seen) > PAGE:
            del self._seen[next(iter(self._seen))]
        while len(seen) > 1 and seen[1][0] <= now - WINDOW_S:
            seen.popleft()
        if not seen or seen[-1][0] < now:
            seen.append((now, amounts))
        then, before = seen[0]
        if now - then < 1.0:
            return mean(report, report.elapsed_s)  # nobody has looked before
        return [(a - b) / (now - then) for a, b in zip(amounts, before, strict=True)]


def mean(report: pb.Progress, seconds: float) -> list[float]:
    """Returns the mean rates over the whole job."""
    return [getattr(report, name) / seconds if seconds > 0 else 0.0 for name in _AMOUNTS]


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
