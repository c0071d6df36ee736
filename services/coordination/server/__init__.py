"""The server: what clients get of the replicated database, and in which order (ZooKeeper, figure 4).

| module | what it holds |
| --- | --- |
| `server.py` | the state machine above Zab: deliveries in, watches and answers out |
| `connection.py`, `pipeline.py` | a client's requests in their order; throttling |
| `admission.py`, `sessions.py` | how a client gets in: a new session, one that moves here, only to read |
| `leading.py`, `expiry.py` | a leader's duties: preparing, syncs, ending what nobody keeps alive |
| `frontend.py`, `figures.py` | what the doors see (`front.py`): the way in, and numbers |
| `door.py` | the gRPC door |
| `settings.py` | what an operator may set |
| `program.py` | `serve`: all of it on one host |

**Order.** An update goes to the leader as soon as it is taken; what a client has on its way keeps its
order, because streams do. A local request waits for the updates before it and is answered right after the
last of them is applied. An identity (`Authenticate`) holds for what is submitted after it at once.

**Who answers.** A transaction says whose request it is by session and *tag*, a number of the server that
took it. A session that comes back might find transactions of its earlier connection still on their way: so
the leader says up to which zxid those are (`Revalidated.zxid`), and they answer nothing.

**Sync** (4.4). The leader answers with a zxid, and the client is answered when that is delivered at its
server. ZooKeeper takes the last one that is proposed. But a leader that was deposed without knowing it may
still commit that, if the acknowledgements were on their way (ZOOKEEPER-1675 is the case of an empty queue;
a queue that is not empty is no proof either). So here it is the first that is proposed *after* the sync
came, an empty one if no request is there in the same turn of the loop: its commit proves that a quorum
followed this leader after the sync began. Many syncs share one. `Settings.sync = "leader"` gives
ZooKeeper's cheaper kind.

**Silence.** Sessions heard from ride on the follower's `Pong`; only the leader counts (`expiry.py`), in
time that it attended, and a new leader begins anew with a full time-out for each.
"""

from services.coordination.server.program import run, serve
from services.coordination.server.settings import Settings

__all__ = ["Settings", "run", "serve"]
