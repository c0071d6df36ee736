"""What to do about a disk that nobody must start on."""

from __future__ import annotations

CURE = "move this server's replicas elsewhere, and start it again with an empty folder under another name"
"""For a server that has lost what it promised or accepted: it must not vote as the one that it was."""
