"""Replicas of Paxos groups on a spanserver: the rules of `paxos/` at work on links, the disk and the clock.

    storage = await Storage.open(host.disk, host.rng, universe, host.name)
    replicas = Replicas(host, universe, storage, truetime, settings)
    replicas.add_to(grpc_server)
    running = asyncio.create_task(replicas.run())  # until cancelled, or the disk fails
    for number, image in storage.groups.items():  # what was here before
        replica = await replicas.add(number, members, machine)
    await replicas.create(number, described)  # a new one; then `add`

`Replica` implements `group.Group`. It hands the rules what happens, and carries out what they want, in
their order:

| what they want | who does it |
| --- | --- |
| messages | `links.py`: one stream to each other spanserver, for all groups |
| writes, installations | `storage/`, which confirms; one sync for all groups |
| to be told the time | `alarms.py`: one timer for all groups |
| entries applied, and what else the tablet hears | the state machine, in one order |
| the state of another replica | `fetching.py` |

Everything happens on one event loop. What comes in together (a batch of messages, what one sync has made
durable, all that was proposed in a turn of the loop) is told to the rules first; then what they want is
done: so messages and writes are shared. A group has no task and no timer of its own. One that nobody asks
for anything costs its memory.

**Time.** Every input has an interval of TrueTime that was taken after it arrived: lease votes are counted
from there (Appendix A). A host that does not know the time takes no messages, as if they were lost; what is
durable is told once it knows it.

**While a checkpoint is loaded** the rules go on (they promise, vote and accept); what the state machine is
to hear waits.

**Limits.** Messages for a spanserver that does not take them are lost, at 64 MiB. One that sends more than
the disk can take is not read for a while (`storage.ROOM`). A leader has `replica.OUTSTANDING` entries under
way at most. Checkpoints are written after `CHECKPOINT_ENTRIES` entries or `CHECKPOINT_BYTES`.

**A disk that fails** ends the server: `run` raises `StorageFailed`, nothing more is acknowledged. A
checkpoint that cannot be written is given up, with a warning, and tried again later: nothing rests on it.

**In the trace**: "lease" and "lease-end" (group, term, start, end), "checkpoint", "install".
"""

from services.spanner.replica.links import CHANNEL_OPTIONS
from services.spanner.replica.replica import Replica
from services.spanner.replica.replicas import Replicas

SERVER_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""For the gRPC server that serves `Replicas.add_to`: long histories are not cut off."""

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "Replica", "Replicas"]
