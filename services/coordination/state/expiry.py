"""What the leader may remove by itself: empty containers, and znodes whose time to live has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.state.znode import CONTAINER, ttl_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.coordination.state.tree import Tree
    from services.coordination.state.znode import Znode


def due(tree: Tree, now: int, never_used: int = 0) -> Iterator[str]:
    """Yields the paths of what may be removed. The tree must not change meanwhile.

    Args:
        tree: the state.
        now: ms since the Unix epoch, by the leader's clock.
        never_used: ms after which a container goes that never had a child; 0 for never.
    """
    for path in (*tree.containers, *tree.expiring):
        znode = tree.lookup(path)
        if znode is not None and is_due(znode, now, never_used):
            yield path


def is_due(znode: Znode, now: int, never_used: int = 0) -> bool:
    """Says whether a znode may be removed: it has no children, and had some or is too old."""
    if znode.children is not None:
        return False
    if znode.owner == CONTAINER:
        return znode.created > 0 or 0 < never_used < now - znode.mtime
    ttl = ttl_of(znode.owner)
    return ttl is not None and now - znode.mtime > ttl
