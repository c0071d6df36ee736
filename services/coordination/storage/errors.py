"""What can be wrong with a disk: at the start, and later."""

from __future__ import annotations

CURE = "remove this server from the ensemble, and add it again with empty folders"
"""For a server that has lost what it promised or acknowledged: it must not vote as the one that it was."""


class StorageRefused(Exception):
    """What the disk holds is damaged, or another server's: nobody must start on it. Says what to do."""


class StorageFailed(Exception):
    """The disk failed while the server ran: what was not yet confirmed never will be. Says why."""
