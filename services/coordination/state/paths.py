"""Paths of znodes: which are well formed, and their parts.

The rules are those of Apache's `PathUtils`, so that what one service takes the other takes too: absolute,
no empty, "." or ".." part, no control character, surrogate, private-use character or noncharacter, and
nothing outside the basic plane (a Java string has surrogates there). Length and depth are limited besides.
"""

from __future__ import annotations

import re

from services.coordination.api import Code, CoordinationError

ROOT = "/"
ZOOKEEPER = "/zookeeper"
QUOTA = "/zookeeper/quota"
CONFIG = "/zookeeper/config"
SPECIAL = frozenset((ROOT, ZOOKEEPER, QUOTA, CONFIG))
"""What is there from the beginning and cannot be deleted."""

LONGEST = 8192  # characters of a path
DEEPEST = 512  # parts of a path

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")


def is_valid(path: str) -> bool:
    """Says whether a znode may have that path."""
    if path == ROOT:
        return True
    if path[:1] != "/" or path[-1] == "/" or "//" in path or len(path) > LONGEST or path.count("/") > DEEPEST:
        return False
    if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        return False
    return (path.isascii() and path.isprintable()) or _FORBIDDEN.search(path) is None


def is_absolute(path: str) -> bool:
    """Says whether it is worth looking for such a znode's parent."""
    return path[:1] == "/" and len(path) <= LONGEST and "\0" not in path


def validate(path: str) -> None:
    """Does nothing for a path that a znode may have.

    Raises:
        CoordinationError: BAD_ARGUMENTS: there can be no such znode.
    """
    if not is_valid(path):
        raise CoordinationError(Code.BAD_ARGUMENTS, path)


def parent_of(path: str) -> str:
    """Returns the path of the parent; of "/" itself, "/"."""
    return path[: path.rfind("/")] or ROOT
