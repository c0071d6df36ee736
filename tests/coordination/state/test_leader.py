"""What else the leader decides: sessions, containers, times to live, the ensemble; transactions as bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination.api import (
    Acl,
    Check,
    CloseSession,
    Code,
    Create,
    CreateMode,
    CreateSession,
    Delete,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    Identity,
    Multi,
    MultiRead,
    Reconfigure,
    SetAcl,
    SetData,
    WhoAmI,
)
from services.coordination.configuration import Configuration
from services.coordination.state.expiry import due
from services.coordination.state.prepare import Limits
from services.coordination.state.transactions import Transaction, decode, encode
from services.coordination.state.znode import CONTAINER, is_session, signed32, ttl_of, ttl_owner
from tests.coordination.state.service import ENSEMBLE, Service, copy

CONTAINERS, TTL = CreateMode.CONTAINER, CreateMode.PERSISTENT_TTL


@pytest.fixture
def service() -> Service:
    return Service()


# Sessions


def test_a_session_that_has_moved_is_refused_at_its_old_server(service: Service) -> None:
    assert service.code(Create("/a"), 1, server=1) is Code.OK
    service.preparer.own(1, 2)
    assert service.code(Create("/b"), 1, server=1) is Code.SESSION_MOVED
    assert service.code(Create("/b"), 1, server=2) is Code.OK


def test_a_new_leader_takes_a_session_to_be_where_it_hears_from_it_first() -> None:
    service = Service()
    service.preparer._owners.clear()
    assert service.code(Create("/a"), 1, server=3) is Code.OK
    assert service.code(Create("/b"), 1, server=1) is Code.SESSION_MOVED


def test_a_session_ends_once(service: Service) -> None:
    service.ask(CloseSession(), 1)
    assert service.preparer.closing(1)
    service.ask(CloseSession(), 1)
    assert [applied.code for applied in service.deliver()] == [Code.OK, Code.SESSION_EXPIRED]
    assert service.preparer.closing(1)
    assert not service.preparer.closing(2)


@pytest.mark.parametrize("session", [0, CONTAINER, -1, 1])
def test_a_session_needs_a_number_of_its_own(service: Service, session: int) -> None:
    assert service.code(CreateSession(1000, b""), session) is Code.BAD_ARGUMENTS


def test_a_session_may_write_before_its_beginning_is_delivered(service: Service) -> None:
    service.ask(CreateSession(1000, b""), 9)
    service.ask(Create("/e", mode=CreateMode.EPHEMERAL), 9)
    service.ask(CloseSession(), 9)
    assert [applied.code for applied in service.deliver()] == [Code.OK] * 3
    assert service.tree.lookup("/e") is None
    assert 9 not in service.tree.sessions


def test_ephemerals_of_a_session_are_listed_by_prefix(service: Service) -> None:
    for path in ("/a", "/ab", "/b"):
        service.do(Create(path, mode=CreateMode.EPHEMERAL))
    service.do(Create("/a2", mode=CreateMode.EPHEMERAL), 2)
    assert service.read(GetEphemerals("/a")).paths == ("/a", "/ab")
    assert service.read(GetEphemerals()).paths == ("/a", "/ab", "/b")


# Containers and times to live


def test_a_container_is_due_once_it_is_empty_again(service: Service) -> None:
    service.do(Create("/c", mode=CONTAINERS))
    assert list(due(service.tree, service.time + 10**9)) == []
    assert list(due(service.tree, service.time + 10**9, never_used=1000)) == ["/c"]
    service.do(Create("/c/x"))
    assert list(due(service.tree, service.time)) == []
    service.do(Delete("/c/x"))
    assert list(due(service.tree, service.time)) == ["/c"]
    assert service.read(GetData("/c")).stat.ephemeral_owner == 0  # clients ask it whether it is ephemeral


def test_a_znode_is_due_when_it_was_not_modified_for_its_time(service: Service) -> None:
    service.do(Create("/t", mode=TTL, ttl=1000))
    created = service.time
    assert list(due(service.tree, created + 1000)) == []
    assert list(due(service.tree, created + 1001)) == ["/t"]
    service.do(SetData("/t", b""))
    assert list(due(service.tree, created + 1001)) == []
    service.do(Create("/t/child"))
    assert list(due(service.tree, created + 10**9)) == []


def expire(service: Service, path: str) -> Transaction | None:
    transaction = service.preparer.remove_expired(path, time=service.time + 10**6, zxid=service.zxid + 1)
    if transaction is not None:
        service.zxid += 1
        service.log.append((service.zxid, encode(transaction)))
    return transaction


def test_the_leader_removes_what_is_due_unless_something_is_on_its_way(service: Service) -> None:
    service.do(Create("/t", mode=TTL, ttl=1))
    service.ask(Create("/t/child"))
    assert expire(service, "/t") is None
    service.deliver()
    assert expire(service, "/t") is None
    service.do(Delete("/t/child"))
    assert expire(service, "/t") is not None
    service.ask(SetData("/t", b""))
    assert expire(service, "/t") is None
    assert [applied.code for applied in service.deliver()] == [Code.OK, Code.NO_NODE]
    assert expire(service, "/") is None
    assert service.tree.expiring == {}


def test_a_time_to_live_has_limits(service: Service) -> None:
    for ttl in (0, -1, 1 << 40):
        assert service.code(Create("/t", mode=TTL, ttl=ttl)) is Code.BAD_ARGUMENTS
    assert service.code(Create("/t", ttl=5)) is Code.BAD_ARGUMENTS
    assert service.code(Create("/t", mode=TTL, ttl=(1 << 40) - 1)) is Code.OK
    assert Service(Limits(time_to_live=False)).code(Create("/t", mode=TTL, ttl=5)) is Code.UNIMPLEMENTED


@given(st.integers(1, (1 << 40) - 1))
def test_owners_say_what_they_are(ttl: int) -> None:
    assert ttl_of(ttl_owner(ttl)) == ttl
    assert ttl_owner(ttl) & ((1 << 64) - 1) == 0xFF << 56 | ttl  # as Apache has it
    for owner in (ttl_owner(ttl), CONTAINER, 0):
        assert not is_session(owner)
    for owner in (1, -(2 << 56), 0x7FFF << 48, CONTAINER + 1):
        assert is_session(owner)
        assert ttl_of(owner) is None
    assert ttl_of(CONTAINER) is ttl_of(0) is None


# The ensemble

WIDER = "server.4=zk4:2888:3888:observer;2181"


def config(service: Service) -> Configuration:
    return Configuration.parse(service.read(GetData("/zookeeper/config")).data.decode())


def test_the_ensemble_is_in_the_tree_from_the_beginning(service: Service) -> None:
    assert config(service) == ENSEMBLE == service.tree.configuration


def test_members_join_and_leave(service: Service) -> None:
    transaction = service.ask(Reconfigure(joining=(WIDER,), leaving=(1,), version=0), 3, synced={2, 3})
    done = service.deliver()[0]
    assert [member.id for member in config(service).members] == [2, 3, 4]
    assert config(service) == transaction.configuration == service.tree.configuration
    assert service.tree.configuration.version == service.zxid
    assert done.result.data == str(service.tree.configuration).encode()
    assert done.result.stat.version == -1


def test_members_may_be_given_whole(service: Service) -> None:
    service.do(Reconfigure(members=("server.7=zk7:2888:3888:participant;2181",)), 3, synced={7})
    assert [member.id for member in service.tree.configuration.members] == [7]


@pytest.mark.parametrize(
    ("request_", "session", "synced", "code"),
    [
        (Reconfigure(joining=(WIDER,)), 1, {1, 2, 3}, Code.NO_AUTH),
        (Reconfigure(joining=(WIDER,), version=5), 3, {1, 2, 3}, Code.BAD_VERSION),
        (Reconfigure(joining=("nonsense",)), 3, {1, 2, 3}, Code.BAD_ARGUMENTS),
        (Reconfigure(joining=("server.4=zk1:2888:3888;2181",)), 3, {1, 2, 3}, Code.BAD_ARGUMENTS),
        (Reconfigure(leaving=(1, 2, 3)), 3, {1, 2, 3}, Code.BAD_ARGUMENTS),
        (Reconfigure(members=(WIDER,), leaving=(1,)), 3, {1, 2, 3}, Code.BAD_ARGUMENTS),
        (Reconfigure(leaving=(1,)), 3, {1, 2}, Code.NEW_CONFIG_NO_QUORUM),
        (Reconfigure(joining=(WIDER,)), 3, {1, 2}, Code.OK),
    ],
)
def test_reconfigurations_that_cannot_be(
    service: Service, request_: Reconfigure, session: int, synced: set[int], code: Code
) -> None:
    assert service.code(request_, session, synced=synced) is code


def test_one_reconfiguration_at_a_time(service: Service) -> None:
    service.ask(Reconfigure(leaving=(3,)), 3)
    service.ask(Reconfigure(leaving=(2,)), 3)
    assert [applied.code for applied in service.deliver()] == [Code.OK, Code.RECONFIG_IN_PROGRESS]
    assert service.code(Reconfigure(leaving=(2,)), 3) is Code.OK
    assert Service(Limits(reconfigure=False)).code(Reconfigure(leaving=(2,)), 3) is Code.RECONFIG_DISABLED


def test_the_right_to_reconfigure_can_be_given_away(service: Service) -> None:
    service.do(SetAcl("/zookeeper/config", (Acl(3, "digest", "two:x"),)), 3)
    assert service.code(Reconfigure(leaving=(3,)), 2) is Code.OK
    assert service.code(SetData("/zookeeper/config", b"nonsense"), 3) is Code.NO_AUTH


# Limits, reads, transactions


def test_data_has_a_limit() -> None:
    service = Service(Limits(data=10))
    assert service.code(Create("/x", bytes(11))) is Code.BAD_ARGUMENTS
    assert service.code(Create("/x", bytes(10))) is Code.OK
    assert service.code(SetData("/x", bytes(11))) is Code.BAD_ARGUMENTS


def test_versions_never_become_the_one_that_matches_all(service: Service) -> None:
    service.do(Create("/x"))
    znode = service.tree.lookup("/x")
    assert znode is not None
    znode.version = 2**31 - 1
    assert service.do(SetData("/x", b"")).result.stat.version == -(2**31)
    znode.version = -2
    assert service.do(SetData("/x", b"")).result.stat.version == 0
    assert [signed32(number) for number in (5, 2**31, 2**32 + 1)] == [5, -(2**31), 1]


def test_several_reads_have_each_their_own_result(service: Service) -> None:
    service.do(Create("/x", b"1"))
    results = service.read(MultiRead((GetData("/x"), GetData("/y"), GetChildren("/x")))).results
    assert [type(result).__name__ for result in results] == ["Data", "Failed", "Children"]


def test_descendants_are_counted_and_identities_told(service: Service) -> None:
    for path in ("/a", "/a/b", "/a/b/c", "/ab"):
        service.do(Create(path))
    assert service.read(GetAllChildrenNumber("/a")).count == 2
    assert service.read(GetAllChildrenNumber("/")).count == 7
    assert service.read(WhoAmI(), 1).identities == (Identity("ip", "10.0.0.1"),)


def test_transactions_survive_the_log(service: Service) -> None:
    service.do(Create("/x", b"\x00\xff", acl=(Acl(1, "world", "anyone"),), mode=TTL, ttl=5))
    service.do(Reconfigure(leaving=(3,)), 3)
    for _, data in service.log:
        assert encode(decode(data)) == data
    assert len(encode(service.ask(SetData("/x", bytes(100))))) < 125


def test_another_format_of_transactions_is_named(service: Service) -> None:
    data = service.log[0][1]
    with pytest.raises(ValueError, match="format 2, this is format 1"):
        decode(data[:1] + b"\x02" + data[2:])


_texts = st.text(max_size=20) | st.text("/\0.\ud800a", max_size=20)
_numbers = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 2)
_acls = st.lists(
    st.builds(Acl, _numbers, st.sampled_from(["world", "digest", "ip", "auth"]) | _texts, _texts), max_size=3
).map(tuple)
_hostile = st.one_of(
    st.builds(Create, _texts, st.binary(max_size=5), _acls, st.sampled_from(CreateMode), _numbers),
    st.builds(Create, st.just("/a"), st.binary(max_size=5), _acls),
    st.builds(Delete, _texts, _numbers),
    st.builds(SetData, _texts, st.binary(max_size=5), _numbers),
    st.builds(SetAcl, st.just("/") | _texts, _acls, _numbers),
    st.builds(Check, _texts, _numbers),
    st.builds(
        Reconfigure, st.lists(_texts, max_size=2).map(tuple), st.lists(_numbers, max_size=2).map(tuple)
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_hostile | st.builds(Multi, st.lists(_hostile, max_size=3).map(tuple)), max_size=5))
def test_no_request_brings_the_leader_down(asked: list[Any]) -> None:
    service = Service()
    for request in asked:
        parts = request.operations if isinstance(request, Multi) else ()
        if any(isinstance(part, (Reconfigure, SetAcl)) for part in parts):
            continue  # no door lets it through: a `Multi` has no such parts
        service.do(request, 3)
    assert copy(service.tree).digest == service.tree.digest


@given(st.binary(max_size=40))
def test_no_bytes_make_decoding_fail_otherwise(data: bytes) -> None:
    try:
        decode(data)
    except ValueError as error:
        assert "transaction" in str(error)


def test_the_digest_is_the_same_on_every_python() -> None:
    service = Service()
    service.do(Create("/x", b"data", mode=CreateMode.EPHEMERAL))
    service.do(SetData("/x", b"other"))
    assert service.tree.digest == 1931999222565178597
