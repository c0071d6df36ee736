"""What the README shows is what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "file",
    [
        "scenarios/adopted/till.py",
        "scenarios/adopted/payments.py",
        "services/mapreduce/examples/word_count.py",
    ],
)
def test_the_code_it_shows_is_the_code(file: str) -> None:
    assert (ROOT / file).read_text().strip() in README


@pytest.mark.parametrize(
    "command",
    ["run basics/ping", "replay runs/basics/ping/sim-seed0", "run adopted/payments --set retry=true"],
)
def test_the_output_it_shows_is_the_output(command: str, tmp_path: Path) -> None:
    dsim = Path(sys.executable).with_name("dsim")
    if command.startswith("replay"):
        subprocess.run(
            [dsim, "run", "basics/ping", "--no-plots"], cwd=tmp_path, capture_output=True, check=True
        )
    told = subprocess.run(
        [dsim, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    ).stdout
    assert f"$ dsim {command}\n" in README
    assert " ".join(told.split()) in " ".join(README.split())


def test_what_it_shows_of_dsim_check_is_what_it_says() -> None:
    dsim = Path(sys.executable).with_name("dsim")
    history = ROOT / "tests" / "check" / "histories" / "etcd-000.edn"
    told = subprocess.run(
        [dsim, "check", history, "--model", "cas-register", "--no-plots"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert told.strip() in README


def test_the_client_of_coordination_that_it_shows_works(tmp_path: Path) -> None:
    dsim = Path(sys.executable).with_name("dsim")
    (code,) = (
        block.partition("```")[0]
        for block in README.split("```python\n")[1:]
        if "coordination.recipes" in block
    )
    up, down = ["up", "coordination", "--nodes", "3", "--dir", "zk"], ["down", "--dir", "zk"]
    subprocess.run([dsim, *up], cwd=tmp_path, capture_output=True, check=True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run([dsim, *down], cwd=tmp_path, capture_output=True, check=True)
    assert "DATA_CHANGED" in done.stdout, done.stderr
    assert "held, and would know if not" in done.stdout


def test_the_client_of_spanner_that_it_shows_works(tmp_path: Path) -> None:
    dsim = Path(sys.executable).with_name("dsim")
    (code,) = (
        block.partition("```")[0] for block in README.split("```python\n")[1:] if "services.spanner" in block
    )
    table = ["spanner", "create", "Accounts", "Id INT64", "Balance INT64", "--dir", "bank"]
    subprocess.run([dsim, "up", "spanner", "--dir", "bank"], cwd=tmp_path, capture_output=True, check=True)
    try:
        subprocess.run([dsim, *table], cwd=tmp_path, capture_output=True, check=True)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        subprocess.run([dsim, "down", "--dir", "bank"], cwd=tmp_path, capture_output=True, check=True)
    said = "[(1, 50), (2, 150)]\n[(1, 100), (2, 100)]\n2 rows, at the nearest replica\n"
    assert done.stdout == said, done.stderr


def test_its_pictures_are_there() -> None:
    pictures = [line.rpartition("(")[2].rstrip(")") for line in README.splitlines() if line.startswith("![")]
    assert len(pictures) > 8
    assert all((ROOT / picture).is_file() for picture in pictures)
