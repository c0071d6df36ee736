"""Watches: what fires, once, for whom, and again after a reconnection (4.4; Apache's 3.6 and later)."""

from __future__ import annotations

from typing import Any

import pytest

from services.coordination.api import (
    Acl,
    AddWatch,
    CheckWatches,
    Code,
    CoordinationError,
    Create,
    Delete,
    Exists,
    GetChildren,
    GetData,
    Multi,
    RemoveWatches,
    SetAcl,
    SetData,
    SetWatches,
    WatchKind,
)
from tests.coordination.state.service import Service


@pytest.fixture
def service() -> Service:
    service = Service()
    service.do(Create("/x"))
    return service


def test_a_deletion_fires_data_and_child_watches_once_and_the_parents(service: Service) -> None:
    service.read(GetData("/x", watch=True))
    service.read(Exists("/x", watch=True))
    service.read(GetChildren("/x", watch=True))
    service.read(GetChildren("/", watch=True), 2)
    service.do(Delete("/x"))
    assert service.told() == [(1, "DELETED", "/x"), (2, "CHILDREN_CHANGED", "/")]


def test_child_watches_do_not_see_data_nor_data_watches_children(service: Service) -> None:
    service.read(GetChildren("/x", watch=True))
    service.do(SetData("/x", b""))
    service.read(GetData("/x", watch=True), 2)
    service.do(Create("/x/y"))
    assert service.told() == [(1, "CHILDREN_CHANGED", "/x")]


def test_set_acl_fires_nothing(service: Service) -> None:
    service.read(GetData("/x", watch=True))
    service.read(AddWatch("/x", recursive=True))
    service.do(SetAcl("/x", (Acl(31, "world", "anyone"),)))
    assert service.told() == []


def test_failed_updates_fire_nothing(service: Service) -> None:
    service.read(AddWatch("/", recursive=True))
    service.do(SetData("/x", b"", 7))
    service.do(Multi((SetData("/x", b""), Delete("/nope"))))
    assert service.told() == []


def test_persistent_watches_stay_and_see_data_and_children(service: Service) -> None:
    service.read(AddWatch("/x"))
    for request in (SetData("/x", b""), Create("/x/y"), SetData("/x/y", b""), Delete("/x/y"), Delete("/x")):
        service.do(request)
    service.do(Create("/x"))
    assert service.told() == [
        (1, kind, "/x")
        for kind in ("DATA_CHANGED", "CHILDREN_CHANGED", "CHILDREN_CHANGED", "DELETED", "CREATED")
    ]


def test_recursive_watches_see_everything_below_but_no_change_of_children(service: Service) -> None:
    service.read(AddWatch("/x", recursive=True))
    for request in (Create("/x/y"), Create("/x/y/z"), SetData("/x/y", b""), Delete("/x/y/z"), Create("/xx")):
        service.do(request)
    service.do(SetData("/x", b""))
    assert service.told() == [
        (1, "CREATED", "/x/y"),
        (1, "CREATED", "/x/y/z"),
        (1, "DATA_CHANGED", "/x/y"),
        (1, "DELETED", "/x/y/z"),
        (1, "DATA_CHANGED", "/x"),
    ]


def test_one_session_with_several_kinds_is_told_once(service: Service) -> None:
    service.read(GetData("/x", watch=True))
    service.read(AddWatch("/x"))
    service.read(AddWatch("/", recursive=True))
    service.do(SetData("/x", b""))
    assert service.told() == [(1, "DATA_CHANGED", "/x")]


def test_each_change_of_a_multi_is_told(service: Service) -> None:
    service.read(AddWatch("/", recursive=True))
    service.do(Multi((Create("/y"), SetData("/x", b""), Delete("/y"))))
    events = [event for _, event in service.events]
    assert {event.zxid for event in events} == {service.zxid}
    assert [event[1:] for event in service.told()] == [
        ("CREATED", "/y"),
        ("DATA_CHANGED", "/x"),
        ("DELETED", "/y"),
    ]


def test_whoever_may_not_read_is_not_told(service: Service) -> None:
    service.read(AddWatch("/x"), 1)
    service.read(AddWatch("/x"), 2)
    service.do(SetAcl("/x", (Acl(31, "digest", "two:x"),)))
    service.do(SetData("/x", b""), 2)
    assert service.told() == [(2, "DATA_CHANGED", "/x")]


@pytest.mark.parametrize("kind", [WatchKind.DATA, WatchKind.CHILDREN, WatchKind.PERSISTENT, WatchKind.ANY])
def test_watches_are_taken_back_by_kind(service: Service, kind: WatchKind) -> None:
    service.read(GetData("/x", watch=True))
    service.read(GetChildren("/x", watch=True))
    service.read(AddWatch("/x"))
    assert service.read(CheckWatches("/x", kind)) is not Code.NO_WATCHER
    service.read(RemoveWatches("/x", kind))
    assert service.read(CheckWatches("/x", kind)) is Code.NO_WATCHER
    assert service.read(RemoveWatches("/x", kind)) is Code.NO_WATCHER
    assert len(service.watches) == (0 if kind is WatchKind.ANY else 2)


def test_a_session_has_no_say_in_the_watches_of_another(service: Service) -> None:
    service.read(GetData("/x", watch=True), 1)
    assert service.read(RemoveWatches("/x"), 2) is Code.NO_WATCHER
    service.watches.drop(2)
    service.do(SetData("/x", b""))
    assert service.told() == [(1, "DATA_CHANGED", "/x")]


def test_nothing_is_left_of_watches_that_fired_or_were_dropped(service: Service) -> None:
    service.read(GetData("/x", watch=True), 1)
    service.read(GetData("/x", watch=True), 2)
    service.read(AddWatch("/x", recursive=True), 2)
    assert service.watches.by_path() == {"/x": [1, 2]}
    assert service.watches.by_session() == {1: ["/x"], 2: ["/x"]}
    service.do(SetData("/x", b""))
    service.watches.drop(2)
    assert (service.watches.by_path(), service.watches.by_session()) == ({}, {})


# After a reconnection


def again(service: Service, **kinds: Any) -> list[tuple[str, str]]:
    request = SetWatches(kinds.pop("since"), **{kind: (path,) for kind, path in kinds.items()})
    events = service.watches.set_again(service.tree, 1, request, service.may_read)
    assert all(event.zxid == service.tree.zxid for event in events)
    return [(event.type.name, event.path) for event in events]


def test_what_was_missed_is_told_at_once(service: Service) -> None:
    since = service.zxid
    service.do(SetData("/x", b""))
    service.do(Create("/x/y"))
    assert again(service, since=since, data="/x") == [("DATA_CHANGED", "/x")]
    assert again(service, since=since, child="/x") == [("CHILDREN_CHANGED", "/x")]
    assert again(service, since=since, exist="/x") == [("CREATED", "/x")]
    assert again(service, since=since, data="/gone") == [("DELETED", "/gone")]
    assert again(service, since=since, child="/gone") == [("DELETED", "/gone")]
    assert len(service.watches) == 0


def test_what_was_not_missed_is_watched_again(service: Service) -> None:
    since = service.zxid
    assert again(service, since=since, data="/x", child="/x", exist="/y") == []
    assert again(service, since=since, persistent="/x", persistent_recursive="/z") == []
    service.do(SetData("/x", b""))
    service.do(Create("/x/c"))
    service.do(Create("/y"))
    service.do(Create("/z"))
    assert service.told() == [
        (1, "DATA_CHANGED", "/x"),
        (1, "CHILDREN_CHANGED", "/x"),
        (1, "CREATED", "/y"),
        (1, "CREATED", "/z"),
    ]


def test_what_was_missed_of_an_unreadable_znode_is_not_told(service: Service) -> None:
    since = service.zxid
    service.do(SetData("/x", b""))
    service.do(SetAcl("/x", (Acl(31, "digest", "two:x"),)))
    assert again(service, since=since, data="/x") == []


def test_bad_paths_are_refused_whole(service: Service) -> None:
    with pytest.raises(CoordinationError):
        again(service, since=0, persistent="/x", exist="bad")
    assert len(service.watches) == 0
