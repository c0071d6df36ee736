"""A child for tests of task code: a folder as its disk, what it tells in a list."""

import time
from pathlib import Path
from typing import Any, BinaryIO


class FolderStorage:
    """`services.child.Storage` in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        where = self.root / path
        if "r" not in mode:
            where.parent.mkdir(parents=True, exist_ok=True)
        return open(where, mode, buffering)  # type: ignore[return-value]

    def rename(self, source: str, target: str) -> None:
        (self.root / source).replace(self.root / target)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def list(self, folder: str = "") -> list[str]:
        where = self.root / folder
        return sorted(path.name for path in where.iterdir()) if where.exists() else []

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def size(self, path: str) -> int:
        return (self.root / path).stat().st_size


class Inside:
    """`services.child.Inside` in this process."""

    def __init__(self, root: Path) -> None:
        self.disk = FolderStorage(root)
        self.told: list[Any] = []
        self.marks: list[int] = []

    def log(self, path: str) -> None:
        """Nothing is redirected: tests look at the process's own streams."""

    def mark(self, number: int) -> None:
        self.marks.append(number)

    def tell(self, message: Any) -> None:
        self.told.append(message)

    def clock(self) -> float:
        return time.monotonic()
