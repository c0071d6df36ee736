"""Spanner under attack: stories about its clocks, its groups and its transactions."""
