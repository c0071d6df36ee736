"""The pictures of a run folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def draw(
    folder: Path,
    kinds: Sequence[str],
    *,
    start: float | None = None,
    end: float | None = None,
    svg: bool = False,
) -> list[Path]:
    """Draws."""
    return []


def open_pictures(pictures: Sequence[Path]) -> None:
    """Opens pictures as the desktop does."""
    import subprocess

    opener = "open" if sys.platform == "darwin" else "xdg-open"
    for picture in pictures:
        subprocess.run([opener, str(picture)], check=False)
