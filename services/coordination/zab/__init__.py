"""Zab, as rules without I/O (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for primary-backup
systems", DSN 2011). Sections cited in this folder are that paper's.

Inputs are messages (`protos/coordination.proto`, `Peers`), connections that open and end, the passing of
time, the completion of what was to be made durable, and transactions to propose. Outputs are the values of
`outputs.py`. No sockets, disks, clocks, tasks or chance are in here: whoever drives it
(`services/coordination/peer`, or a test, by hand) says what time it is, and does what the outputs say, in
their order.

    peer = Peer(server, Recovered(configuration, ...), Timing())  # what is on the disk; how long to wait
    peer.start(now)
    for output in peer.take(): ...  # after an input, or after several

| input | when |
| --- | --- |
| `start(now)` | once, first |
| `tick(now)` | at `next_deadline()` (seconds of a clock that never goes back), or after; early is harmless |
| `reachable(server, now)` | the stream of votes with it has opened (again): it is told the own vote |
| `connected(server, now)` | an iteration has opened: the one that `Follow` asked for, or a learner's |
| `closed(server, now)` | it ended, or did not open; not after an own `Hangup` or `Looking` |
| `heard(sender, message, now)` | a `Notification`, or a message of the present iteration with `sender` |
| `saved_accepted_epoch(epoch, now)` | f.p is durable |
| `saved_current_epoch(epoch, now)` | f.a is durable, with all that was appended before |
| `logged(zxid, now)` | the history is durable up to there |
| `purged(after)` | the own history can be served only after this zxid from now on |
| `propose(transaction, reconfigure=None)` | returns the zxid; raises `NotLeading`, `ValueError` |
| `stop(why, now)` | it takes no part any more (shutdown, a failed disk): `Looking` is its last output |

To read: `phase` (as of `broadcast.Phase`), `leader`, `epoch` (f.a), `accepted_epoch` (f.p),
`configuration`, `reconfiguring`, `last_zxid` (accepted), `committed` (delivered), `next_zxid`, `synchronized`
(who takes part in phase 3), `quorum_of(configuration)`.

The driver's side of the bargain:

- The messages of one iteration come in order, none after its end, and none of a new one before `connected`.
- Confirmations of `logged` come in the order of the outputs, and so do those of epochs.
- It bounds how many proposals are outstanding. Nothing else in here grows, but by one entry a server and one
  an epoch of the log.
- `InvariantBroken` ends the server.

Read in this order: `zxid.py`, `invariants.py`, `history.py`, `acceptor.py` (what a server promises, accepts
    and delivers, whatever its role), `election.py`, `follower.py`, `learner.py`, `acknowledged.py`,
    `leader.py`, `peer.py`.
"""
