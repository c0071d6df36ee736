"""Which anomaly breaks which isolation level.

- read-committed: G0, G1a, G1b, G1c. PL-2: Adya 1999, section 3.2.
- snapshot-isolation: also cycles without two adjacent rw edges: G-single, lost update, long fork. Cerone and
  Gotsman 2018, theorem 4.1, without the order of sessions; compare PL-SI: Adya 1999, section 4.3.
- serializable: also every other cycle, G2-item. PL-3, without predicates: Adya 1999, section 3.2.
- strict-serializable: also the cycles that need the order of a process or of real time. Papadimitriou
  1979; the names of these forms: Elle (Kingsbury and Alvaro 2020).

Beside the cycles there is what no execution at all explains: reads that forget their own transaction's
write, values that nobody wrote, an element twice in a list, lists that cannot both have been there. These
break every level. The levels form a chain: what breaks one breaks all after it.
"""

from __future__ import annotations

LEVELS = ("read-committed", "snapshot-isolation", "serializable", "strict-serializable")
"""From the weakest to the strongest."""

_ALWAYS = {
    "G0": "write cycle",
    "G1a": "aborted read",
    "G1b": "intermediate read",
    "G1c": "circular information flow",
    "internal": "a read that contradicts its own transaction's writes",
    "unwritten": "a read of what nobody wrote",
    "duplicates": "an element twice in a list",
    "incompatible-order": "lists of which neither continues the other",
    "dirty-update": "a committed write on top of an aborted one",
}
_SNAPSHOT = {
    "lost-update": "two transactions read the same version and both replaced it",
    "G-single": "read skew: a cycle with a single anti-dependency",
    "long-fork": "two readers saw two writes in opposite orders",
    "G-nonadjacent": "a cycle with several anti-dependencies, none next to another",
}
_SERIAL = {"G2-item": "write skew: a cycle with adjacent anti-dependencies"}
_STAMPS = {
    "timestamp-replay": "a read of something else than timestamps say",
    "timestamp-order": "timestamps against real time",
}
MEANINGS: dict[str, str] = {**_ALWAYS, **_SNAPSHOT, **_SERIAL, **_STAMPS}
"""What each anomaly is, in a few words."""

ORDER = tuple(MEANINGS)


def meaning(name: str) -> str:
    """Returns what an anomaly is, in a few words."""
    base, form = split(name)
    forms = {
        "": "",
        "process": ", given the order of a process",
        "realtime": ", given the order of real time",
    }
    return MEANINGS[base] + forms[form]


def split(name: str) -> tuple[str, str]:
    """Returns the anomaly and its form: "", "process" or "realtime"."""
    for form in ("process", "realtime"):
        if name.endswith(f"-{form}"):
            return name.removesuffix(f"-{form}"), form
    return name, ""


def broken_level(name: str) -> str:
    """Returns the weakest level that an anomaly breaks; with it, all stronger ones."""
    base, form = split(name)
    if form:
        return "strict-serializable"
    if base in _STAMPS:
        return "external-consistency"
    if base in _ALWAYS:
        return "read-committed"
    return "snapshot-isolation" if base in _SNAPSHOT else "serializable"


def rank(name: str) -> tuple[int, int, str]:
    """Returns what to sort anomalies by: those that break the weakest level first."""
    base, form = split(name)
    return LEVELS.index(broken_level(name)), ORDER.index(base), form
