"""The other supported Pythons that this machine has.

    python -m tests.pythons         sets each up in an environment of its own below `.venv/other/`
    python -m tests.pythons test    runs there the tests of what depends on Python itself

The replay tests also use those that are there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OTHER = ROOT / ".venv" / "other"
SUPPORTED = ("3.11", "3.12", "3.13")


def find(version: str) -> Path | None:
    """Returns an interpreter of that version that works here, on the PATH or among pyenv's."""
    on_path = shutil.which(f"python{version}")
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python"))
    for candidate in ([Path(on_path)] if on_path else []) + installed:
        check = f"import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != {version!r})"
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


CHOSEN = (
    "tests/world/adopt",
    "tests/world/loop",
    "tests/world/rpc",
    "tests/world/streams",
    "tests/conformance",
    "tests/scenario",
)
"""What depends on Python itself. That all scenarios run, and alike, `tests/test_replay.py` sees for each."""


def environments() -> dict[str, Path]:
    """Returns the interpreters that are set up, by version, the running one among them."""
    found = {".".join(map(str, sys.version_info[:2])): Path(sys.executable)}
    for version in SUPPORTED:
        python = OTHER / version / "bin" / "python"
        if version not in found and (OTHER / version / "ready").exists():
            found[version] = python
    return found


def test() -> int:
    """Runs the tests in each, side by side; returns the worst exit status."""
    under_way = []
    for version, python in environments().items():
        if python != Path(sys.executable):
            choice = ["-k", "not real and not door and not grpc", "-p", "no:cacheprovider", *CHOSEN]
            tests = subprocess.Popen(
                [python, "-m", "pytest", *choice], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            under_way.append((version, tests))
    for version, tests in under_way:
        said, _ = tests.communicate()
        print(f"python {version}:\n{said.decode()}", flush=True)
    return max((tests.returncode for _, tests in under_way), default=0)


def set_up() -> None:
    """Sets up what is missing, side by side, each with what its tests need and no more."""
    under_way = []
    for version in SUPPORTED:
        if version in environments():
            continue
        interpreter = find(version)
        if interpreter is None:
            print(f"python {version}: not installed here, not tested")
            continue
        home = OTHER / version
        print(f"python {version}: setting up {home.relative_to(ROOT)}", flush=True)
        subprocess.run([interpreter, "-m", "venv", "--clear", "--without-pip", home], check=True)
        pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
        install = [*pip, "install", "-qq", "--disable-pip-version-check", "--no-compile"]
        under_way.append((home, subprocess.Popen([*install, "-e", f"{ROOT}[pythons]"])))
    for home, installing in under_way:
        if installing.wait() != 0:
            sys.exit(
                f"{home.relative_to(ROOT)}: pip could not install the project (its own lines above say why)"
            )
        (home / "ready").touch()


if __name__ == "__main__":
    sys.exit(test() if "test" in sys.argv[1:] else set_up())
