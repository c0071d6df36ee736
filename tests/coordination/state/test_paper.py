"""What the paper says of the data model, the calls and the state, by section (Hunt et al., ATC 2010)."""

from __future__ import annotations

import pytest

from services.coordination.api import (
    Check,
    Children,
    CloseSession,
    Code,
    Create,
    Created,
    CreateMode,
    CreateSession,
    Data,
    Delete,
    Exists,
    GetChildren,
    GetData,
    Multi,
    SetData,
    Written,
)
from services.coordination.state import snapshot as snapshots
from services.coordination.state.snapshot import snapshot
from services.coordination.state.transactions import CreateTxn, DeleteTxn, ErrorTxn, SetDataTxn, decode
from tests.coordination.state.service import EPOCH, Service, contents, restored

EPHEMERAL, SEQUENTIAL = CreateMode.EPHEMERAL, CreateMode.PERSISTENT_SEQUENTIAL


@pytest.fixture
def service() -> Service:
    return Service()


# 2.1 Service overview


def test_2_1_znodes_form_a_tree_with_paths_of_a_file_system(service: Service) -> None:
    for path in ("/app1", "/app1/p_1", "/app1/p_2", "/app2"):
        assert service.code(Create(path)) is Code.OK
    assert service.read(GetChildren("/app1")).names == ("p_1", "p_2")
    assert service.code(Create("/nowhere/p_1")) is Code.NO_NODE


def test_2_1_every_znode_but_ephemerals_has_data_and_may_have_children(service: Service) -> None:
    service.do(Create("/regular", b"data"))
    service.do(Create("/ephemeral", b"data", mode=EPHEMERAL))
    assert service.read(GetData("/regular")).data == service.read(GetData("/ephemeral")).data == b"data"
    assert service.code(Create("/regular/child")) is Code.OK
    assert service.code(Create("/ephemeral/child")) is Code.NO_CHILDREN_FOR_EPHEMERALS


def test_2_1_ephemerals_are_deleted_explicitly_or_with_their_session(service: Service) -> None:
    service.do(Create("/one", mode=EPHEMERAL), 1)
    service.do(Create("/two", mode=EPHEMERAL), 1)
    service.do(Create("/regular"), 1)
    service.do(Create("/others", mode=EPHEMERAL), 2)
    assert service.code(Delete("/one")) is Code.OK
    service.do(CloseSession(), 1)
    assert service.read(GetChildren("/"), 2).names == ("others", "regular", "zookeeper")


def test_2_1_sequential_names_never_decrease_under_a_parent(service: Service) -> None:
    service.do(Create("/p"))
    names = [service.do(Create("/p/n-", mode=SEQUENTIAL)).result.path for _ in range(2)]
    service.do(Create("/p/other"))  # counts too
    service.do(Delete(names[1]))
    names.append(service.do(Create("/p/m-", mode=CreateMode.EPHEMERAL_SEQUENTIAL)).result.path)
    assert names == ["/p/n-0000000000", "/p/n-0000000001", "/p/m-0000000003"]


def test_2_1_a_sequential_counter_is_a_signed_32_bit_number(service: Service) -> None:
    service.do(Create("/p"))
    parent = service.tree.lookup("/p")
    assert parent is not None
    parent.created = (1 << 31) - 1
    names = [service.do(Create("/p/", mode=SEQUENTIAL)).result.path for _ in range(2)]
    assert names == ["/p/2147483647", "/p/-2147483648"]


def test_2_1_a_watch_is_triggered_once_and_says_that_not_what(service: Service) -> None:
    service.do(Create("/x", b"1"))
    service.read(GetData("/x", watch=True))
    service.do(SetData("/x", b"2"))
    service.do(SetData("/x", b"3"))
    assert service.told() == [(1, "DATA_CHANGED", "/x")]


def test_2_1_two_changes_before_the_client_watches_again_give_one_event(service: Service) -> None:
    service.do(Create("/x"))
    service.read(GetChildren("/x", watch=True))
    service.do(Create("/x/a"))
    service.do(Create("/x/b"))
    assert service.told() == [(1, "CHILDREN_CHANGED", "/x")]


def test_2_1_watches_go_with_the_session(service: Service) -> None:
    service.do(Create("/x"))
    service.read(GetData("/x", watch=True))
    service.watches.drop(1)
    service.do(SetData("/x", b""))
    assert service.told() == []
    assert len(service.watches) == 0


def test_2_1_a_session_lasts_until_it_is_closed(service: Service) -> None:
    assert service.code(Create("/x"), 77) is Code.SESSION_EXPIRED
    service.do(CreateSession(30_000, b"p"), 77)
    assert service.tree.sessions[77].timeout == 30_000
    assert service.code(Create("/x"), 77) is Code.OK
    assert service.code(CloseSession(), 77) is Code.OK
    assert 77 not in service.tree.sessions
    assert service.code(SetData("/x", b""), 77) is Code.SESSION_EXPIRED


# 2.2 Client API


def test_2_2_create_returns_the_name_of_the_new_znode(service: Service) -> None:
    created = service.do(Create("/x", b"d")).result
    assert isinstance(created, Created)
    assert created.path == "/x"
    assert created.stat.czxid == created.stat.mzxid == created.stat.pzxid == service.zxid
    assert created.stat.ctime == created.stat.mtime == service.time
    assert created.stat.data_length == 1
    assert service.code(Create("/x")) is Code.NODE_EXISTS


def test_2_2_delete_only_at_the_expected_version(service: Service) -> None:
    service.do(Create("/x"))
    service.do(SetData("/x", b""))
    assert service.code(Delete("/x", 0)) is Code.BAD_VERSION
    assert service.code(Delete("/x", 1)) is Code.OK
    assert service.code(Delete("/x")) is Code.NO_NODE


def test_2_2_exists_may_watch_what_is_not_there(service: Service) -> None:
    assert service.read(Exists("/x", watch=True)) is Code.NO_NODE
    service.do(Create("/x"))
    assert service.told() == [(1, "CREATED", "/x")]
    assert isinstance(service.read(Exists("/x")), Written)


def test_2_2_get_data_leaves_no_watch_where_there_is_no_znode(service: Service) -> None:
    assert service.read(GetData("/x", watch=True)) is Code.NO_NODE
    service.do(Create("/x"))
    assert service.told() == []


def test_2_2_get_data_returns_data_and_metadata(service: Service) -> None:
    service.do(Create("/x", b"1"))
    service.do(Create("/x/y"))
    service.do(Delete("/x/y"))
    service.do(SetData("/x", b"longer"))
    data, stat = (found := service.read(GetData("/x"))).data, found.stat
    assert isinstance(found, Data)
    assert (data, stat.version, stat.data_length) == (b"longer", 1, 6)
    assert (stat.cversion, stat.num_children, stat.aversion) == (2, 0, 0)
    assert stat.czxid < stat.pzxid < stat.mzxid == service.zxid


def test_2_2_set_data_is_conditional_and_minus_one_is_not(service: Service) -> None:
    service.do(Create("/x"))
    assert service.do(SetData("/x", b"a", 0)).result.stat.version == 1
    before = service.tree.digest
    assert service.code(SetData("/x", b"b", 0)) is Code.BAD_VERSION
    assert service.tree.digest == before  # invariant 11: it changed nothing
    assert service.do(SetData("/x", b"c", -1)).result.stat.version == 2


def test_2_2_get_children_returns_names(service: Service) -> None:
    service.do(Create("/x"))
    for name in ("b", "a"):
        service.do(Create(f"/x/{name}"))
    found = service.read(GetChildren("/x"))
    assert isinstance(found, Children)
    assert found.names == ("a", "b")


# 2.3 Guarantees


def test_2_3_requests_of_a_client_take_effect_in_order_without_waiting(service: Service) -> None:
    service.ask(Create("/x"))
    service.ask(SetData("/x", b"1", 0))
    service.ask(SetData("/x", b"2", 1))
    service.ask(Create("/x/y"))
    service.ask(Delete("/x"))
    service.ask(Delete("/x/y"))
    service.ask(Delete("/x", 2))
    codes = [applied.code for applied in service.deliver()]
    assert codes == [Code.OK] * 4 + [Code.NOT_EMPTY] + [Code.OK] * 2


def test_2_3_whoever_sees_ready_sees_all_of_the_configuration(service: Service) -> None:
    """The ready pattern: delete ready, change many znodes, create ready; and the watch comes first."""
    for path in ("/ready", "/c1", "/c2"):
        service.do(Create(path, b"old"))
    assert service.read(Exists("/ready", watch=True), 2)
    for request in (Delete("/ready"), SetData("/c1", b"new"), SetData("/c2", b"new"), Create("/ready")):
        service.ask(request)
    while service.delivered < len(service.log):
        service.deliver(1)
        if service.read(Exists("/ready"), 2) is not Code.NO_NODE:
            assert service.read(GetData("/c1"), 2).data == service.read(GetData("/c2"), 2).data == b"new"
        else:
            assert (2, "DELETED", "/ready") in [(s, e.type.name, e.path) for s, e in service.events]


# 2.4 Examples of primitives: what they need of the state


def test_2_4_lock_without_herd_effect_wakes_one(service: Service) -> None:
    service.do(Create("/l"))
    mine = {}
    for session in (1, 2, 3):
        mine[session] = service.do(
            Create("/l/lock-", mode=CreateMode.EPHEMERAL_SEQUENTIAL), session
        ).result.path
    for session in (2, 3):
        service.read(Exists(mine[session - 1], watch=True), session)
    service.do(Delete(mine[1]), 1)
    assert service.told() == [(2, "DELETED", mine[1])]
    service.do(CloseSession(), 2)  # a holder that dies releases too
    assert service.told() == [(3, "DELETED", mine[2])]


def test_2_4_group_membership_is_the_children_that_live(service: Service) -> None:
    service.do(Create("/g"))
    for session in (1, 2):
        service.do(Create(f"/g/member{session}", mode=EPHEMERAL), session)
    service.read(GetChildren("/g", watch=True), 2)
    service.do(CloseSession(), 1)
    assert service.told() == [(2, "CHILDREN_CHANGED", "/g")]
    assert service.read(GetChildren("/g"), 2).names == ("member2",)


# 4.1 Request processor


def test_4_1_a_transaction_says_the_new_data_the_new_version_and_the_time(service: Service) -> None:
    service.do(Create("/x"))
    transaction = service.ask(SetData("/x", b"new", 0))
    assert transaction.change == SetDataTxn("/x", b"new", 1)
    assert transaction.time == service.time


def test_4_1_a_failed_precondition_becomes_an_error_transaction(service: Service) -> None:
    assert service.ask(SetData("/x", b"")).change == ErrorTxn(Code.NO_NODE)
    assert service.ask(Create("relative")).change == ErrorTxn(Code.BAD_ARGUMENTS)


def test_4_1_transactions_are_computed_against_the_future_state(service: Service) -> None:
    """Nothing of this is delivered while it is prepared."""
    assert isinstance(service.ask(Create("/x")).change, CreateTxn)
    assert service.ask(Create("/x")).change == ErrorTxn(Code.NODE_EXISTS)
    assert service.ask(SetData("/x", b"", 0)).change == SetDataTxn("/x", b"", 1)
    assert service.ask(SetData("/x", b"", 0)).change == ErrorTxn(Code.BAD_VERSION)
    assert service.ask(SetData("/x", b"", 1)).change == SetDataTxn("/x", b"", 2)
    first, second = (service.ask(Create("/x/", mode=SEQUENTIAL)).change for _ in range(2))
    assert (first.path, second.path) == ("/x/0000000000", "/x/0000000001")
    assert service.ask(Delete("/x")).change == ErrorTxn(Code.NOT_EMPTY)
    assert service.ask(Create("/e", mode=EPHEMERAL)).change.owner == 1
    assert service.ask(Create("/e/c")).change == ErrorTxn(Code.NO_CHILDREN_FOR_EPHEMERALS)
    assert service.ask(CloseSession()).change.paths == ("/e",)
    assert service.ask(Create("/late")).change == ErrorTxn(Code.SESSION_EXPIRED)
    assert service.ask(Create("/e", mode=EPHEMERAL), 2).change.owner == 2
    assert {applied.code for applied in service.deliver()} == {
        Code.OK, Code.NODE_EXISTS, Code.BAD_VERSION, Code.NOT_EMPTY, Code.NO_CHILDREN_FOR_EPHEMERALS,
        Code.SESSION_EXPIRED,
    }  # fmt: skip


def test_4_1_transactions_are_idempotent(service: Service) -> None:
    service.do(Create("/x"))
    for request in (
        SetData("/x", b"1"),
        Create("/x/", mode=SEQUENTIAL),
        Delete("/x/0000000000"),
        CloseSession(),
    ):
        service.do(request)
        before = contents(service.tree)
        zxid, data = service.log[-1]
        service.tree.apply(zxid, decode(data))
        assert contents(service.tree) == before


def test_multi_is_all_or_nothing_with_a_result_for_each(service: Service) -> None:
    service.do(Create("/x"))
    done = service.do(Multi((Create("/a"), SetData("/a", b"1", 0), Check("/x", 0), Delete("/x"))))
    assert done.code is Code.OK
    assert [type(result).__name__ for result in done.result.results] == [
        "Created",
        "Written",
        "Nothing",
        "Nothing",
    ]
    before = service.tree.digest
    failed = service.do(Multi((Delete("/a"), Create("/b"), Check("/b", 5), Create("/c"), Create("/d"))))
    assert failed.code is Code.BAD_VERSION
    assert [part.code for part in failed.result.results] == [
        Code.OK, Code.OK, Code.BAD_VERSION, Code.RUNTIME_INCONSISTENCY, Code.RUNTIME_INCONSISTENCY,
    ]  # fmt: skip
    assert service.tree.digest == before


# 4.3 Replicated database


def test_4_3_the_example_of_the_paper(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """/foo f1 at version 1, /goo g1 at version 1; the scan reads /foo as f3 and /goo as g1."""
    monkeypatch.setattr(snapshots, "PIECE", 0)
    service.do(Create("/goo", b""))  # scanned first
    service.do(Create("/foo", b""))
    service.do(SetData("/foo", b"f1"))
    service.do(SetData("/goo", b"g1"))
    began = len(service.log)
    pieces = snapshot(service.tree)
    taken = []
    while not any(b"/goo" in piece for piece in taken):
        taken.append(next(pieces))
    for request in (SetData("/foo", b"f2"), SetData("/goo", b"g2"), SetData("/foo", b"f3")):
        service.do(request)
    taken += list(pieces)

    tree = restored(taken)
    states = {path: (tree.lookup(path).data, tree.lookup(path).version) for path in ("/foo", "/goo")}
    assert states == {"/foo": (b"f3", 3), "/goo": (b"g1", 1)}  # a state that never was
    assert tree.fuzzy
    for zxid, data in service.log[began:]:
        tree.apply(zxid, decode(data))
    states = {path: (tree.lookup(path).data, tree.lookup(path).version) for path in ("/foo", "/goo")}
    assert states == {"/foo": (b"f3", 3), "/goo": (b"g2", 2)}
    assert contents(tree) == contents(service.tree)


def test_4_3_a_snapshot_does_not_stop_the_service(service: Service) -> None:
    for number in range(100):
        service.do(Create(f"/n{number}", bytes(5000)))
    pieces = snapshot(service.tree)
    taken = []
    for number, piece in enumerate(pieces):
        taken.append(piece)
        service.do(Delete(f"/n{number * 3}"))
        service.do(Create(f"/m{number}"))
    assert len(taken) > 5
    tree = restored(taken)
    for zxid, data in service.log[103:]:
        tree.apply(zxid, decode(data))
    assert contents(tree) == contents(service.tree)
    assert tree.zxid == service.zxid > EPOCH


def test_4_3_deletions_before_the_end_are_deletions_after_the_replay(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    monkeypatch.setattr(snapshots, "PIECE", 0)
    for path in ("/a", "/a/b", "/z"):
        service.do(Create(path))
    began = len(service.log)
    pieces = snapshot(service.tree)
    taken = [next(pieces)]
    while b"/a" not in taken[-1] or b"/a/b" in taken[-1]:
        taken.append(next(pieces))
    for request in (SetData("/a/b", b"x"), Delete("/a/b"), Create("/a/c"), Delete("/a/c"), Delete("/a")):
        service.do(request)
    tree = restored([*taken, *pieces])
    assert tree.lookup("/a") is not None
    assert tree.lookup("/a/b") is None
    for zxid, data in service.log[began:]:
        tree.apply(zxid, decode(data))
    assert tree.lookup("/a") is None
    assert contents(tree) == contents(service.tree)


def test_deletes_are_transactions_of_their_path_only(service: Service) -> None:
    service.do(Create("/x"))
    assert service.ask(Delete("/x", 0)).change == DeleteTxn("/x")
