"""Frames to requests and results to bytes: what `zookeeper.jute` says, and nothing else gets through."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordination import api
from services.coordination.api import Code
from services.coordination.wire import jute, requests, results
from services.coordination.wire.jute import Malformed
from services.coordination.wire.requests import Refused, read_body, read_greeting, read_request
from tests.coordination.wire.raw import WORLD, create, greeting, request, text

INT = struct.Struct(">i").pack
LONG = struct.Struct(">q").pack
STAT = api.Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
STAT_BYTES = struct.pack(">qqqqiiiqiiq", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
JANE = api.Acl(3, "digest", "jane:x")


def multi(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">i?i", kind, False, -1) + body for kind, body in parts) + struct.pack(
        ">i?i", -1, True, -1
    )


REQUESTS = {
    "create": (1, create("/a", b"d", 1), api.Create("/a", b"d", api.OPEN_ACL, api.CreateMode.EPHEMERAL)),
    "create with acl": (
        1,
        create("/a", b"", 0, INT(2) + WORLD[4:] + INT(3) + text("digest") + text("jane:x")),
        api.Create("/a", b"", (*api.OPEN_ACL, JANE)),
    ),
    "create without acl": (1, create("/a", b"", 0, INT(0)), api.Create("/a", b"", ())),
    "create with null data": (1, text("/a") + INT(-1) + WORLD + INT(0), api.Create("/a", None)),
    "create2": (15, create("/ä", b"", 2), api.Create("/ä", mode=api.CreateMode.PERSISTENT_SEQUENTIAL)),
    "createContainer": (19, create("/a", b"", 4), api.Create("/a", mode=api.CreateMode.CONTAINER)),
    "createTTL": (
        21,
        create("/a", b"", 5) + LONG(1 << 40),
        api.Create("/a", mode=api.CreateMode.PERSISTENT_TTL, ttl=1 << 40),
    ),
    "delete": (2, text("/a") + INT(-1), api.Delete("/a", -1)),
    "exists": (3, text("/a") + b"\1", api.Exists("/a", True)),
    "getData": (4, text("/a") + b"\0", api.GetData("/a", False)),
    "setData": (5, text("/a") + text(b"\0\xff") + INT(3), api.SetData("/a", b"\0\xff", 3)),
    "getACL": (6, text("/a"), api.GetAcl("/a")),
    "setACL": (7, text("/a") + WORLD + INT(2), api.SetAcl("/a", api.OPEN_ACL, 2)),
    "getChildren": (8, text("/a") + b"\1", api.GetChildren("/a", True)),
    "sync": (9, text("/a"), api.Sync("/a")),
    "ping": (11, b"", api.Ping()),
    "getChildren2": (12, text("/") + b"\0", api.GetChildren("/")),
    "check": (13, text("/a") + INT(1), api.Check("/a", 1)),
    "multi": (
        14,
        multi(
            (1, create("/a")),
            (2, text("/b") + INT(1)),
            (5, text("/c") + text(b"") + INT(2)),
            (13, text("/d") + INT(3)),
        ),
        api.Multi((api.Create("/a"), api.Delete("/b", 1), api.SetData("/c", b"", 2), api.Check("/d", 3))),
    ),
    "empty multi": (14, multi(), api.Multi(())),
    "reconfig": (
        16,
        text("server.4=h:1:2;3,server.5=h:1:2;3") + text("1,2") + INT(-1) + LONG(0x100000000),
        api.Reconfigure(("server.4=h:1:2;3", "server.5=h:1:2;3"), (1, 2), (), 0x100000000),
    ),
    "reconfig whole": (
        16,
        INT(-1) + INT(-1) + text("server.4=h:1:2;3\nversion=100\n") + LONG(-1),
        api.Reconfigure((), (), ("server.4=h:1:2;3",), -1),
    ),
    "checkWatches": (17, text("/a") + INT(1), api.CheckWatches("/a", api.WatchKind.CHILDREN)),
    "removeWatches": (18, text("/a") + INT(3), api.RemoveWatches("/a", api.WatchKind.ANY)),
    "multiRead": (
        22,
        multi((4, text("/a") + b"\0"), (8, text("/b") + b"\1")),
        api.MultiRead((api.GetData("/a"), api.GetChildren("/b", True))),
    ),
    "auth": (100, INT(0) + text("digest") + text(b"a:b"), api.Authenticate("digest", b"a:b")),
    "setWatches": (
        101,
        LONG(9) + INT(1) + text("/d") + INT(2) + text("/e") + text("/f") + INT(0),
        api.SetWatches(9, ("/d",), ("/e", "/f"), ()),
    ),
    "setWatches2": (
        105,
        LONG(9) + INT(0) * 3 + INT(1) + text("/p") + INT(1) + text("/r"),
        api.SetWatches(9, (), (), (), ("/p",), ("/r",)),
    ),
    "getEphemerals": (103, text("/"), api.GetEphemerals("/")),
    "getAllChildrenNumber": (104, text("/"), api.GetAllChildrenNumber("/")),
    "addWatch": (106, text("/a") + INT(1), api.AddWatch("/a", True)),
    "whoAmI": (107, b"", api.WhoAmI()),
    "closeSession": (-11, b"", api.CloseSession()),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_is_read(name: str) -> None:
    kind, body, expected = REQUESTS[name]
    frame = request(77, kind, body)[4:]
    assert read_request(frame) == (77, kind)
    assert read_body(kind, frame)[0] == expected


@pytest.mark.parametrize("name", [name for name in REQUESTS if REQUESTS[name][1]])
def test_a_request_that_ends_early_is_malformed(name: str) -> None:
    kind, body, _ = REQUESTS[name]
    for size in range(len(body)):
        with pytest.raises(Malformed):
            read_body(kind, request(1, kind, body[:size])[4:])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(REQUESTS)), st.data())
def test_a_mutated_request_is_read_refused_or_malformed(name: str, data: st.DataObject) -> None:
    kind, body, _ = REQUESTS[name]
    frame = bytearray(request(1, kind, body)[4:])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(8, max(8, len(frame) - 1)))
        frame[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(Malformed, Refused):
        read_body(kind, bytes(frame))


@pytest.mark.parametrize("count", [-2, 1 << 20, (1 << 31) - 1])
def test_a_length_that_cannot_be_allocates_nothing(count: int) -> None:
    with pytest.raises(Malformed):
        jute.read_vector(INT(count) + bytes(100), 0, jute.read_text)
    with pytest.raises(Malformed):
        jute.read_buffer(INT(count) + bytes(100), 0)


def test_what_there_is_not_is_refused() -> None:
    for kind, body, code in (
        (999, b"", Code.UNIMPLEMENTED),
        (-10, INT(1000), Code.UNIMPLEMENTED),
        (1, create("/a", b"", 9), Code.BAD_ARGUMENTS),
        (16, INT(-1) + text("x") + INT(-1) + LONG(0), Code.BAD_ARGUMENTS),
    ):
        with pytest.raises(Refused) as refused:
            read_body(kind, request(1, kind, body)[4:])
        assert refused.value.code is code


def test_text_that_is_not_utf8_is_read_as_java_does() -> None:
    assert jute.read_text(text(b"/a\xff\xed\xa0\x80"), 0)[0].startswith("/a\ufffd")


def test_greetings_old_and_new() -> None:
    new = read_greeting(greeting(5, b"p" * 16, 9000, 77, b"\1")[4:])
    assert new.knows_read_only
    assert (new.hello.session, new.hello.password, new.hello.timeout) == (5, b"p" * 16, 9000)
    assert new.hello.last_zxid == 77 and new.hello.read_only
    assert not read_greeting(greeting(read_only=b"")[4:]).knows_read_only
    for size in range(44):
        with pytest.raises(Malformed):
            read_greeting(greeting(read_only=b"")[4 : 4 + size])


def test_a_greeting_is_answered_with_or_without_read_only_mode() -> None:
    expected = struct.pack(">iiiq", 36, 0, 9000, 5) + text(b"p" * 16)
    assert results.greet(5, 9000, b"p" * 16, None) == expected
    assert results.greet(5, 9000, b"p" * 16, True) == struct.pack(">i", 37) + expected[4:] + b"\1"
    assert len(results.greet(0, 0, b"", False)) == 41


def body_of(kind: int, body: bytes, result: api.AnyResult) -> bytes:
    write = requests.read_body(kind, request(1, kind, body)[4:])[1]
    assert write is not None
    return write(result)


def test_every_result_is_written() -> None:
    made, wrote = api.Created("/ä", STAT), api.Written(STAT)
    path = text("/a")
    assert body_of(1, create("/a"), made) == text("/ä")
    assert body_of(15, create("/a"), made) == text("/ä") + STAT_BYTES
    assert body_of(3, path + b"\0", wrote) == STAT_BYTES
    assert body_of(5, path + text(b"") + INT(0), wrote) == STAT_BYTES
    assert body_of(4, path + b"\0", api.Data(b"xyz", STAT)) == text(b"xyz") + STAT_BYTES
    names = api.Children(("a", "b"), STAT)
    assert body_of(8, path + b"\0", names) == INT(2) + text("a") + text("b")
    assert body_of(12, path + b"\0", names) == INT(2) + text("a") + text("b") + STAT_BYTES
    acl = INT(1) + INT(3) + text("digest") + text("jane:x") + STAT_BYTES
    assert body_of(6, path, api.AclOf((JANE,), STAT)) == acl
    assert body_of(9, path, api.Nothing()) == path
    assert body_of(103, path, api.Paths(("/a", "/b"))) == INT(2) + text("/a") + text("/b")
    assert body_of(104, path, api.Count(7)) == INT(7)
    assert body_of(106, path + INT(0), api.Nothing()) == INT(0)
    assert requests.read_body(2, request(1, 2, path + INT(0))[4:])[1] is None


def test_who_i_am_does_not_tell_the_hash() -> None:
    who = api.Identities((api.Identity("digest", "jane:hash"), api.Identity("ip", "::1")))
    assert body_of(107, b"", who) == INT(2) + text("digest") + text("jane") + text("ip") + text("::1")


def part(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">i?i", kind, False, 0) + body


def failed(code: int) -> bytes:
    return struct.pack(">i?ii", -1, False, code, code)


def test_a_multi_is_written_operation_by_operation() -> None:
    asked = multi(
        (1, create("/a")), (15, create("/b")), (19, create("/c", b"", 4)), (2, text("/d") + INT(1)),
        (5, text("/e") + text(b"") + INT(2)), (13, text("/f") + INT(3)),
    )  # fmt: skip
    nothing, made = api.Nothing(), api.Created("/a", STAT)
    results_ = (made, made, made, nothing, api.Written(STAT), nothing)
    end = struct.pack(">i?i", -1, True, -1)
    assert body_of(14, asked, api.Several(results_)) == (
        part(1, text("/a"))
        + part(1, text("/a"))
        + part(15, text("/a") + STAT_BYTES)
        + part(2)
        + part(5, STAT_BYTES)
        + part(13)
        + end
    )


@pytest.mark.parametrize("before", [Code.OK, Code.RUNTIME_INCONSISTENCY])
def test_a_multi_that_failed_says_where(before: Code) -> None:
    asked = multi(*[(2, text("/a") + INT(0))] * 4)
    parts = (
        api.Failed(before), api.Failed(Code.BAD_VERSION), api.Failed(Code.RUNTIME_INCONSISTENCY),
        api.Failed(Code.RUNTIME_INCONSISTENCY),
    )  # fmt: skip
    assert body_of(14, asked, api.Several(parts)) == (
        failed(0) + failed(-103) + failed(-2) * 2 + struct.pack(">i?i", -1, True, -1)
    )


def test_reads_of_a_multi_fail_one_by_one() -> None:
    asked = multi((4, text("/a") + b"\0"), (8, text("/b") + b"\0"), (4, text("/c") + b"\0"))
    parts = (api.Data(b"x", STAT), api.Failed(Code.NO_NODE), api.Data(b"y", STAT))
    assert body_of(22, asked, api.Several(parts)) == (
        part(4, text(b"x") + STAT_BYTES)
        + failed(-101)
        + part(4, text(b"y") + STAT_BYTES)
        + struct.pack(">i?i", -1, True, -1)
    )


def test_replies_and_events_have_their_headers() -> None:
    assert results.reply(7, 0x100000001, -101) == struct.pack(">iiqi", 16, 7, 0x100000001, -101)
    assert results.reply(-2, 5, 0, b"ab") == struct.pack(">iiqi", 18, -2, 5, 0) + b"ab"
    event = api.Event(api.EventType.DELETED, "/ä", 99)
    body = INT(2) + INT(3) + text("/ä")
    assert results.event(event) == struct.pack(">iiqi", 16 + len(body), -1, -1, 0) + body
