"""A service reaches the outside through its `Host` alone: what `services/` may import and call."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SERVICES = Path(__file__).parent.parent / "services"
REAL = {"real", "cluster.py", "node.py", "recorder.py"}
"""What implements the door, or runs outside of any host."""

OUTSIDE = (
    "mapreduce/engines/",
    "mapreduce/tasks/streaming.py",
    "mapreduce/tasks/executable.py",
    "coordination/__main__.py",
)
"""Likewise: what a user's own process runs, and what starts the user's executables."""

FORBIDDEN = {"sim", "simpy", "time", "random", "socket", "os", "subprocess", "threading", "secrets", "uuid"}


def services() -> list[Path]:
    return [
        path
        for path in sorted(SERVICES.rglob("*.py"))
        if path.relative_to(SERVICES).parts[0] not in REAL
        and not path.relative_to(SERVICES).as_posix().startswith(OUTSIDE)
    ]


@cache
def breaches(source: str) -> list[str]:
    """Returns what in a module goes past the door. What is imported for type checking only does not."""
    return list(_breaches(ast.parse(source)))


def _breaches(tree: ast.Module) -> Iterator[str]:
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                for_types.update(ast.walk(statement))
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in FORBIDDEN:
                yield f"line {node.lineno} imports {name}"  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield f"line {node.lineno} calls open()"


@pytest.mark.parametrize("path", services(), ids=lambda path: str(path.relative_to(SERVICES)))
def test_no_service_goes_past_its_door(path: Path) -> None:
    assert breaches(path.read_text()) == []


def test_real_services_do_not_know_the_lab() -> None:
    for path in sorted(SERVICES.rglob("*.py")):
        lab = [
            breach
            for breach in breaches(path.read_text())
            if breach.endswith((" sim", " simpy")) or "imports sim." in breach
        ]
        assert lab == [], path


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["line 1 imports time"]),
        ("from random import choice", ["line 1 imports random"]),
        ("def f():\n    import sim.world", ["line 2 imports sim.world"]),
        ("data = open('x').read()", ["line 1 calls open()"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random", []),
        ("async def f(disk):\n    await disk.open('x')", []),
        ("import timeit_like", []),
    ],
)
def test_the_check_sees_what_it_should(source: str, found: list[str]) -> None:
    assert breaches(source) == found
