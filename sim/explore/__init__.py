"""Seed sweeps, swarm faults, shrinking."""
