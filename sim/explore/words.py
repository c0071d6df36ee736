"""A schedule of faults in words that a human can follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.faults import Action, AnyFault


def describe(schedule: Sequence[Action]) -> list[str]:
    """Returns a sentence for each action, in the order of time.

    For example: "at 1.2 s, host b crashes; at 2 s it restarts".
    """
    return [sentence(action) for action in sorted(schedule, key=lambda action: action.at)]


def sentence(action: Action) -> str:
    """Returns one action in words."""
    begins, ends = _words(action.fault)
    said = f"at {action.at:g} s, {begins}"
    if not type(action.fault).lasting:
        return said
    if action.lasts is None:
        return f"{said}, until the end"
    return f"{said}; at {round(action.at + action.lasts, 4):g} s {ends}"


def _words(fault: AnyFault) -> tuple[str, str]:
    """Returns what happens, and what happens when it is over."""
    match fault:
        case faults.Crash(host=host):
            return f"host {host} crashes", "it restarts"
        case faults.Pause(host=host):
            return f"host {host} is paused", "it goes on"
        case faults.Slow(host=host, cpu=cpu, disk=disk):
            disk_too = f", its disk {disk:g} times" if disk != 1 else ""
            return f"host {host} becomes {cpu:g} times slower{disk_too}", "it is fast again"
        case faults.Partition(groups=groups):
            return f"the network splits: {' | '.join(', '.join(group) for group in groups)}", "it heals"
        case faults.Cut(source=source, target=target, both=both):
            link = f"between {source} and {target}" if both else f"from {source} to {target} (one way)"
            return f"the link {link} is cut", "it heals"
        case faults.Isolate(host=host):
            return f"host {host} is cut off from everybody", "it is reachable again"
        case faults.Delay(seconds=seconds, jitter=jitter):
            up_to = f" and up to {jitter:g} s more" if jitter else ""
            return f"messages {_link(fault)} take {seconds:g} s longer{up_to}", "they are fast again"
        case faults.Loss(rate=rate):
            return f"{rate:.3g} of the packets {_link(fault)} are lost", "none are"
        case faults.LoseReply(host=host, method=method, count=count):
            replies = "reply" if count == 1 else f"{count} replies"
            return f"the next {replies} of host {host}{f' to {method}' if method else ''} will be lost", ""
        case faults.DiskFull(host=host):
            return f"the disk of host {host} is full", "it has room again"
        case faults.SyncFails(host=host):
            return f"syncing fails on the disk of host {host}", "it works again"
        case faults.SlowDisk(host=host, factor=factor):
            return f"the disk of host {host} becomes {factor:g} times slower", "it is fast again"
        case faults.Corrupt(host=host, path=path):
            return f"a byte of {path or 'some file'} on host {host} is flipped", ""
        case faults.TornWrite(host=host):
            return f"the write that host {host} has in flight at its next crash will be torn", ""
        case faults.ClockSkew(host=host, seconds=seconds):
            return f"the clock of host {host} is {seconds:+g} s wrong", "it is right again"
        case faults.ClockDrift(host=host, rate=rate):
            way = "fast" if rate > 0 else "slow"
            return f"the clock of host {host} runs {way} by {abs(rate):g}", "it runs right again"
        case faults.ClockJump(host=host, seconds=seconds):
            return f"the clock of host {host} jumps by {seconds:+g} s", ""
        case faults.LyingMaster(host=host, seconds=seconds):
            return f"time master {host} lies by {seconds:+g} s", "it tells the truth again"


def _link(fault: faults.Delay | faults.Loss) -> str:
    return f"from {fault.source or 'anybody'} to {fault.target or 'anybody'}"
