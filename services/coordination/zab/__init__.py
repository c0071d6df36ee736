"""Zab, as rules without I/O (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for primary-backup
systems", DSN 2011).

Inputs are messages (`protos/coordination.proto`, `Peers`), connections that open and end, the passing of
time, the completion of what was to be made durable, and transactions to propose. Outputs are the values of
`outputs.py`. No sockets, disks, clocks, tasks or chance are in here: whoever drives it
(`services/coordination/peer`, or a test, by hand) says what time it is, and does what the outputs say, in
their order.

    peer = Peer(server, recovered, timing)   # recovered: what is on the disk (`peer.Recovered`)
    peer.start(now)
    for output in peer.take(): ...           # after each input, or after several: nothing is done but by this

| input | when |
| --- | --- |
| `start(now)` | once, first |
| `tick(now)` | at `next_deadline()` (seconds of a clock that never goes back), or after; early is harmless |
| `reachable(server, now)` | the stream of votes with it has opened (again): it is told the own vote |
| `connected(server, now)` | an iteration has opened: the one that `Follow` asked for, or a learner's |
| `closed(server, now)` | it ended, or did not open; not after an own `Hangup` or `Looking` |
| `heard(sender, message, now)` | a message: a `Notification`, or one of the present iteration with `sender` |
| `saved_accepted_epoch(epoch, now)`, `saved_current_epoch(epoch, now)`, `logged(zxid, now)` | it is durable |
| `purged(after)` | the own history can now be served only after this zxid |
| `propose(transaction, reconfigure=None)` | returns the zxid; raises `NotLeading`, `ValueError` |
| `stop(why, now)` | no more part in it (disk failed, shutdown): gives up what it is, and looks for nothing |

To read: `phase` ("looking", "following", "leading", "observing": as of `broadcast.Phase`), `epoch` (f.a), `leader`,
`configuration`, `last_zxid` (accepted), `committed` (delivered), `next_zxid`, `reconfiguring`, `synchronized` (the learners
that take part in phase 3), `quorum_of(configuration)`.

Of one iteration, messages come in order and none comes after its end; of a new one with the same server, none before
`connected`. Confirmations come in the order of the outputs. Of what is in here nothing grows but the proposals that
are not committed yet, which the driver bounds by how many it proposes, and one entry for each server and epoch of the log.

To read: `zxid.py`, `invariants.py`, `history.py`, `acceptor.py` (what a server promises, accepts and delivers), `election.py`,
`follower.py`, `leader.py`, `peer.py`. Sections cited are the paper's.
"""
