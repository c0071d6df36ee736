"""A fault as it is given, and told, on a command line: a kind, targets, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sim.faults import KINDS, AnyFault, kind_of
from sim.scenario.errors import InvalidInput, near

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def parse(kind: str, targets: Sequence[str], settings: Mapping[str, str]) -> list[AnyFault]:
    """Returns the faults that are meant: one a host, or one between two.

    Args:
        kind: as in `sim.faults.KINDS`.
        targets: hosts; for a partition its groups, each "a,b"; for a cut, a delay or a loss the two
            ends ("any" for every host).
        settings: the other fields of the kind.

    Raises:
        InvalidInput: no such kind, the wrong number of targets, or a setting that it does not take.
    """
    known = KINDS.get(kind)
    if known is None:
        raise InvalidInput(
            f"there is no fault {kind!r}{near(kind, KINDS)} (there are: {', '.join(sorted(KINDS))})"
        )
    fields = {field.name: field.type for field in msgspec.structs.fields(known)}
    target_fields = [name for name in ("host", "source", "target", "groups") if name in fields]
    for name in settings:
        if name not in fields or name in target_fields:
            valid = [field for field in fields if field not in target_fields]
            raise InvalidInput(f"{kind} has no setting {name!r}; it has: {', '.join(valid) or 'none'}")
    if missing := [
        field.name
        for field in msgspec.structs.fields(known)
        if field.required and field.name not in target_fields and field.name not in settings
    ]:
        wanted = " ".join(f"--set {name}=..." for name in missing)
        raise InvalidInput(f"{kind} needs {wanted}")
    given = [{**settings, **target} for target in _targets(kind, target_fields, targets)]
    try:
        return [msgspec.convert({"kind": kind, **one}, AnyFault, strict=False) for one in given]
    except msgspec.ValidationError as exc:
        raise InvalidInput(f"{kind}: {exc}") from None


def said(fault: AnyFault) -> str:
    """Returns a fault in the words that `parse` understands, with every setting."""
    fields = msgspec.structs.asdict(fault)
    words = [kind_of(fault)]
    for name, value in fields.items():
        if name == "groups":
            words += [",".join(group) for group in value]
        elif name in ("host", "source", "target"):
            words.append(value or "any")
        elif value != "":
            words.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
    return " ".join(words)


def _targets(kind: str, fields: Sequence[str], targets: Sequence[str]) -> list[dict[str, Any]]:
    if fields == ["host"]:
        if not targets:
            raise InvalidInput(f"{kind} needs a host: dsim fault {kind} HOST")
        return [{"host": host} for host in targets]
    if fields == ["groups"]:
        if len(targets) < 2:
            raise InvalidInput(f"{kind} needs two groups or more: dsim fault {kind} a,b c")
        return [{"groups": [group.split(",") for group in targets]}]
    if len(targets) != 2:
        raise InvalidInput(f"{kind} needs two hosts: dsim fault {kind} FROM TO")
    ends = ["" if target == "any" else target for target in targets]
    return [{"source": ends[0], "target": ends[1]}]
