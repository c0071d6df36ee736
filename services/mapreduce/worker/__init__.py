"""The worker."""

from services.mapreduce.worker.service import serve

__all__ = ["serve"]
