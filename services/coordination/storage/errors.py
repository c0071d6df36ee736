"""What a server does about a disk that it must not start on."""

from __future__ import annotations

CURE = "remove this server from the ensemble, and add it again with empty folders"
"""For a server that has lost what it promised or acknowledged: it must not vote as the one that it was."""
