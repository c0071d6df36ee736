"""A worker (MapReduce 3.1): program `serve`."""

from __future__ import annotations

from services.mapreduce.worker.service import serve

__all__ = ["serve"]
