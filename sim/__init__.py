"""The lab: the simulated world, scenarios, faults, checks, traces and pictures."""
