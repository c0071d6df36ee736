"""Which paths there are, and who may do what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.coordination.api import (
    OPEN_ACL,
    Acl,
    Check,
    Code,
    CoordinationError,
    Create,
    Delete,
    Exists,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    Identity,
    Multi,
    Permission,
    SetAcl,
    SetData,
)
from services.coordination.state import paths
from services.coordination.state.acl import SUPER, AccessList, authenticate, digest_id, resolve
from services.coordination.state.prepare import Limits
from tests.coordination.state.service import Service, copy

# Paths


@pytest.mark.parametrize(
    "path",
    ["/", "/a", "/a/b", "/a.b/..c/...", "/ü/日本", "/a b", "/-", "/" + "x" * 8000, "/d" * 512],
)
def test_good_paths(path: str) -> None:
    assert paths.is_valid(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "a", "a/b", "/a/", "//", "//a", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..",
        "/\0", "/a\x01", "/a\x1f", "/a\x7f", "/\x9f", "/\ud800", "/\udfff", "/\ue000", "/\uf8ff",
        "/\ufff0", "/\uffff", "/\U0001f600", "/" + "x" * 9000, "/d" * 513,
    ],
)  # fmt: skip
def test_bad_paths_are_bad_arguments(path: str) -> None:
    assert not paths.is_valid(path)
    service = Service()
    assert service.code(SetData(path, b"")) is Code.BAD_ARGUMENTS
    assert service.code(Create(path)) in (
        Code.BAD_ARGUMENTS,
        Code.NO_NODE,
    )  # Apache looks for the parent first
    assert service.code(Delete(path)) in (Code.BAD_ARGUMENTS, Code.NO_NODE)
    assert service.code(Multi((Check(path),))) is Code.BAD_ARGUMENTS
    assert service.read(Exists(path, watch=True)) is Code.BAD_ARGUMENTS
    assert service.read(GetData(path, watch=True)) is Code.NO_NODE
    assert len(service.watches) == 0
    assert len(service.tree) == 4


@given(st.text(max_size=12))
def test_every_path_that_is_taken_is_found_again(name: str) -> None:
    service = Service()
    if service.code(Create("/" + name)) is Code.OK:
        assert service.tree.lookup("/" + name) is not None
        assert service.tree.lookup(paths.parent_of("/" + name)) is not None
        assert copy(service.tree).digest == service.tree.digest


@pytest.mark.parametrize("path", sorted(paths.SPECIAL))
def test_what_is_there_from_the_beginning_stays(path: str) -> None:
    service = Service()
    assert service.tree.lookup(path) is not None
    assert service.code(Delete(path), 3) is Code.BAD_ARGUMENTS


def test_deep_trees_are_walked_without_recursion() -> None:
    service = Service()
    for depth in range(1, 513):
        assert service.code(Create("/d" * depth)) is Code.OK
    assert service.read(GetAllChildrenNumber("/d")).count == 511
    assert copy(service.tree).digest == service.tree.digest


# Access control

READ, WRITE, CREATE, DELETE, ADMIN = (Permission(1 << bit) for bit in range(5))
ALL_BUT = {
    permission: Acl(31 & ~permission, "world", "anyone")
    for permission in (READ, WRITE, CREATE, DELETE, ADMIN)
}


@pytest.mark.parametrize(
    ("missing", "request_"),
    [
        (READ, GetData("/x")),
        (READ, GetChildren("/x")),
        (READ, GetAllChildrenNumber("/x")),
        (READ, Multi((Check("/x"),))),
        (WRITE, SetData("/x", b"")),
        (CREATE, Create("/x/new")),
        (DELETE, Delete("/x/y")),
        (ADMIN, SetAcl("/x", OPEN_ACL)),
    ],
)
def test_each_request_needs_one_permission_and_the_super_user_none(
    missing: Permission, request_: object
) -> None:
    service = Service()
    service.do(Create("/x"))
    service.do(Create("/x/y"))
    service.do(SetAcl("/x", (ALL_BUT[missing],)))
    update = not type(request_).__name__.startswith("Get")
    ask = service.code if update else service.read
    assert ask(request_, 1) is Code.NO_AUTH
    assert ask(request_, 3) is Code.OK if update else ask(request_, 3) is not Code.NO_AUTH


def test_exists_needs_no_permission_and_lists_are_not_recursive() -> None:
    service = Service()
    service.do(Create("/x", acl=(Acl(CREATE, "world", "anyone"),)))
    assert service.code(Create("/x/y")) is Code.OK
    assert service.read(Exists("/x")).stat.num_children == 1
    assert service.read(GetData("/x/y")).data == b""


def test_lists_may_be_ignored() -> None:
    service = Service(Limits(check_acl=False))
    service.do(Create("/x", acl=(Acl(READ, "world", "anyone"),)))
    assert service.code(SetData("/x", b"")) is Code.OK


def test_a_new_list_holds_for_what_is_asked_before_it_is_delivered() -> None:
    service = Service()
    service.do(Create("/x"))
    service.ask(SetAcl("/x", (ALL_BUT[WRITE],)))
    service.ask(SetData("/x", b""))
    assert [applied.code for applied in service.deliver()] == [Code.OK, Code.NO_AUTH]


def test_set_acl_counts_its_own_version() -> None:
    service = Service()
    service.do(Create("/x"))
    stat = service.do(SetAcl("/x", (ALL_BUT[WRITE],), 0)).result.stat
    assert (stat.aversion, stat.version) == (1, 0)
    assert service.code(SetAcl("/x", OPEN_ACL, 0)) is Code.BAD_VERSION


def test_auth_stands_for_who_sets_the_list() -> None:
    service = Service()
    assert service.code(Create("/x", acl=(Acl(31, "auth", ""),)), 1) is Code.INVALID_ACL
    assert service.code(Create("/x", acl=(Acl(31, "auth", ""),)), 2) is Code.OK
    assert service.read(GetAcl("/x"), 2).acl == (Acl(31, "digest", "two:x"),)
    assert service.read(GetData("/x"), 1) is Code.NO_AUTH


def test_hashes_are_only_shown_to_who_may_change_them() -> None:
    service = Service()
    service.do(Create("/x", acl=(Acl(READ, "world", "anyone"), Acl(31, "digest", "two:x"))), 2)
    assert service.read(GetAcl("/x"), 1).acl == (Acl(READ, "world", "anyone"), Acl(31, "digest", "two:x"))
    service.do(Create("/y", acl=(Acl(READ, "world", "anyone"), Acl(31, "digest", "me:secret"))), 2)
    assert service.read(GetAcl("/y"), 1).acl[1].id == "me:x"
    assert service.read(GetAcl("/y"), 3).acl[1].id == "me:secret"


@pytest.mark.parametrize(
    "entry",
    [
        Acl(31, "world", "somebody"), Acl(31, "digest", "nocolon"), Acl(31, "digest", "a:b:c"),
        Acl(31, "ip", "nonsense"), Acl(31, "ip", "10.0.0.1/33"), Acl(31, "sasl", "x"), Acl(31, "super", ""),
        Acl(31, "", ""),
    ],
)  # fmt: skip
def test_malformed_entries_are_refused(entry: Acl) -> None:
    service = Service()
    assert service.code(Create("/x", acl=(entry,))) is Code.INVALID_ACL
    assert service.code(SetAcl("/", (entry,))) is Code.INVALID_ACL


def test_an_empty_list_is_refused_and_doubles_are_dropped() -> None:
    with pytest.raises(CoordinationError):
        resolve((), [])
    entry = Acl(1, "world", "anyone")
    assert resolve((entry, entry), []) == (entry,)


@pytest.mark.parametrize(
    ("network", "address", "inside"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.0/8", "10.9.9.9", True),
        ("10.0.0.7/8", "10.9.9.9", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("::1", "::1", True),
        ("fe80::/10", "fe80::1", True),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "::1", False),
    ],
)
def test_ip_matches_addresses_and_networks(network: str, address: str, inside: bool) -> None:
    acl = AccessList.of(resolve((Acl(31, "ip", network),), []))
    assert acl.permits(READ, [Identity("ip", address)]) is inside


def test_digest_is_apaches() -> None:
    """`DigestAuthenticationProvider.generateDigest("super:admin")`, as every manual has it."""
    assert digest_id(b"super:admin") == "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="


def test_authentication() -> None:
    user = Identity("digest", digest_id(b"u:pw"))
    assert authenticate("digest", b"u:pw") == (user,)
    assert authenticate("digest", b"u:pw", "super:x") == (user,)
    assert SUPER in authenticate("digest", b"super:admin", digest_id(b"super:admin"))
    assert authenticate("digest", b"nocolon") == (Identity("digest", digest_id(b"nocolon")),)  # as Apache
    assert authenticate("ip", b"") == ()
    for scheme, credentials in (
        ("digest", b"\xff:x"),
        ("world", b"anyone"),
        ("super", b""),
    ):
        with pytest.raises(CoordinationError) as refused:
            authenticate(scheme, credentials, "")
        assert refused.value.code is Code.AUTH_FAILED


def test_equal_lists_are_one_object() -> None:
    entries = (Acl(1, "digest", "a:b"),)
    assert AccessList.of(entries) is AccessList.of(tuple(entries))
    assert AccessList.of(OPEN_ACL) is AccessList.of(())
