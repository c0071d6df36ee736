"""Quotas, in Apache's layout."""

from __future__ import annotations

import pytest

from services.coordination.api import CloseSession, Code, Create, CreateMode, Delete, GetData, Multi, SetData
from services.coordination.state.prepare import Limits
from services.coordination.state.quota import Limit, parse
from tests.coordination.state.service import Service, contents, copy


def limited(text: bytes, limits: Limits = Limits()) -> Service:  # noqa: B008  # immutable
    service = Service(limits)
    for path in ("/a", "/a/b", "/zookeeper/quota/a"):
        service.do(Create(path, b"123" if path == "/a/b" else b""))
    service.do(Create("/zookeeper/quota/a/zookeeper_limits", text))
    service.do(Create("/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0"))
    return service


def statistics(service: Service) -> bytes:
    data: bytes = service.read(GetData("/zookeeper/quota/a/zookeeper_stats")).data
    return data


def test_statistics_count_the_subtree_with_its_root() -> None:
    service = limited(b"count=-1,bytes=-1")
    assert statistics(service) == b"count=2,bytes=3"
    service.do(Create("/a/c", b"12345", mode=CreateMode.EPHEMERAL))
    service.do(Create("/ab", b"beside it"))
    service.do(SetData("/a/b", b""))
    assert statistics(service) == b"count=3,bytes=5"
    assert service.read(GetData("/zookeeper/quota/a/zookeeper_stats")).stat.data_length == 15
    service.do(Delete("/a/b"))
    service.do(CloseSession())
    assert statistics(service) == b"count=1,bytes=0"


def test_what_a_client_writes_there_is_not_what_is_there() -> None:
    service = limited(b"count=-1,bytes=-1")
    service.do(SetData("/zookeeper/quota/a/zookeeper_stats", b"count=99,bytes=99"))
    assert statistics(service) == b"count=2,bytes=3"


def test_hard_limits_refuse() -> None:
    service = limited(b"count=-1,bytes=-1=;byteHardLimit=5;countHardLimit=3")
    assert service.code(SetData("/a/b", b"123456")) is Code.QUOTA_EXCEEDED
    assert service.code(SetData("/a/b", b"12345")) is Code.OK
    assert service.code(Create("/a/c", b"x")) is Code.QUOTA_EXCEEDED
    assert service.code(Create("/a/c")) is Code.OK
    assert service.code(Create("/a/d")) is Code.QUOTA_EXCEEDED
    assert service.code(Create("/b", b"elsewhere")) is Code.OK
    assert service.code(SetData("/a/b", b"")) is Code.OK
    assert service.code(Delete("/a/c")) is Code.OK
    assert service.code(Create("/a/d")) is Code.OK
    assert service.warnings[0] == "quota exceeded: /a would have bytes 6, its hard limit is 5"


def test_hard_limits_see_what_is_outstanding() -> None:
    service = limited(b"countHardLimit=4")
    for name in "cde":
        service.ask(Create(f"/a/{name}"))
    service.ask(Delete("/a/c"))
    service.ask(Create("/a/e"))
    assert [applied.code for applied in service.deliver()] == [
        Code.OK, Code.OK, Code.QUOTA_EXCEEDED, Code.OK, Code.OK,
    ]  # fmt: skip


def test_a_multi_that_exceeds_leaves_no_trace() -> None:
    service = limited(b"countHardLimit=3")
    service.ask(Multi((Create("/a/c"), Create("/a/d"))))
    service.ask(Create("/a/c"))
    assert [applied.code for applied in service.deliver()] == [Code.QUOTA_EXCEEDED, Code.OK]


def test_soft_limits_only_warn() -> None:
    service = limited(b"count=2,bytes=3")
    assert service.code(Create("/a/c", b"4")) is Code.OK
    assert service.warnings == [
        "quota exceeded: /a would have count 3, its soft limit is 2",
        "quota exceeded: /a would have bytes 4, its soft limit is 3",
    ]


def test_quotas_may_be_left_alone() -> None:
    service = limited(b"countHardLimit=1", Limits(enforce_quota=False))
    assert service.code(Create("/a/c")) is Code.OK
    assert service.warnings == []
    assert statistics(service) == b"count=3,bytes=3"


def test_a_quota_ends_with_its_limits() -> None:
    service = limited(b"countHardLimit=1")
    service.do(Delete("/zookeeper/quota/a/zookeeper_limits"))
    assert service.code(Create("/a/c")) is Code.OK
    assert service.tree.quotas.usage == {}


def test_quotas_around_each_other_all_count() -> None:
    service = limited(b"countHardLimit=4")
    for path in ("/zookeeper/quota/a/b", "/zookeeper/quota/a/b/zookeeper_limits"):
        service.do(Create(path, b"countHardLimit=2" if path.endswith("limits") else b""))
    assert [service.code(Create(path)) for path in ("/a/b/x", "/a/b/y", "/a/c", "/a/d")] == [
        Code.OK, Code.QUOTA_EXCEEDED, Code.OK, Code.QUOTA_EXCEEDED,
    ]  # fmt: skip


def test_quotas_survive_a_snapshot() -> None:
    service = limited(b"count=5")
    assert contents(copy(service.tree)) == contents(service.tree)


@pytest.mark.parametrize("data", [b"nonsense", b"count=x", b"\xff", b"count=1,bytes=99999999999999999999"])
def test_malformed_limits_are_refused(data: bytes) -> None:
    service = Service()
    service.do(Create("/zookeeper/quota/a"))
    assert service.code(Create("/zookeeper/quota/a/zookeeper_limits", data)) is Code.BAD_ARGUMENTS


@pytest.mark.parametrize(
    "path", ["/zookeeper/quota/zookeeper_limits", "/zookeeper/quota/zookeeper/zookeeper_limits"]
)
def test_neither_the_root_nor_the_services_own_tree_has_a_quota(path: str) -> None:
    service = Service()
    service.do(Create("/zookeeper/quota/zookeeper"))
    assert service.code(Create(path, b"countHardLimit=0")) is Code.OK
    assert service.code(Create("/a")) is Code.OK
    assert service.tree.quotas.usage == {}


def test_limits_are_read_as_apache_writes_them() -> None:
    assert parse(b"count=4,bytes=9=;byteHardLimit=15;countHardLimit=7") == Limit(4, 9, 7, 15)
    assert parse(b"count=4,bytes=-1") == Limit(4)
    assert parse(b"") == Limit()
