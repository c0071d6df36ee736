"""The asyncio client: transactions, snapshots and batches on the database, in the notions of Cloud Spanner.

    async with connect(host, ["location-z1"], zone="z1") as database:

        async def transfer(transaction, source, target, amount):
            rows = await transaction.read("Accounts", ["Id", "Balance"], keys([source], [target]))
            balances = dict(rows)
            transaction.update("Accounts", ["Id", "Balance"], [(source, balances[source] - amount), ...])

        await database.run_in_transaction(transfer, 1, 2, 100)
        snapshot = database.snapshot(max_staleness=timedelta(seconds=10))
        rows = await snapshot.read("Accounts", ["Id", "Balance"], ALL)

Timestamps and durations are integers of nanoseconds; `datetime` and `timedelta` are taken as well
(`bounds.py`). A refusal is a `SpannerError`; a commit of which nobody knows the outcome, an `OutcomeUnknown`.

Read first: `database.py`, `transaction.py` (two-phase commit), `snapshot.py`; then `reads.py` (pieces of a
read, and going on elsewhere), `router.py` (whom to ask), `locations.py` (what is known of where things are),
`pipeline.py` (one connection).
"""

from services.spanner.client.batch import Batch
from services.spanner.client.database import Database, connect
from services.spanner.client.errors import OutcomeUnknown
from services.spanner.client.snapshot import Snapshot
from services.spanner.client.transaction import Row, Transaction
from services.spanner.errors import SpannerError
from services.spanner.schema import ALL, KeySet, Range, beginning, keys

__all__ = [
    "ALL",
    "Batch",
    "Database",
    "KeySet",
    "OutcomeUnknown",
    "Range",
    "Row",
    "Snapshot",
    "SpannerError",
    "Transaction",
    "beginning",
    "connect",
    "keys",
]
