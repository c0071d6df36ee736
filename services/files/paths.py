"""Paths of the file service: their one spelling. A leading "/" means nothing: there is one root."""

from __future__ import annotations


def parts(path: str) -> tuple[str, ...]:
    """Returns the names in a path; nothing leads out of the root."""
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def clean(path: str) -> str:
    """Returns the path as the master knows it."""
    return "/".join(parts(path))
