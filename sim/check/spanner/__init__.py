"""Checks of Spanner's invariants over histories and traces."""
