"""One Paxos group, as rules without I/O (Corbett et al., "Spanner", OSDI 2012: 2.1, 4.1.1, 4.1.2, 4.2.4, Appendix A).

Inputs are messages (`messages.py`), the completion of what was to be made durable, the passing of time, and what
the replica's users want. Outputs are the values of `outputs.py`. No sockets, disks, clocks or tasks are in here, and
no chance but the generator that is given: whoever drives it (`services/spanner/replica`, or a test) says what
TrueTime says, and does what the outputs say, in their order.

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
| `assign(at_least, now)` | a timestamp for an entry; 0: not yet, try again after `Renewed`; raises `NotLeader` |
| `propose(timestamp, value)` | the entry for it, in the same step; returns its index |
| `safe(t, now)` | somebody waits for t_Paxos_safe ≥ t: `Safe` tells when to look again |
| `abdicate(now, successor)` | give leadership away: at once to a successor that has the log, or to nobody |
| `fetched(position, now)` | a checkpoint is here (None: it could not be fetched) |
| `compacted(index)` | a checkpoint at or after it is durable: the log up to there is not needed |

To read: `term(now)` (the reign, while the lease holds; else 0), `leader`, `lease`, `assigned`, `paxos_safe`,
`applied`, `last`, `promised`, `next_deadline()`.

The driver's side of the bargain:

- After a crash `Recovered` has what was confirmed as durable; what was not may be there or not, a `Write` as a whole.
- It bounds how many entries are outstanding. An entry's value is not empty.
- `InvariantBroken` ends the server.
- While nothing is asked of a group, `next_deadline()` is None: an idle group costs nothing.
"""

from services.spanner.paxos.invariants import InvariantBroken
from services.spanner.paxos.outputs import Output, Position, State
from services.spanner.paxos.paxos import Paxos
from services.spanner.paxos.recovered import Recovered
from services.spanner.paxos.settings import Settings

__all__ = ["InvariantBroken", "Output", "Paxos", "Position", "Recovered", "Settings", "State"]
