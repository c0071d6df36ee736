"""Spanner: externally consistent transactions over Paxos and TrueTime; README.md has the design."""
