"""The master (MapReduce 3): program `serve`."""

from __future__ import annotations

from services.mapreduce.master.service import serve

__all__ = ["serve"]
