"""What a fault means for the door of a host of a real cluster: its links, its speed, its disk, its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos import control_pb2
from sim import faults

if TYPE_CHECKING:
    from sim.faults import AnyFault


def add_link_rules(links: dict[str, control_pb2.Link], fault: AnyFault, host: str) -> None:
    """Adds what a fault means for the links of `host` ("": of a host that no fault names)."""

    def link(peer: str) -> control_pb2.Link:
        return links.setdefault(peer, control_pb2.Link(peer=peer))

    match fault:
        case faults.Partition(groups=groups):
            own = next((group for group in groups if host in group), None)
            for peer in [peer for group in groups if own and group is not own for peer in group]:
                link(peer).cut_out = link(peer).cut_in = True
        case faults.Cut(source=source, target=target, both=both):
            if host == source:
                link(target).cut_out = True
                link(target).cut_in |= both
            if host == target:
                link(source).cut_in = True
                link(source).cut_out |= both
        case faults.Isolate(host=isolated):
            peer = "" if host == isolated else isolated
            link(peer).cut_out = link(peer).cut_in = True
        case faults.Delay(source=source, target=target, seconds=seconds, jitter=jitter):
            if source in ("", host):
                link(target).delay_s += seconds
                link(target).jitter_s += jitter
        case faults.Loss(source=source, target=target, rate=rate):
            if source in ("", host):
                link(target).loss = 1 - (1 - link(target).loss) * (1 - rate)
        case _:
            pass


def add_host_rules(rules: control_pb2.Rules, fault: AnyFault) -> None:
    """Adds what a fault means for the host that it names."""
    match fault:
        case faults.Slow(cpu=cpu, disk=disk):
            rules.slow *= cpu
            rules.disk.slow *= disk
        case faults.SlowDisk(factor=factor):
            rules.disk.slow *= factor
        case faults.DiskFull():
            rules.disk.full = True
        case faults.SyncFails():
            rules.disk.sync_fails = True
        case faults.ClockSkew(seconds=seconds):
            rules.clock.offset_s += seconds
        case faults.LyingMaster(seconds=seconds):
            rules.clock.lie_s += seconds
        case _:
            pass
