"""The asyncio client: a session with pipelined calls, watches and connection states (2.1 to 2.3).

    async with Client(host, ["zk1", "zk2", "zk3"], timeout=10) as client:
        await client.create("/app", b"1")
        changed = Watch()
        data, stat = await client.get("/app", watch=changed)
        writes = [client.set(f"/app", b"%d" % number) for number in range(1000)]  # all on their way
        await asyncio.gather(*writes)
        print(await changed)  # it fired before the first write was answered

Read first: `client.py` and `calls.py` (what one can do and ask), then `session.py` (how it is asked, and what
happens when a connection breaks), `pulse.py` (time-outs), `link.py` (one connection), `watches.py`.
"""

from services.coordination.client.client import Client
from services.coordination.client.errors import (
    AuthFailed,
    BadArguments,
    BadVersion,
    ConnectionLoss,
    InvalidAcl,
    NoAuth,
    NoChildrenForEphemerals,
    NodeExists,
    NoNode,
    NotEmpty,
    NotReadOnly,
    NoWatcher,
    QuotaExceeded,
    SessionExpired,
    SessionMoved,
    Throttled,
)
from services.coordination.client.feed import EventsLost
from services.coordination.client.retry import retry
from services.coordination.client.transaction import Transaction, TransactionFailed
from services.coordination.client.watches import PersistentWatch, Watch

__all__ = [
    "AuthFailed",
    "BadArguments",
    "BadVersion",
    "Client",
    "ConnectionLoss",
    "EventsLost",
    "InvalidAcl",
    "NoAuth",
    "NoChildrenForEphemerals",
    "NoNode",
    "NoWatcher",
    "NodeExists",
    "NotEmpty",
    "NotReadOnly",
    "PersistentWatch",
    "QuotaExceeded",
    "SessionExpired",
    "SessionMoved",
    "Throttled",
    "Transaction",
    "TransactionFailed",
    "Watch",
    "retry",
]
