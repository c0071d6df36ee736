"""One server's part in the ensemble: the rules of `zab/` at work on streams, the disk and the clock.

    replica = Replica(host, 1, configuration)
    replica.add_to(grpc_server)  # `host.serve(member.quorum_port, options=SERVER_OPTIONS)`
    await replica.run(state_machine)  # until cancelled, or the disk fails

`Replica` implements `broadcast.Broadcast`. It hands the rules what happens (`drive.py`), and carries out what
they want in the order in which they want it:

| what they want | who does it |
| --- | --- |
| votes | `votes.py`: a stream to each member, kept open |
| messages, histories, snapshots | `streams.py`, `iteration.py`: a stream each, batched by an `Outbox` |
| appends, truncations, epochs | `storage/`, which confirms |
| deliveries, and what else the state machine is told | `delivery.py`, in one order |

Everything happens on one event loop: an input of the rules, and all that it leads to here, is one step that
nothing interrupts. What takes time (disk, streams, deliveries of transactions that are no longer in memory)
has a queue that keeps the order.

**Single-iteration channels** (Zab, II). Each iteration has a connection of its own. What arrives is passed on
only while that iteration is the present one with that server.

**Limits.** A learner for which more than `outbox.LIMIT` bytes wait is cut off; it comes back when it can, and
is then synchronized from the log or by a snapshot. A learner whose disk is behind by more than `storage.ROOM`
bytes reads no more until it has caught up. Transactions that wait for their commit in memory are bounded
by `delivery.MEMORY`; those beyond are read from the log.

**A disk that fails** ends the server: it steps down (the state machine is told why, its streams end),
acknowledges nothing more, and `run` raises `StorageFailed`. What it had not confirmed may or may not be found
at its restart. A snapshot that cannot be written is given up, with a warning, and tried again later:
nothing rests on it.
"""

from services.coordination.peer.replica import SERVER_OPTIONS, Replica

__all__ = ["SERVER_OPTIONS", "Replica"]
