"""Random clients on servers that are held up, moved between and led by others: the laws of 2.3 and 4.4."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination.api import Code, Create, Delete, Exists, GetData, Reply, SetData, Sync
from services.coordination.configuration import Configuration, Member
from services.coordination.front import SessionOver, Unavailable
from services.coordination.state.transactions import decode
from services.coordination.state.tree import Tree
from tests.coordination.server.ensemble import run

SERVERS, CLIENTS, PATHS = 3, 3, ("/a", "/b")

REQUESTS = st.one_of(
    st.builds(Create, st.sampled_from(PATHS), st.binary(max_size=2)),
    st.builds(SetData, st.sampled_from(PATHS), st.binary(max_size=2)),
    st.builds(Delete, st.sampled_from(PATHS)),
    st.builds(GetData, st.sampled_from(PATHS), st.booleans()),
    st.builds(Exists, st.sampled_from(PATHS), st.booleans()),
    st.builds(Sync),
)
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, CLIENTS - 1), REQUESTS),
    st.tuples(st.just("ask"), st.integers(0, CLIENTS - 1), REQUESTS),
    st.tuples(st.just("ask"), st.integers(0, CLIENTS - 1), REQUESTS),
    st.tuples(st.just("hold"), st.integers(1, SERVERS)),
    st.tuples(st.just("let go"), st.integers(1, SERVERS)),
    st.tuples(st.just("move"), st.integers(0, CLIENTS - 1), st.integers(1, SERVERS)),
    st.tuples(st.just("wait")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=60))
def test_fifo_prefix_reads_and_watches_first(steps):
    async def test(ensemble):
        clients = [await ensemble.client(n % SERVERS + 1) for n in range(CLIENTS)]
        asked = [{} for _ in clients]
        for step in steps:
            match step:
                case ("ask", n, request):
                    asked[n][clients[n].submit(request)] = request
                case ("hold", server):
                    ensemble.ends[server].held = True
                case ("let go", server):
                    ensemble.ends[server].let_go()
                case ("move", n, server):
                    await move(ensemble, clients, n, server)
                case _:
                    await asyncio.sleep(0.01)
        for end in ensemble.ends.values():
            end.let_go()
        await asyncio.sleep(1)
        states = replayed(ensemble)
        for n, client in enumerate(clients):
            judge(client, asked[n], states)
            if not client.ended:  # all that was asked on this connection is answered
                asked_here = [xid for xid in asked[n] if xid > client.since]
                assert [reply.xid for reply in client.replies if reply.xid > client.since] == asked_here
        digests = {server.tree.digest for server in ensemble.servers.values()}
        assert len(digests) == 1

    run(test, count=SERVERS, outstanding=8)


async def move(ensemble, clients, n, server):
    """Goes on at another server, if that takes the client; what it was told stays in its ears."""
    old = clients[n]
    last = old.replies[-1].zxid if old.replies else 0
    connecting = asyncio.ensure_future(
        ensemble.client(server, old.connection.session, old.connection.password, last)
    )
    await asyncio.sleep(0.01)
    if not connecting.done():
        connecting.cancel()
        return
    try:
        new = connecting.result()
    except (Unavailable, SessionOver):
        return
    old.connection.close()
    old.ended.append("moved")
    new.said[:0] = [*old.said, "moved"]
    new.xid = new.since = old.xid
    clients[n] = new


def replayed(ensemble):
    """Returns what each path was after each zxid."""
    tree = Tree(Configuration.of(Member(n, f"zk{n}") for n in range(1, SERVERS + 1)))
    states = {0: {}}
    for zxid, transaction in ensemble.log:
        tree.apply(zxid, decode(transaction))
        found = {path: tree.lookup(path) for path in PATHS}
        states[zxid] = {path: (one.data, one.mzxid, one.czxid) for path, one in found.items() if one}
    return states


def judge(client, asked, states):
    """What a client was told must be so, and in order."""
    last = last_xid = 0
    armed = {}
    for said in client.said:
        if said == "moved":
            armed.clear()  # watches belong to a connection; this client does not register them again
            continue
        assert said.zxid >= last, "the zxids of a session go back"
        last = said.zxid
        if not isinstance(said, Reply):
            assert armed.pop(said.path, None) is not None, "an event that nothing was watching for"
            continue
        assert said.xid > last_xid, "replies are out of order"
        last_xid = said.xid
        request = asked[said.xid]
        for path, since in armed.items():
            before, now = states[since].get(path), states[said.zxid].get(path)
            assert before == now, "a reply shows a change before the watch has fired"
        now = states[said.zxid].get(getattr(request, "path", ""))
        match request:
            case GetData() if said.code is Code.OK:
                assert (said.result.data, said.result.stat.mzxid) == now[:2]
            case Exists() if said.code is Code.OK:
                assert said.result.stat.mzxid == now[1]
            case GetData() | Exists():
                assert said.code is Code.NO_NODE and now is None
            case SetData() if said.code is Code.OK:
                assert now[:2] == (request.data, said.zxid)
            case Create() if said.code is Code.OK:
                assert now == (request.data, said.zxid, said.zxid)
            case Delete() if said.code is Code.OK:
                assert now is None
            case Create():
                assert said.code in (Code.NODE_EXISTS, Code.SESSION_MOVED)
            case Sync():
                assert said.code is Code.OK
        if getattr(request, "watch", False) and (said.code is Code.OK or isinstance(request, Exists)):
            armed.setdefault(request.path, said.zxid)
