"""kazoo's recipes, each as its users use it. In the middle of each something may happen to the servers.

A recipe takes the clients and `disturb`, which returns when what it does to the servers is done. What kazoo
leaves to its user when a connection breaks (`client.retry`) is done here as a user does it.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.watchers import PatientChildrenWatch
from kazoo.retry import KazooRetry

Clients = list[KazooClient]
Disturb = Callable[[], None]

WAIT = 30.0


def connect(hosts: str, count: int) -> Clients:
    """Returns clients that try again for long."""
    clients = []
    for _ in range(count):
        retry = KazooRetry(max_tries=-1, delay=0.02, max_delay=0.2, deadline=WAIT)
        client = KazooClient(hosts, timeout=10, connection_retry=retry, command_retry=retry.copy())
        client.start(WAIT)
        clients.append(client)
    return clients


class Inside:
    """Who is inside of what excludes others."""

    def __init__(self) -> None:
        self.now = self.most = self.times = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.times += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self.now -= 1


def at_once(work: list[Callable[[], Any]]) -> list[Any]:
    """Runs functions side by side and returns what they return."""
    with ThreadPoolExecutor(len(work)) as pool:
        futures: list[Future[Any]] = [pool.submit(fn) for fn in work]
        return [future.result(2 * WAIT) for future in futures]


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def lock(clients: Clients, disturb: Disturb) -> None:
    """`Lock`: one inside at a time, those who wait come in their order."""
    inside = Inside()
    held = threading.Event()

    def work(client: KazooClient) -> None:
        mine = client.Lock("/lock", str(client.client_id[0]))
        for turn in range(3):
            assert mine.acquire(timeout=WAIT)
            with inside:
                if client is clients[0] and turn == 1:
                    held.set()
                    disturb()
            client.retry(mine.release)

    at_once([lambda client=client: work(client) for client in clients])  # type: ignore[misc]
    assert held.is_set() and (inside.most, inside.times) == (1, 3 * len(clients))
    first, second = clients[0].Lock("/lock"), clients[1].Lock("/lock", "waits")
    assert first.acquire() and not second.acquire(blocking=False)
    assert first.contenders() == [""]
    clients[0].retry(first.release)


def read_and_write_lock(clients: Clients, disturb: Disturb) -> None:
    """`ReadLock` and `WriteLock`: readers together, a writer alone."""
    readers, writers = Inside(), Inside()
    together = threading.Barrier(len(clients) - 1, timeout=WAIT)

    def read(client: KazooClient) -> None:
        mine = client.ReadLock("/rw", "reads")
        assert mine.acquire(timeout=WAIT)
        with readers:
            together.wait()  # nobody would come here, did they exclude each other
            assert writers.now == 0
        client.retry(mine.release)

    at_once([lambda client=client: read(client) for client in clients[1:]])  # type: ignore[misc]
    mine = clients[0].WriteLock("/rw", "writes")
    assert mine.acquire(timeout=WAIT)
    with ThreadPoolExecutor(len(clients)) as pool:
        waiting = [pool.submit(read, client) for client in clients[1:]]
        with writers:
            disturb()
            assert not any(future.done() for future in waiting)
        clients[0].retry(mine.release)
        for future in waiting:
            future.result(WAIT)
    assert readers.times == 2 * (len(clients) - 1)


def semaphore(clients: Clients, disturb: Disturb) -> None:
    """`Semaphore`: so many inside, no more."""
    inside = Inside()
    together = threading.Barrier(2, timeout=WAIT)

    def work(client: KazooClient) -> None:
        mine = client.Semaphore("/semaphore", max_leases=2)
        for turn in range(2):
            assert mine.acquire(timeout=WAIT)
            with inside:
                if inside.times <= 2 and turn == 0:
                    together.wait()  # nobody would come here, did they exclude each other
                if client is clients[0] and turn == 0:
                    disturb()
                time.sleep(0.02)
            client.retry(mine.release)

    at_once([lambda client=client: work(client) for client in clients])  # type: ignore[misc]
    assert inside.most == 2 and inside.times == 2 * len(clients)


def election(clients: Clients, disturb: Disturb) -> None:
    """`Election`: one leads at a time, and all come to lead."""
    inside = Inside()

    def lead(client: KazooClient) -> None:
        with inside:
            if client is clients[0]:
                disturb()

    at_once(
        [lambda client=client: client.Election("/election", "x").run(lead, client) for client in clients]  # type: ignore[misc]
    )
    assert (inside.most, inside.times) == (1, len(clients))


def party(clients: Clients, disturb: Disturb) -> None:
    """`Party` and `ShallowParty`: who is in, everybody sees."""
    for kind in ("Party", "ShallowParty"):
        parties = [getattr(client, kind)(f"/{kind}", f"n{number}") for number, client in enumerate(clients)]
        for client, mine in zip(clients, parties, strict=True):
            client.retry(mine.join)
        disturb()
        for client, mine in zip(clients, parties, strict=True):
            client.retry(client.sync, f"/{kind}")
            assert sorted(client.retry(lambda mine=mine: list(mine))) == ["n0", "n1", "n2"]  # type: ignore[misc]
        clients[0].retry(parties[0].leave)
        clients[1].retry(clients[1].sync, f"/{kind}")
        assert len(parties[1]) == 2


def queue(clients: Clients, disturb: Disturb) -> None:
    """`Queue`: everything once, by priority and then in order."""
    mine, other = clients[0].Queue("/queue"), clients[1].Queue("/queue")
    for number in range(6):
        clients[0].retry(mine.put, b"%d" % number, 100 if number else 50)
        if number == 2:
            disturb()
    clients[1].retry(clients[1].sync, "/queue")
    got = []
    while (value := clients[1].retry(other.get)) is not None:
        got.append(value)
    first = [value for at, value in enumerate(got) if value not in got[:at]]  # an unanswered put may be twice
    assert first == [b"0", b"1", b"2", b"3", b"4", b"5"]


def locking_queue(clients: Clients, disturb: Disturb) -> None:
    """`LockingQueue`: what is taken and not consumed is there for others again."""
    clients[0].retry(clients[0].LockingQueue("/locking").put_all, [b"a", b"b", b"c"])
    mine, other = clients[1].LockingQueue("/locking"), clients[2].LockingQueue("/locking")
    assert clients[1].retry(mine.get, 5) == b"a"
    disturb()
    assert clients[2].retry(other.get, 5) == b"b"
    assert clients[1].retry(mine.consume)
    assert clients[2].retry(other.release)
    got = []
    for _ in range(2):
        got.append(clients[1].retry(mine.get, 5))
        assert clients[1].retry(mine.consume)
    assert sorted(got) == [b"b", b"c"]


def barrier(clients: Clients, disturb: Disturb) -> None:
    """`Barrier`: all wait until it is removed."""
    mine = clients[0].Barrier("/barrier")
    clients[0].retry(mine.create)

    def wait(client: KazooClient) -> bool:
        theirs = client.Barrier("/barrier")
        deadline = time.monotonic() + WAIT
        while not client.retry(theirs.wait, 0.3):  # kazoo drops its watches when a connection breaks
            assert time.monotonic() < deadline
        return True

    with ThreadPoolExecutor(len(clients)) as pool:
        waiting = [pool.submit(wait, client) for client in clients[1:]]
        time.sleep(0.1)
        disturb()
        assert not any(future.done() for future in waiting)
        clients[0].retry(mine.remove)
        assert all(future.result(WAIT) for future in waiting)


def double_barrier(clients: Clients, disturb: Disturb) -> None:
    """`DoubleBarrier`: nobody begins before all are there, nobody leaves before all are done.

    Disturbed while all are inside: who waits to get in waits for ever once kazoo has dropped its watch,
    whatever the server.
    """
    entered, left = Inside(), Inside()
    count = len(clients)
    all_in = threading.Barrier(count, timeout=WAIT)

    def work(client: KazooClient) -> None:
        mine = client.DoubleBarrier("/double", count, str(client.client_id[0]))
        if client is clients[0]:
            time.sleep(0.1)
            assert entered.times == 0
        mine.enter()
        with entered:
            all_in.wait()
            if client is clients[0]:
                disturb()
                assert left.times == 0
            all_in.wait()
        mine.leave()
        with left:
            assert entered.times == count

    at_once([lambda client=client: work(client) for client in clients])  # type: ignore[misc]
    assert left.times == count


def counter(clients: Clients, disturb: Disturb) -> None:
    """`Counter`: no increment is lost (one whose answer was may be there twice: kazoo asks again)."""

    def work(client: KazooClient) -> None:
        mine = client.Counter("/counter")
        for turn in range(10):
            mine += 1
            if client is clients[0] and turn == 5:
                disturb()

    at_once([lambda client=client: work(client) for client in clients])  # type: ignore[misc]
    clients[0].retry(clients[0].sync, "/counter")
    assert 10 * len(clients) <= clients[0].Counter("/counter").value <= 11 * len(clients)


def watchers(clients: Clients, disturb: Disturb) -> None:
    """`DataWatch`, `ChildrenWatch`, `PatientChildrenWatch`: they see what is there in the end."""
    watching, changing = clients[0], clients[1]
    watching.retry(watching.ensure_path, "/watchers")
    data: list[Any] = []
    children: list[Any] = []
    watching.DataWatch("/watchers", lambda value, stat: data.append(value))
    watching.ChildrenWatch("/watchers", lambda names: children.append(sorted(names)))
    changing.retry(changing.set, "/watchers", b"1")
    until(lambda: data[-1] == b"1", "the data")
    disturb()
    changing.retry(changing.set, "/watchers", b"2")
    changing.retry(changing.ensure_path, "/watchers/a")
    until(lambda: data[-1] == b"2" and children[-1] == ["a"], "data and children afterwards")
    changing.retry(changing.set, "/watchers", b"3")
    until(lambda: data[-1] == b"3", "the watch is armed again")
    patient = PatientChildrenWatch(watching, "/watchers", time_boundary=0.1)
    assert patient.start().get(WAIT)[0] == ["a"]


def tree_cache(clients: Clients, disturb: Disturb) -> None:
    """`TreeCache`: a copy of a tree that follows it."""
    clients[1].retry(clients[1].ensure_path, "/tree/a")
    cache = TreeCache(clients[0], "/tree")
    seen: list[int] = []
    cache.listen(lambda event: seen.append(event.event_type))
    cache.start()
    try:
        until(lambda: TreeEvent.INITIALIZED in seen, "it is filled")
        disturb()
        clients[1].retry(clients[1].ensure_path, "/tree/a/b")
        clients[1].retry(clients[1].set, "/tree/a/b", b"x")

        def same() -> bool:
            found = cache.get_data("/tree/a/b")
            return found is not None and found.data == b"x"

        until(same, "it follows")
        assert cache.get_children("/tree/a") == frozenset({"b"})
        clients[1].retry(clients[1].delete, "/tree/a/b")
        until(lambda: cache.get_data("/tree/a/b") is None, "it forgets")
    finally:
        cache.close()


def set_partitioner(clients: Clients, disturb: Disturb) -> None:
    """`SetPartitioner`: each item is one client's; those of one that leaves go to the others."""
    items = tuple("abcdef")
    parts = {
        number: SetPartitioner(client, "/partition", set=items, identifier=f"p{number}", time_boundary=0.2)
        for number, client in enumerate(clients)
    }

    def divided(among: int) -> bool:
        for part in list(parts.values())[:among]:
            if part.release:
                part.release_set()
            elif part.allocating:
                part.wait_for_acquire(0.5)
        chosen = list(parts.values())[:among]
        return all(part.acquired for part in chosen) and sorted(
            item for part in chosen for item in part
        ) == list(items)

    until(lambda: divided(3), "divided by three")
    parts[2].finish()
    disturb()
    until(lambda: divided(2), "divided by two")
    for number in (0, 1):
        parts[number].finish()


def lease(clients: Clients, disturb: Disturb) -> None:
    """`NonBlockingLease` and `MultiNonBlockingLease`: who has it keeps it for its time."""
    hour = datetime.timedelta(hours=1)
    one, other = clients[0], clients[1]
    assert one.retry(one.NonBlockingLease, "/lease", hour, "me")
    disturb()
    assert not other.retry(other.NonBlockingLease, "/lease", hour, "you")
    assert one.retry(one.NonBlockingLease, "/lease", hour, "me")
    assert one.retry(one.MultiNonBlockingLease, 2, "/leases", hour, "a")
    assert other.retry(other.MultiNonBlockingLease, 2, "/leases", hour, "b")
    assert not clients[2].retry(clients[2].MultiNonBlockingLease, 2, "/leases", hour, "c")


RECIPES: dict[str, Callable[[Clients, Disturb], None]] = {
    recipe.__name__: recipe
    for recipe in (
        lock,
        read_and_write_lock,
        semaphore,
        election,
        party,
        queue,
        locking_queue,
        barrier,
        double_barrier,
        counter,
        watchers,
        tree_cache,
        set_partitioner,
        lease,
    )
}
