"""The vocabulary of faults, for both worlds, and schedules of them.

A fault is a value; a schedule is a list of timed actions, kept as JSON in the run folder, so that
replaying, editing and shrinking work on data. A world applies a fault with `inject` and, for those
that last, ends it with `lift`. What lasts and what happens in an instant is a property of the kind:
`Crash` lasts until the host is restarted, `ClockJump` is over at once.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec
from msgspec import Struct


class Fault(
    Struct, tag_field="kind", frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True
):
    """The base of all faults.

    Attributes:
        lasting: it holds until it is lifted; otherwise it happens once.
    """

    lasting: ClassVar[bool] = True

    def hosts(self) -> list[str]:
        """Returns the hosts it acts on."""
        return [value for field in ("host", "source", "target") if (value := getattr(self, field, ""))]


# Hosts


class Crash(Fault, frozen=True, tag="crash"):
    """The process dies at once (SIGKILL); what it had not synced is lost. Lifted by a restart."""

    host: str


class Pause(Fault, frozen=True, tag="pause"):
    """The process stops where it stands (SIGSTOP). Lifted by going on."""

    host: str


class Slow(Fault, frozen=True, tag="slow"):
    """A straggler: processor and disk take `cpu` and `disk` times as long."""

    host: str
    cpu: float = 4.0
    disk: float = 1.0


# Network


class Partition(Fault, frozen=True, tag="partition"):
    """Hosts in different groups cannot reach each other; hosts in no group reach everybody.

    Messages vanish (no polite refusal); connections hang, and go on when it is lifted.
    """

    groups: list[list[str]]

    def hosts(self) -> list[str]:
        """Returns the hosts it acts on."""
        return [host for group in self.groups for host in group]


class Cut(Fault, frozen=True, tag="cut"):
    """The link from `source` to `target` is dead, in that direction only unless `both`."""

    source: str
    target: str
    both: bool = True


class Isolate(Fault, frozen=True, tag="isolate"):
    """A host reaches nobody and nobody reaches it."""

    host: str


class Delay(Fault, frozen=True, tag="delay"):
    """Messages from `source` to `target` ("" for any) take longer, by `seconds` plus up to `jitter`."""

    source: str = ""
    target: str = ""
    seconds: float = 0.1
    jitter: float = 0.0


class Loss(Fault, frozen=True, tag="loss"):
    """Packets from `source` to `target` ("" for any) are lost with this probability.

    gRPC runs on TCP: what is seen is the delay of retransmissions.
    """

    source: str = ""
    target: str = ""
    rate: float = 0.1


class LoseReply(Fault, frozen=True, tag="lose-reply"):
    """The next `count` replies of `host` to calls of `method` ("" for any) are lost after execution;
    the connection breaks, so that the caller gets UNAVAILABLE and cannot know.
    """

    lasting: ClassVar[bool] = False

    host: str
    method: str = ""
    count: int = 1


# Disk


class DiskFull(Fault, frozen=True, tag="disk-full"):
    """Writing fails with ENOSPC."""

    host: str


class SyncFails(Fault, frozen=True, tag="sync-fails"):
    """Syncing fails with EIO, and the bytes that were to be synced are lost."""

    host: str


class SlowDisk(Fault, frozen=True, tag="slow-disk"):
    """Each disk operation takes `factor` times as long."""

    host: str
    factor: float = 10.0


class Corrupt(Fault, frozen=True, tag="corrupt"):
    """One byte of a file (chosen by the seed when `path` is "") is flipped on the platter."""

    lasting: ClassVar[bool] = False

    host: str
    path: str = ""


class TornWrite(Fault, frozen=True, tag="torn-write"):
    """The next crash of `host` leaves a prefix of the write that was in flight."""

    lasting: ClassVar[bool] = False

    host: str


# Clock


class ClockSkew(Fault, frozen=True, tag="clock-skew"):
    """The wall clock is wrong by `seconds` while this holds."""

    host: str
    seconds: float


class ClockDrift(Fault, frozen=True, tag="clock-drift"):
    """The clock runs fast by `rate` (0.0002 is 200 µs a second; negative: slow)."""

    host: str
    rate: float


class ClockJump(Fault, frozen=True, tag="clock-jump"):
    """The wall clock jumps by `seconds`, for good."""

    lasting: ClassVar[bool] = False

    host: str
    seconds: float


class LyingMaster(Fault, frozen=True, tag="lying-master"):
    """A time master answers with a time that is wrong by `seconds`, and claims to be sure of it."""

    host: str
    seconds: float


AnyFault: TypeAlias = (
    Crash
    | Pause
    | Slow
    | Partition
    | Cut
    | Isolate
    | Delay
    | Loss
    | LoseReply
    | DiskFull
    | SyncFails
    | SlowDisk
    | Corrupt
    | TornWrite
    | ClockSkew
    | ClockDrift
    | ClockJump
    | LyingMaster
)

KINDS: dict[str, type[Fault]] = {str(kind.__struct_config__.tag): kind for kind in AnyFault.__args__}
"""Every kind of fault by its name."""


def kind_of(fault: Fault) -> str:
    """Returns the name of a fault's kind."""
    return str(fault.__struct_config__.tag)


_LEAST, _MOST = 1e-9, 1e9
_FACTOR = (_LEAST, _MOST, "above 0, at most 1e9")
_SECONDS = (-_MOST, _MOST, "between -1e9 and 1e9")
_WAIT = (0.0, _MOST, "0 or more, at most 1e9")

_RANGES: dict[type[Fault], tuple[tuple[str, float, float, str], ...]] = {
    Slow: (("cpu", *_FACTOR), ("disk", *_FACTOR)),
    SlowDisk: (("factor", *_FACTOR),),
    Delay: (("seconds", *_WAIT), ("jitter", *_WAIT)),
    Loss: (("rate", 0.0, 1.0, "between 0 and 1"),),
    LoseReply: (("count", 1, _MOST, "1 or more"),),
    ClockSkew: (("seconds", *_SECONDS),),
    ClockDrift: (("rate", -0.999, 9.999, "above -1 and below 10"),),
    ClockJump: (("seconds", *_SECONDS),),
    LyingMaster: (("seconds", *_SECONDS),),
}
"""Field, least, most, and how to say so. A comparison with nan is false, so nan is refused as well."""


def check_values(fault: Fault) -> None:
    """Refuses what makes no sense in any world.

    Raises:
        ValueError: in one line: a value is out of range, a host is not named or is named twice.
    """
    kind = kind_of(fault)
    for field in ("host", "source", "target"):
        if getattr(fault, field, "-") == "" and not isinstance(fault, Delay | Loss):
            raise ValueError(f"{kind}: {field} must name a host")
    if isinstance(fault, Partition):
        if len(fault.groups) < 2:
            raise ValueError("partition: groups must be two or more")
        names = fault.hosts()
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"partition: {twice[0]} is in two groups")
    if isinstance(fault, Cut) and fault.source == fault.target:
        raise ValueError(f"cut: {fault.source} cannot be cut off from itself")
    for field, least, most, what in _RANGES.get(type(fault), ()):
        value = getattr(fault, field)
        if not least <= value <= most:
            raise ValueError(f"{kind}: {field} is {value}, must be {what}")


class Action(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A fault at a time.

    Attributes:
        at: seconds since the start of the run.
        fault: what happens.
        lasts: seconds until it is lifted; None leaves it until the end (or the final healing).
    """

    at: float
    fault: AnyFault
    lasts: float | None = None


def read_schedule(data: bytes) -> list[Action]:
    """Decodes a schedule.

    Raises:
        msgspec.ValidationError: with the place and what was expected there.
    """
    schedule = msgspec.json.decode(data, type=list[Action])
    for number, action in enumerate(schedule):
        for field, value in (("at", action.at), ("lasts", action.lasts)):
            if value is not None and not 0 <= value <= 1e9:
                raise msgspec.ValidationError(
                    f"Expected 0 to 1e9 seconds, not {value:g} - at `$[{number}].{field}`"
                )
    return schedule


def write_schedule(schedule: list[Action]) -> bytes:
    """Encodes a schedule, one action a line."""
    return b"[" + b",\n ".join(msgspec.json.encode(action) for action in schedule) + b"]\n"
