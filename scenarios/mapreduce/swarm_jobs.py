"""The jobs of the swarm, small and of many kinds, and what the answer of each must be.

Every kind leaves something behind that another does not: a second output, a counter of the user's own, a
record that kills, final output written by maps, an order over all parts, answers that are never the same
twice. What must come out is computed here in the plainest way, from the texts alone.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from scenarios.mapreduce.cluster import part_names
from scenarios.mapreduce.nondeterministic import Draws
from services.mapreduce.counters import GROUPS, MAP_IN, MAP_OUT, REDUCE_OUT, count, current
from services.mapreduce.job import Job, Spec
from services.mapreduce.jobs.word_count import WordCount
from services.mapreduce.partition import TotalOrder, by_hash

if TYPE_CHECKING:
    import random

    from protos import mapreduce_pb2 as pb

Parts: TypeAlias = Mapping[str, bytes]
Answer: TypeAlias = Callable[[Parts, "pb.Progress"], str]
"""Looks at the files of a job's output folder and at its last report; says what is wrong, or ""."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DEADLY = "deadly"
LONG, LONG_WORDS = "long", "long words"
CUTS = ("g", "n", "t")


class Counts(WordCount):
    """A word count with a counter of its own and a second output; one word kills whoever reads it."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, int]]:
        """Counts long words on the way."""
        if DEADLY in value:
            os.kill(os.getpid(), signal.SIGSEGV)
        for word in value.split():
            if len(word) > 3:
                count(LONG_WORDS)
            yield word, 1

    def combine(self, key: str, values: Iterable[int]) -> Iterator[int]:
        """Adds."""
        yield sum(values)

    def reduce(self, key: str, values: Iterable[int]) -> Iterator[int]:
        """Adds, and writes long words a second time."""
        total = sum(values)
        if len(key) > 3:
            current().write(LONG, key, total)
        yield total


class Ordered(Counts):
    """The same, all parts one after the other in the order of the words."""

    partitioner = TotalOrder(CUTS)


class Kept(Job):
    """A map-only job: lines that hold a long word, behind the number of their execution."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, str]]:
        """Keeps a line or not."""
        if DEADLY in value:
            os.kill(os.getpid(), signal.SIGSEGV)
        if any(len(word) > 3 for word in value.split()):
            yield str(current().attempt), value


class DrawsTold(Draws):
    """Never the same answer twice (3.3); each part says by which execution of its reduce it was written."""

    def reduce(self, key: int, values: Iterator[tuple[int, int]]) -> Iterator[str]:
        """Gives what it has heard of each map task, and which execution of a reduce it is."""
        yield from sorted(f"{self.task.attempt} {number}={drawn}" for number, drawn in set(values))


class Order(Struct):
    """A job of the swarm.

    Attributes:
        spec: what is submitted.
        wrong: looks at what comes out.
        skipped: how many records are to be left out.
    """

    spec: Spec
    wrong: Answer
    skipped: int = 0


def texts(chance: random.Random, copies: int = 1) -> dict[str, bytes]:
    """Returns the input: two or three files of lines of words, some 2 kB; one line holds the deadly word."""
    words = ["".join(chance.choices(LETTERS, k=chance.randint(1, 6))) for _ in range(40)]
    files = {}
    for number in range(chance.randint(2, 3)):
        lines = [" ".join(chance.choices(words, k=chance.randint(3, 9))) for _ in range(30)]
        files[f"{number}.txt"] = "".join(f"{line}\n" for line in lines).encode() * copies
    return files


def draw(chance: random.Random, number: int, folder: str, given: Mapping[str, bytes], split: int) -> Order:
    """Draws a job.

    Args:
        chance: decides.
        number: of the job; its output folder is called after it.
        folder: of the input; the one with the deadly record is called `folder` and "-deadly".
        given: the texts in it.
        split: about so many bytes are a split.
    """
    kind = chance.choice((Counts, Counts, Ordered, Kept, DrawsTold))
    skip = kind is not DrawsTold and chance.random() < 0.3
    reduces = {Ordered: len(CUTS) + 1, Kept: 0}.get(kind, chance.randint(1, 5))
    spec = Spec(
        f"{__name__}:{kind.__name__}",
        inputs=f"{folder}-deadly" if skip else folder,
        output=f"output-{number}",
        reduces=reduces,
        split_bytes=chance.randint(split // 2, 2 * split),
        combiner=chance.random() < 0.5,
        backups=chance.random() < 0.7,
        skip_bad_records=skip or chance.random() < 0.2,
        settings={"reduces": str(reduces)},
    )
    lines = [line for text in given.values() for line in text.decode().splitlines()]
    if kind is Kept:
        return Order(spec, _kept(given, len(lines)), int(skip))
    if kind is DrawsTold:
        return Order(spec, _drawn(reduces))
    return Order(spec, _counted(lines, reduces, ordered=kind is Ordered), int(skip))


def with_deadly(given: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns the same texts with a line more, in the middle of the first one, that kills who reads it."""
    changed = dict(given)
    name = next(iter(changed))
    lines = changed[name].splitlines(keepends=True)
    lines.insert(len(lines) // 2, f"{DEADLY} {DEADLY}\n".encode())
    changed[name] = b"".join(lines)
    return changed


def _counted(lines: list[str], reduces: int, *, ordered: bool) -> Answer:
    words = Counter(word for line in lines for word in line.split())
    place = TotalOrder(CUTS) if ordered else by_hash
    long = {word for word in words if len(word) > 3}
    of = [sorted(word for word in words if place(word, reduces) == number) for number in range(reduces)]
    wanted = {
        f"{name}-{number:05}": "".join(
            f"{word}\t{words[word]}\n" for word in of[number] if name == "part" or word in long
        ).encode()
        for name in ("part", LONG)
        for number in range(reduces)
    }
    sums = {
        MAP_IN: len(lines),
        MAP_OUT: words.total(),
        GROUPS: len(words),
        REDUCE_OUT: len(words),
        LONG_WORDS: sum(words[word] for word in long),
    }

    def wrong(parts: Parts, last: pb.Progress) -> str:
        found = {name: data for name, data in parts.items() if data or name.startswith("part")}
        if found != {name: data for name, data in wanted.items() if data or name.startswith("part")}:
            return _differ(found, wanted)
        return _sums(last, sums)

    return wrong


def _kept(given: Mapping[str, bytes], lines: int) -> Answer:
    kept = [
        line
        for text in given.values()
        for line in text.decode().splitlines()
        if any(len(word) > 3 for word in line.split())
    ]

    def wrong(parts: Parts, last: pb.Progress) -> str:
        if list(parts) != part_names(last.maps):
            return f"{last.maps} maps, files: {', '.join(parts)}"
        found = []
        for name, data in parts.items():
            pairs = [line.split("\t") for line in data.decode().splitlines()]
            if len({attempt for attempt, _ in pairs}) > 1:
                return f"{name} is a mixture of executions"
            found += [line for _, line in pairs]
        if sorted(found) != sorted(kept):  # small files share a map: parts are in no order of files
            return f"{len(found)} lines, not the {len(kept)} that should have been kept"
        return _sums(last, {MAP_IN: lines, MAP_OUT: len(kept)})

    return wrong


def _drawn(reduces: int) -> Answer:
    def wrong(parts: Parts, last: pb.Progress) -> str:
        if list(parts) != part_names(reduces):
            return f"{reduces} reduces, files: {', '.join(parts)}"
        first: list[str] = []
        for name, data in parts.items():
            values = [line.split("\t")[1] for line in data.decode().splitlines()]
            if len({value.split()[0] for value in values}) != 1:
                return f"{name} is a mixture of executions"
            heard = sorted(value.split()[1].split("=")[0] for value in values)
            first = first or heard  # a split in which no line begins says nothing
            if len(set(heard)) < len(heard) or heard != first:
                return f"{name} has not heard each map once, as others have: {', '.join(heard)}"
        return ""

    return wrong


def _sums(last: pb.Progress, wanted: Mapping[str, int]) -> str:
    found = {name: last.counters.values.get(name, 0) for name in wanted}
    return "" if found == wanted else f"counters are {found}, not {dict(wanted)}"


def _differ(found: Parts, wanted: Parts) -> str:
    for name in (*wanted, *found):
        if found.get(name, b"") != wanted.get(name, b""):
            return f"{name} is {found.get(name)!r}, not {wanted.get(name)!r}"
    return f"files: {', '.join(found)}"
