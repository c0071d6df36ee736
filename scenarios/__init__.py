"""Scripts that a person reads: one folder a system."""
