"""Example jobs (MapReduce 2.3)."""
