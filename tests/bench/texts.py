"""Large inputs for the benchmarks, the same in each run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY = 50_000
RECORD = 100
_BLOCKS = 8
_BLOCK = 4 << 20


def write_text(file: Path, size: int) -> None:
    """Writes lines of words, as frequent as Zipf has it; a few blocks again and again."""
    draw = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    blocks = []
    for _ in range(min(_BLOCKS, max(1, size // _BLOCK))):
        drawn = draw.choices(words, weights, k=_BLOCK // 6)
        lines = [" ".join(drawn[at : at + 12]) for at in range(0, len(drawn), 12)]
        blocks.append(("\n".join(lines) + "\n").encode())
    with file.open("wb") as out:
        written = 0
        while written < size:
            written += out.write(blocks[(written // _BLOCK) % len(blocks)])


def write_records(file: Path, size: int) -> None:
    """Writes lines of 100 bytes, their end included, with random keys of 10 letters and a tab behind them."""
    draw = random.Random(2)
    rest = b"\t" + b"." * 77 + b"\n"
    count = size // RECORD
    with file.open("wb") as out:
        for first in range(0, count, 10_000):
            some = min(10_000, count - first)
            keys = draw.randbytes(5 * some).hex().encode()
            out.write(
                b"".join(b"%b\t%010d%b" % (keys[10 * n : 10 * n + 10], first + n, rest) for n in range(some))
            )
