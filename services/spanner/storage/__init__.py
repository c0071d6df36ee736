"""What a spanserver keeps on its disk, for all of its groups: one log, and a checkpoint a group.

| file | what it is |
| --- | --- |
| `log/identity` | whose it is |
| `log/segment-NUMBER` | records of all groups in order, in numbered and checksummed batches |
| `checkpoints/GROUP-INDEX` | the state of a group as of an index of its log |

The log holds what Paxos must not forget: its state (promise, lease vote) and entries. What these mean is not
known here. What holds, and why:

1. *One writer, one batch at a time* (`storage.py`). All that waits, of whatever groups, is appended in one
   write and made durable by one sync (group commit); the next batch is written only after it. So a damaged
   batch with a whole one behind it was durable once, and is damage; without, it is the torn end of a write
   that nobody was told of.
2. *What the log says of each group is also in memory* (`image.py`): entries after its checkpoint, its state.
   So what is needed of an old segment can be written again, in one batch that takes the place of all before:
   that empties old segments of idle groups, which need no checkpoint for it. Groups with much in them are
   asked for one.
3. *A segment says which segments are needed*, as of its beginning (`floor`); older ones are removed once its
   header is durable, and void from then on. The others must be there, and their batches join.
4. *A checkpoint has its name only when whole, and counts once the log says so*: then it must be there.
   Files beside it are those that were not noted yet, or not yet removed.
5. *A file whose sync has failed is not trusted again.* The storage stops (`StorageFailed`). Whoever opens it
   anew finds the last batch, and writes it again and syncs it before it counts.

`recovery.py` reads the log at the start, repairs a torn end, and refuses (`StorageRefused`) whatever else is
wrong: a replica that has lost what it promised or accepted breaks Paxos, and one that has lost its lease vote
the disjointness of leases. The end of the log cannot be told from one that the disk has lost: as everywhere,
syncs must be true.
"""

from services.durable.errors import StorageFailed, StorageRefused
from services.spanner.storage.image import Image
from services.spanner.storage.storage import Storage

__all__ = ["Image", "Storage", "StorageFailed", "StorageRefused"]
