"""The universe master's console as a page: what it shows, and that names on it are only text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protos import spanner_pb2 as pb
from scenarios.spanner.accounts import SCHEMA
from services.spanner.placement.status_page import responding
from services.spanner.placement.told import groups_of, key_of, overview

MEMBERS = [pb.Member(server="s1", zone="z1"), pb.Member(server="s2", zone="z2", kind="witness")]


def status() -> pb.UniverseStatus:
    leads = pb.GroupStatus(group=1, members=MEMBERS, term=7, lease_end=3 * 10**9, rows=5, bytes=80, load=4.0)
    other = pb.GroupStatus(group=1, members=MEMBERS, load=2.0)
    table = SCHEMA.table("Accounts")
    return pb.UniverseStatus(
        servers=[
            pb.SpanserverStatus(server="s1", zone="z1", earliest=9 * 10**8, latest=10**9, groups=[leads]),
            pb.SpanserverStatus(server="s2", zone="z2", groups=[other]),
        ],
        fragments=[pb.Fragment(range=pb.KeyRange(start=table.everything.start, end=table.key([6])), group=1)],
        unreachable=["s<3>"],
        zones=[
            pb.ZoneStatus(zone="z1", zonemaster="zone-z1", answers=True, spanservers=["s1"]),
            pb.ZoneStatus(zone="z2", zonemaster="zone-z2", spanservers=["s2"], silent=["s2"]),
        ],
    )


def test_a_group_is_joined_from_what_its_replicas_say() -> None:
    (group,) = groups_of(status())
    assert (group["leader"], group["lease_s"], group["rows"], group["requests_s"]) == ("s1", 2.0, 5, 6.0)


def test_keys_are_shown_as_tables_and_values() -> None:
    table = SCHEMA.table("Accounts")
    assert key_of(SCHEMA, table.key([6])) == "Accounts [6]"
    assert key_of(SCHEMA, table.everything.start) == "Accounts"
    assert key_of(SCHEMA, b"\xff") == "0xff"


def asked(*steps: str) -> str:
    async def look() -> dict[str, Any]:
        return overview(status(), SCHEMA)

    async def main() -> str:
        page = await responding(look)(list(steps), {})
        assert isinstance(page.body, bytes)
        return page.body.decode()

    return asyncio.run(main())


def test_the_page_shows_zones_servers_groups_and_who_has_what() -> None:
    text = asked()
    for words in ("zone-z2 <span class=error>does not answer", "50.000 ms", "does not know the time"):
        assert words in text
    for words in ("<b>s1/z1</b> s2/z2 (witness)", "2.0 s", "Accounts [6]", "s&lt;3&gt;"):
        assert words in text
    assert "s<3>" not in text
    assert '"leader": "s1"' in asked("api")
    with pytest.raises(LookupError, match="begin at /"):
        asked("elsewhere")
