"""Spanner: latencies and rates as processes, and what the simulated one costs."""
