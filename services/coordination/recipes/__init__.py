"""The recipes of section 2.4 (and Apache's), each on nothing but the client's calls.

    configuration    one znode, read again when it changes; a reader ends at the last value
    ready            many znodes as one configuration (2.3); nobody reads a mixture of two
    rendezvous       where those meet who do not know each other yet
    membership       a member is listed only while its session lives
    simple_lock      a lock, with the herd effect; at most one holder
    lock             without it: grants in order of request, a release wakes at most one
    read_write_lock  one writer, or readers
    double_barrier   to begin together and to end together
    queue            first in, first out; an element has one consumer, and leaves when that one says so
    election         at most one leader

**What a broken connection does.** A recipe goes on across it: what it may do twice, it does again, and what
it creates it can find again (`recoverable`). **What the end of the session does.** Everything that a recipe
waits for raises `SessionExpired`. Whoever *holds* something (a lock, a membership, leadership) gets no
exception where it is at work; it has `lost`, an event that is set as soon as the session may be over
(`Client.on_doubt`), which is before anybody else can be granted the same, unless this process stands still or
its clock does. Against that there is `fence`, a number that rises from grant to grant: what is locked refuses
those who come with a smaller one than it has seen.
"""

from services.coordination.recipes.configuration import Configuration
from services.coordination.recipes.double_barrier import DoubleBarrier
from services.coordination.recipes.election import Election
from services.coordination.recipes.lock import Lock
from services.coordination.recipes.membership import Group, Membership
from services.coordination.recipes.queue import Element, Queue
from services.coordination.recipes.read_write_lock import ReadLock, WriteLock
from services.coordination.recipes.ready import ReadyConfiguration
from services.coordination.recipes.rendezvous import Rendezvous
from services.coordination.recipes.simple_lock import SimpleLock

__all__ = [
    "Configuration",
    "DoubleBarrier",
    "Election",
    "Element",
    "Group",
    "Lock",
    "Membership",
    "Queue",
    "ReadLock",
    "ReadyConfiguration",
    "Rendezvous",
    "SimpleLock",
    "WriteLock",
]
