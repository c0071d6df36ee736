"""What can be wrong with a disk: at the start, and later."""

from __future__ import annotations


class StorageRefused(Exception):
    """What the disk holds is damaged, or another server's: nobody must start on it. Says what to do."""


class StorageFailed(Exception):
    """The disk failed while the server ran: what was not yet confirmed never will be. Says why."""
