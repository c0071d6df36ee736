"""What only the simulation can do: each outcome of a crash that POSIX allows comes about, under some seed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance import programs, simulated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.host import Disk
    from tests.conformance.rig import Rig

SEEDS = range(100)


def survivors(program: Callable[..., Awaitable[None]], **parameters: Any) -> Counter[Any]:
    """Returns what a crash left, over many seeds: the files as (name, bytes), and how often."""
    seen: Counter[Any] = Counter()

    async def case(rig: Rig) -> None:
        disk = await rig.crash(program, **parameters)
        seen[tuple([(name, await contents(disk, name)) for name in await disk.list()])] += 1

    for seed in SEEDS:
        simulated.run(case, seed)
    return seen


async def contents(disk: Disk, path: str) -> bytes:
    file = await disk.open(path)
    return await file.read()


def test_unsynced_appends() -> None:
    """Nothing, everything, a prefix that ends with a page, and one that ends in a page: all happen."""
    lengths = {len(files[0][1]) - len(b"synced") for files in survivors(programs.half_synced)}
    everything = len(programs.UNSYNCED)
    partial = lengths - {0, everything}
    assert {0, everything} <= lengths
    assert any((length + len(b"synced")) % 4096 == 0 for length in partial)
    assert any((length + len(b"synced")) % 4096 != 0 for length in partial)


@pytest.mark.parametrize(
    ("program", "parameters", "allowed"),
    [
        (programs.synced, {}, [(("log", b"synced"),)]),
        (programs.renaming, {"sync": True}, [(("config", b"new"),)]),
        (
            programs.renaming,
            {"sync": False},
            [(("config", b"new"),), (("config", b"old"), ("config.new", b"new"))],
        ),
        (programs.creating, {}, [(), (("log", b"synced"),)]),
        (programs.removing, {}, [(("kept", b"x"),), (("kept", b"x"), ("perhaps", b"x"))]),
        (programs.truncating, {}, [(("log", b"01234"),), (("log", b"0123456789"),)]),
    ],
    ids=["synced", "synced rename", "rename", "create", "remove", "truncate"],
)
def test_what_a_crash_leaves(program: Any, parameters: dict[str, Any], allowed: list[Any]) -> None:
    """Every allowed outcome, and no other."""
    assert set(survivors(program, **parameters)) == set(allowed)
