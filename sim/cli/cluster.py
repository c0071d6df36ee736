"""`dsim up`, `status`, `fault`, `heal` and `down`: a local cluster of real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
