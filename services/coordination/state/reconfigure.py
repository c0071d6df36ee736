"""What an ensemble becomes by a `Reconfigure`: by changes (joining, leaving) or whole (members)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.coordination.api import ANY_VERSION, Code, CoordinationError, Reconfigure
from services.coordination.configuration import Configuration, Member

if TYPE_CHECKING:
    from collections.abc import Collection


def next_configuration(
    now: Configuration, request: Reconfigure, zxid: int, synced: Collection[int] | None
) -> Configuration:
    """Returns the configuration that a request asks for.

    Args:
        now: the present one.
        request: what is to change.
        zxid: of the transaction that will change it: the new version.
        synced: ids of the servers that are in sync with the leader, itself included; None when that is
            of no interest.

    Raises:
        CoordinationError: BAD_VERSION: it is for another configuration; BAD_ARGUMENTS: a line is none, or
            the result is no ensemble; NEW_CONFIG_NO_QUORUM: it would not get going.
    """
    if request.version not in (ANY_VERSION, now.version):
        raise CoordinationError(Code.BAD_VERSION)
    try:
        if request.members:
            if request.joining or request.leaving:
                raise ValueError("either changes or members")
            members = [Member.parse(line) for line in request.members]
        else:
            by_id = {member.id: member for member in now.members if member.id not in request.leaving}
            by_id |= {member.id: member for member in map(Member.parse, request.joining)}
            members = list(by_id.values())
        addresses = [(m.host, port) for m in members for port in (m.quorum_port, m.election_port)]
        if len(set(addresses)) < len(addresses):
            raise ValueError("two members have the same address")
        result = Configuration.of(members, zxid)
    except ValueError:
        raise CoordinationError(Code.BAD_ARGUMENTS) from None
    if synced is not None and not result.is_quorum(synced):
        raise CoordinationError(Code.NEW_CONFIG_NO_QUORUM)
    return result
