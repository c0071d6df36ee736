"""What a server allows: an operator's settings, as far as they concern the database."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """What a server allows.

    Attributes:
        data: bytes of a znode (Apache's `jute.maxbuffer`).
        enforce_quota: whether quotas are looked at.
        time_to_live: whether znodes may have one (`extendedTypesEnabled`).
        reconfigure: whether the ensemble may change (`reconfigEnabled`).
        check_acl: whether access control lists are looked at (the opposite of `skipACL`).
    """

    data: int = 0xFFFFF
    enforce_quota: bool = True
    time_to_live: bool = True
    reconfigure: bool = True
    check_acl: bool = True


DEFAULT = Limits()
