"""The ZooKeeper and Zab papers' experiments: the servers of `services/coordination` on modelled machines.

`hardware` has the machines in numbers, `calibration` what their work costs and which points of the papers
that comes from, `servers` the programs, `load` the clients, `ensemble` and `alone` put them together,
`compare` holds the outcome against the paper.
"""
