"""One Paxos group, as rules without I/O (Corbett et al., "Spanner", OSDI 2012: sections 2.1, 4.1.1,
4.1.2, 4.2.4 and Appendix A).

Inputs are messages (`messages.py`), the completion of what was to be made durable, the passing of time, and
what the replica's users want. Outputs are the values of `outputs.py`. No sockets, disks, clocks or tasks are
in here, and no chance but the generator that is given: whoever drives it (`services/spanner/replica`, or a
test) says what TrueTime says, and does what the outputs say, in their order.

    paxos = Paxos("s1", members, Recovered(...), Settings(), rng)
    paxos.lead(now)
    for output in paxos.take(): ...  # after an input, or after several: then they share messages and writes

`now` is an `Interval` of TrueTime taken right before the call. All times are nanoseconds of TrueTime.

| input | when |
| --- | --- |
| `receive(sender, message, now)` | a message has come from that member |
| `durable(number, now)` | the `Write` or `Install` of that number is durable, and all before it |
| `tick(now)` | TT.now().earliest has reached `next_deadline()`, or any time else: early is harmless |
| `lead(now)` | somebody needs this replica to lead: `Leads`, `Renewed` or `Elsewhere` answers |
| `assign(at_least, now)` | an entry's timestamp; 0: not yet, try again after `Renewed`; raises `NotLeader` |
| `propose(timestamp, value)` | the entry for it, in the same step; returns its index |
| `safe(t, now)` | somebody waits for t_Paxos_safe ≥ t: `Safe` tells when to look again |
| `abdicate(now, successor)` | give leadership away: at once to a successor that has the log, or to nobody |
| `fetched(position, now)` | a checkpoint is here (None: it could not be fetched) |
| `compacted(index)` | a checkpoint at or after it is durable: the log up to there is not needed |

To read: `term(now)` (the reign, while the lease holds; else 0), `leader`, `lease`, `assigned`, `paxos_safe`,
`applied`, `last`, `promised`, `next_deadline()`.

The driver's side of the bargain:

- After a crash `Recovered` has what was confirmed as durable; what was not may be there or not, a `Write` as
  a whole.
- It bounds how many entries are outstanding. An entry's value is not empty.
- `InvariantBroken` ends the server.
- It calls `take` after each input, or after several.
- While nothing is asked of a group, `next_deadline()` is None: an idle group costs nothing.

The life of a reign:

1. *Candidate*: `Prepare` asks voters for a promise and the lease vote at once. Then it promises itself.
   Of the quorum's logs the greatest goes on: what of it is not known to be chosen is proposed again, in its
   place, with its timestamp. There are no gaps to fill: a replica accepts in the order of the log.
2. *Opening*: the first entry of a reign is its own, and empty. Once it is chosen, nothing of earlier reigns
   that was not found can be chosen any more; timestamps start above the lease's start, so above all that
   earlier leaders assigned or promised.
3. *Leading*: entries are sent as they are proposed; each `Accepted` extends the lease. Near its end, an
   empty `Accept` asks for votes, and promises MinNextTS.
4. *Idle*: nobody asks; `Quiet`, and the lease runs out. Asked again, it takes votes in the same ballot: who
   gives one has promised nobody else, so nobody else can have led meanwhile. It is the same reign.
5. *End*: overruled by a greater ballot, or given away: when all is chosen and TT.after(s_max), `Release`
   frees the votes. A crash frees nothing: the vote belongs to the ballot, so a restarted leader waits for
   its own old votes too.

Asserted as it runs (`invariants.py`): promises grow; one vote at a time; what is chosen stays; timestamps
increase along the log, and lie in the lease; nothing is applied at or below t_Paxos_safe or a promise; votes
are released only after s_max.

Read in this order: `ballots.py`, `messages.py`, `plausible.py`, `outputs.py`, `log.py`, `acceptor.py`,
`lease.py`, `candidate.py`, `leader.py`, `flow.py`, `follower.py`, `paxos.py`.
"""

from services.spanner.paxos.invariants import InvariantBroken
from services.spanner.paxos.outputs import Output, Position, State
from services.spanner.paxos.paxos import Paxos
from services.spanner.paxos.recovered import Recovered
from services.spanner.paxos.settings import Settings

__all__ = ["InvariantBroken", "Output", "Paxos", "Position", "Recovered", "Settings", "State"]
