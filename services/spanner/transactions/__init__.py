"""Transactions of a group (4.2): locks, two-phase commit, reads.

Read `transactions.py` first: the doors. `leading.py` is what a leader remembers for one reign, over
`locks.py` (on `overlaps.py`). A commit goes through `coordinator.py` (`tally.py` counts votes), a prepare
through `participant.py`; both through `work.py`, from mutations to an entry. Reads are in `reading.py`
(under locks) and `read_only.py` (without), both by `pages.py`. `staging.py` takes in what is moved here,
`story.py` tells the trace.

*Where commit wait is.* The paper's replicas apply a commit after it. Here all apply as soon as Paxos has
chosen it, which may be before TT.after(s), and nobody gets to see it until then:

- under locks: the leader keeps the transaction's locks until it is applied and TT.after(s). A later
leader has
  none of them, but its lease begins after that of the one before has ended, and s lies in that (4.1.1);
- without locks: a read at t waits, at whatever replica, for TT.after of the last write that it may show
  (`read_only.safe`). Any host's TT.after is as good as the leader's: it says that absolute time is past s;
- participants are told s after TT.after(s), by whichever leader of the coordinator, and apply then;
- a commit that comes again is answered after TT.after(s), too.
"""

from services.spanner.transactions.coordinators import Coordinators
from services.spanner.transactions.settings import TransactionSettings
from services.spanner.transactions.transactions import Transactions

__all__ = ["Coordinators", "TransactionSettings", "Transactions"]
