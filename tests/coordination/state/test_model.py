"""The database against a naive model of it, for random requests, pipelined at random."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination.api import CreateSession, WatchKind
from services.coordination.state.hierarchy import descend
from services.coordination.state.paths import ROOT
from services.coordination.state.znode import is_session
from tests.coordination.state import requests
from tests.coordination.state.model import Model
from tests.coordination.state.service import Service, digest_anew

KINDS = ["DATA", "CHILDREN", "PERSISTENT", "PERSISTENT_RECURSIVE"]


def opened() -> tuple[Service, Model]:
    service = Service()
    model = Model(service.identities)
    service.identities[4] = []
    for session in (1, 2, 3):
        model.do(CreateSession(30_000, b"secret"), session, 0, 0)
    for request in requests.SETTLE:
        service.do(request)
        model.do(request, 1, service.zxid, service.time)
    service.results.clear()
    return service, model


@settings(max_examples=200, deadline=None)
@given(requests.seeds, st.integers(0, 60))
def test_answers_events_and_state_are_the_models(seed: int, length: int) -> None:
    random = Random(seed)
    service, model = opened()
    expected = []

    def catch_up() -> None:
        service.deliver()
        assert [(applied.code, applied.result) for applied in service.results] == expected
        told = service.told()
        assert sorted(told) == sorted(model.events)
        assert [event[1:] for event in told] == [event[1:] for event in model.events]
        model.events.clear()
        same_state(service, model)

    for _ in range(length):
        kind = random.random()
        if kind < 0.15:
            service.deliver(random.randrange(4))
        elif kind < 0.25:
            catch_up()
            session, watch, path = (
                random.choice([1, 2]),
                random.choice(KINDS),
                random.choice(["/", *requests.PATHS]),
            )
            service.watches.add(session, path, WatchKind[watch])
            if (session, watch, path) not in model.watches:
                model.watches.append((session, watch, path))
        else:
            session, request = requests.asked(random)
            service.ask(request, session)
            expected.append(model.do(request, session, service.zxid, service.time))
    catch_up()
    assert len(service.preparer.outstanding) == 0


def same_state(service: Service, model: Model) -> None:
    tree = service.tree
    found = dict(descend(ROOT, tree.root))
    assert sorted(found) == sorted(model.nodes)
    for path, znode in found.items():
        node = model.nodes[path]
        if path != "/zookeeper/config":
            assert (znode.data, znode.stat()) == (node.data, model.stat(path)), path
        assert znode.acl.entries == node.acl
    assert {number: session.timeout for number, session in tree.sessions.items()} == model.sessions
    owned: dict[int, list[str]] = {}
    for path, znode in found.items():  # invariant 10
        if is_session(znode.owner):
            assert znode.owner in tree.sessions
            assert znode.children is None
            owned.setdefault(znode.owner, []).append(path)
    assert {session: sorted(paths) for session, paths in tree.ephemerals.items()} == {
        session: sorted(paths) for session, paths in owned.items()
    }
    assert len(tree) == len(found)
    assert tree.data_size == sum(len(path) + len(znode.data) for path, znode in found.items()) - 1
    assert tree.digest == digest_anew(tree)


@settings(max_examples=100, deadline=None)
@given(requests.seeds, st.integers(0, 40))
def test_servers_that_apply_the_same_have_the_same_digest(seed: int, length: int) -> None:
    """Invariant 15. And what a request becomes does not depend on how much before it is delivered."""
    eager, lazy = opened()[0], opened()[0]
    for session, request in requests.script(seed, length):
        eager.do(request, session)
        lazy.ask(request, session)
    assert lazy.log == eager.log
    lazy.deliver()
    assert lazy.tree.digest == eager.tree.digest
