"""Zab, as rules without I/O (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for primary-backup
systems", DSN 2011).

Inputs are messages (`protos/coordination.proto`, `Peers`), connections that open and end, the passing of
time, the completion of what was to be made durable, and transactions to propose. Outputs are the values of
`outputs.py`. No sockets, disks, clocks, tasks or chance are in here: whoever drives it
(`services/coordination/peer`, or a test, by hand) says what time it is, and does what the outputs say, in
their order.
"""
