"""What placement asks of a spanserver: replicas made and dropped, hand-over, copies of ranges, status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.schema import EMPTY, Schema
from services.spanner.spanserver import checks
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from services.spanner.entries import Version
    from services.spanner.spanserver.server import Hosted, Spanserver

EVERY = 0xFFFFFFFF  # group: all that it leads
PIECE = 256 << 10  # bytes of a copy that travel together
GIVING = 2.0  # seconds that giving leadership away may take
LOOK = 0.01  # seconds between two looks whether it has gone
MOST_MEMBERS = 100
KINDS = ("read-write", "read-only", "witness")


class Administration:
    """The calls.

    Args:
        server: of which spanserver.
    """

    def __init__(self, server: Spanserver) -> None:
        self._server = server

    async def create(self, request: pb.GroupRequest) -> pb.Done:
        """Hosts a replica of a group; when it answers, also after a crash. Again: no effect.

        Raises:
            SpannerError: INVALID_ARGUMENT; ALREADY_EXISTS: the group is here with other members.
        """
        members = tuple(Member(one.server, one.zone, one.kind or "read-write") for one in request.members)
        names = [one.server for one in members]
        if self._server.host.name not in names or len(dict.fromkeys(names)) != len(names):
            raise _wrong(f"{self._server.host.name} must be one of the members, and each is named once")
        if wrong := [one.kind for one in members if one.kind not in KINDS]:
            raise _wrong(f'a replica is {", ".join(KINDS)}, not "{wrong[0]}"')
        if len(members) > MOST_MEMBERS or not all(map(_named, members)):
            raise _wrong(f"a group has up to {MOST_MEMBERS} members, whose servers and zones have names")
        if not any(one.kind == "read-write" for one in members):
            raise _wrong("a group needs a read-write replica: nobody else may lead")
        if request.group == EVERY:
            raise _wrong(f"{EVERY} is no number of a group")
        await self._server.create(request.group, members, request.preferred_leader)
        return pb.Done()

    async def drop(self, request: pb.GroupRequest) -> pb.Done:
        """Hosts a group no more. Again: no effect."""
        await self._server.drop(request.group)
        return pb.Done()

    async def hand_over(self, request: pb.HandOverRequest) -> pb.Done:
        """Gives leadership away, of one group or of all that this server leads.

        Raises:
            SpannerError: UNAVAILABLE: not hosted here; NOT_FOUND: no such member.
        """
        if request.group != EVERY:
            hosted = self._server.hosted(request.group)
            if request.to and request.to not in [one.server for one in hosted.replica.members]:
                raise SpannerError("NOT_FOUND", f"{request.to} has no replica of group {request.group}")
            await _hand_over(hosted, request.to)
            return pb.Done()
        # Also of groups whose lease has run out: the next request would renew it here.
        leading = [one for one in self._server.groups.values() if one.replica.reign]
        await asyncio.gather(*(_hand_over(one, request.to) for one in leading))
        return pb.Done()

    async def export(self, request: pb.ExportRequest) -> AsyncIterator[pb.Versions]:
        """Yields the versions of a range after one timestamp and up to another.

        Raises:
            SpannerError: INVALID_ARGUMENT; UNAVAILABLE, "moved": the range is not this group's. OUT_OF_RANGE:
                versions that are asked for are collected (what was deleted would be missed): copy all.
        """
        checks.key_range(request.range)
        if max(request.after, request.upto) > checks.LARGEST:
            raise _wrong("versions are asked for between timestamps below 2**63")
        within = KeyRange(request.range.start, request.range.end)
        hosted = self._server.hosted(request.group)
        upto = request.upto or self._server.truetime.now().latest
        await hosted.replica.paxos_safe(upto)
        await _decided(hosted, within, upto)
        tablet = hosted.tablet
        found: list[Version] = []
        size = 0
        start = within.start
        while True:
            tablet.check((within,), upto)
            horizon = max(tablet.horizon, tablet.floor(within))
            if 0 < request.after < horizon:
                raise SpannerError(
                    "OUT_OF_RANGE",
                    f"of the versions after {request.after}, those up to {horizon} are collected",
                )
            for history in tablet.histories(KeyRange(start, within.end)):
                start = history[0].key + b"\x00"
                for version in history:
                    if request.after < version.timestamp <= upto:
                        found.append(version)
                        size += len(version.key) + len(version.row or b"") + 16
                if size >= PIECE:
                    break
            else:
                break
            yield pb.Versions(versions=msgspec.msgpack.encode(found), horizon=horizon)
            found, size = [], 0
        yield pb.Versions(versions=msgspec.msgpack.encode(found), horizon=horizon)

    async def take_in(self, request: pb.ImportRequest) -> pb.Done:
        """Stages a piece of a copy in a group's log, or has what was staged go.

        Raises:
            SpannerError: INVALID_ARGUMENT, and as `Transactions.stage`.
        """
        checks.name(request.move)
        if not request.discard:
            checks.key_range(request.range)
        await self._server.hosted(request.group).transactions.stage(request)
        return pb.Done()

    async def status(self, request: pb.StatusRequest) -> pb.SpanserverStatus:
        """Says how the server and its groups are."""
        server = self._server
        try:
            earliest, latest = server.truetime.now()
        except Unsynchronized:
            earliest = latest = 0
        wanted = dict.fromkeys(request.groups) or server.groups
        return pb.SpanserverStatus(
            server=server.host.name,
            zone=server.zone,
            earliest=earliest,
            latest=latest,
            groups=self._leading(wanted, latest)
            if request.leading
            else [_status(number, server.groups[number]) for number in wanted if number in server.groups],
        )

    def _leading(self, wanted: Iterable[int], latest: int) -> list[pb.GroupStatus]:
        """Says of groups whose lease is held here who leads, at little cost for the others."""
        found = []
        for number in wanted:
            hosted = self._server.groups.get(number)
            if hosted is not None and hosted.replica.reign and hosted.replica.lease[1] > latest:
                found.append(_reign(number, hosted))
        return found


def _named(member: Member) -> bool:
    """Says whether names are such as hosts and zones have: they travel among the headers of refusals."""
    names = (member.server, member.zone)
    return bool(member.server) and all(
        len(one) <= 256 and f"{one}x".isprintable() and one.isascii() for one in names
    )


def _reign(number: int, hosted: Hosted) -> pb.GroupStatus:
    start, end = hosted.replica.lease
    hosted.transactions.tidy()
    return pb.GroupStatus(
        group=number,
        leader=hosted.replica.leader,
        term=hosted.replica.reign,
        lease_start=start,
        lease_end=end,
    )


def _status(number: int, hosted: Hosted) -> pb.GroupStatus:
    replica, tablet = hosted.replica, hosted.tablet
    start, end = replica.lease
    hosted.transactions.tidy()
    schema = Schema.decode(tablet.schemas[-1][1]) if tablet.schemas else EMPTY
    demand = hosted.transactions.demand
    middle = tablet.middle() or b""
    return pb.GroupStatus(
        group=number,
        members=[pb.Member(server=one.server, zone=one.zone, kind=one.kind) for one in replica.members],
        leader=replica.leader,
        term=replica.term,
        lease_start=start,
        lease_end=end,
        applied=tablet.index,
        paxos_safe=replica.paxos_safe_now,
        rows=tablet.rows,
        bytes=sum(map(tablet.size, tablet.owned)),
        prepared=len(tablet.prepared),
        owned=[pb.KeyRange(start=one.start, end=one.end) for one in tablet.owned],
        schema_version=schema.version,
        load=demand.rate(asyncio.get_running_loop().time()),
        middle=_cut(schema, middle, tablet.owned),
        hot=demand.half(tablet.owned, schema.directory) or demand.half(tablet.owned, _as_it_is),
        garbage=hosted.transactions.garbage,
        unfinished=sum(1 for _ in tablet.unfinished()),
    )


def _cut(schema: Schema, key: bytes, owned: Sequence[KeyRange]) -> bytes:
    """Returns where to cut near a key: between directories (2.2), or in the midst of one that is large."""
    start = schema.directory(key) if key else b""
    return start if any(part.start < start and key in part for part in owned) else key


def _as_it_is(key: bytes) -> bytes:
    return key


async def _hand_over(hosted: Hosted, to: str) -> None:
    """Has a replica give leadership away, and returns when it has, or soon after."""
    hosted.replica.abdicate(to)
    for _ in range(round(GIVING / LOOK)):
        if not hosted.replica.term:
            return
        await asyncio.sleep(LOOK)


async def _decided(hosted: Hosted, within: KeyRange, upto: int) -> None:
    """Waits until no prepared transaction can change a range at or below a timestamp."""
    for name in hosted.tablet.blocking((within,), upto):
        resolved = asyncio.Event()
        hosted.tablet.when_resolved(name, resolved.set)
        await resolved.wait()


def _wrong(what: str) -> SpannerError:
    return SpannerError("INVALID_ARGUMENT", what)
