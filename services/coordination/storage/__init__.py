"""What a server keeps on its disk: the log, snapshots and two epochs; and how it finds them again.

Two folders, which may lie on different devices (`dataDir` and `dataLogDir`):

| file | what it is |
| --- | --- |
| `data/acceptedEpoch`, `data/currentEpoch` | f.p and f.a |
| `data/snapshot-SINCE-ZXID` | the state, fuzzily as of ZXID (4.3), with the log from segment SINCE on |
| `log/segment-NUMBER` | transactions in order, in checksummed batches |
| `data/identity`, `log/identity` | whose they are |

What holds, and why:

1. *One writer, one batch at a time* (`storage.py`). All that waits is appended in one write and made durable
   by one sync (group commit); the next batch is written only after it. So a damaged batch with a whole one
   behind it was durable once, and is damage; without, it is the torn end of a write that nobody was told of.
2. *A segment says after which zxid it continues.* What earlier segments hold beyond that has been truncated:
   a new segment is all that a truncation takes, and it is there whole or not at all.
3. *A snapshot says since which segment the log belongs to it.* One received from a leader takes the place of
   the whole history by its renaming alone; segments before SINCE are void, and removed in their own time.
4. *A snapshot has its name only when whole*, and when the log holds, durably, all that it may show
   (everything delivered before its last piece was taken).
5. *A file whose sync has failed is not trusted again.* The storage stops (`StorageFailed`). Whoever opens it
   anew, in another process or in the same, finds the last batch, and writes it again and syncs it before it
   counts.

`recovery.py` reads it all at the start, repairs a torn end, and refuses (`StorageRefused`) whatever else is
wrong: a server that starts on less than it has promised and acknowledged breaks Zab. Files are purged when
newer snapshots make them unnecessary.
"""

from services.coordination.storage.format import Record
from services.coordination.storage.storage import Storage
from services.durable.errors import StorageFailed, StorageRefused

__all__ = ["Record", "Storage", "StorageFailed", "StorageRefused"]
