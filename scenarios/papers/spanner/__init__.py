"""The Spanner paper's experiments (OSDI 2012, section 5): `services/spanner` on modelled machines.

`calibration` has the machines in numbers, and which points of the paper they come from; `servers` the
program, `universe` puts servers and data together, `load` the clients; `epsilon` is about time alone. How a
run is held against the paper is `coordination/compare.py`'s.
"""
