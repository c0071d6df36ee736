"""The order of writes, and each client's own order (2.C 1 and 2).

*Linearizable writes*: all writes have one order, that of their zxids, and what was over before another
began comes before it. *FIFO client order*: a client's requests are carried out and answered in the order in
which it made them. That results agree with that order is what `tree.py` checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.check.coordination.record import WRITES, Record, hexed, lines_of, zxid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.history import Operation
    from sim.check.operations import Call


class WriteOrder:
    """Each write has its own zxid, above all that any client had been told before it was asked for."""

    name = "write order"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        writers: dict[int, Call] = {}
        for call in record.requests:
            if call.f not in WRITES or not (zxid := zxid_of(call)):
                continue
            if zxid in writers:
                other = writers[zxid]
                return False, (
                    f"two writes have zxid {hexed(zxid)}: {other.f} {other.key or ''} ({lines_of(other)}) "
                    f"and "
                    f"{call.f} {call.key or ''} ({lines_of(call)})"
                )
            writers[zxid] = call
        replies = sorted((call for call in record.requests if zxid_of(call)), key=lambda call: call.returned)
        highest: Call | None = None
        coming = iter(replies)
        reply = next(coming, None)
        for write in sorted(writers.values(), key=lambda call: call.called):
            while reply is not None and reply.returned < write.called:
                if highest is None or zxid_of(reply) > zxid_of(highest):
                    highest = reply
                reply = next(coming, None)
            if highest is not None and zxid_of(write) <= zxid_of(highest):
                return False, (
                    f"{write.f} {write.key or ''} ({lines_of(write)}) has zxid {hexed(zxid_of(write))}, "
                    f"but was asked "
                    f"for after a reply with {hexed(zxid_of(highest))} ({lines_of(highest)})"
                )
        return _judged(record, len(writers)), f"{len(writers):,} writes, {len(replies):,} replies with a zxid"


class FifoOrder:
    """A session's answers come in the order of its requests, and their zxids never go back."""

    name = "FIFO client order"

    def __call__(self, history: Sequence[Operation]) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        record = Record(history)
        answers = 0
        for session in record.sessions:
            before: Call | None = None  # the last answer
            shows: Call | None = None  # the last with a zxid
            wrote: Call | None = None  # the last write's
            for call in session.answered:
                answers += 1
                if before is not None and call.called < before.called:
                    return False, (
                        f"{session} made {call.f} (line {call.called}) before {before.f} (line "
                        f"{before.called}), "
                        f"but was answered later (line {call.returned} after {before.returned})"
                    )
                before = call
                if not (zxid := zxid_of(call)):
                    continue
                if shows is not None and zxid < zxid_of(shows):
                    return False, (
                        f"{session} saw zxid {hexed(zxid_of(shows))} ({lines_of(shows)}), and then with "
                        f"{call.f} "
                        f"only {hexed(zxid)} ({lines_of(call)})"
                    )
                if call.f in WRITES:
                    if wrote is not None and zxid <= zxid_of(wrote):
                        return False, (
                            f"{session}: {call.f} ({lines_of(call)}) was asked for after {wrote.f} "
                            f"({lines_of(wrote)}) but took effect before it"
                        )
                    wrote = call
                shows = call
        return True, f"{answers:,} answers in {len(record.sessions):,} sessions"


def _judged(record: Record, writes: int) -> bool:
    """Says whether there was something to judge, or nothing to be judged."""
    return writes > 0 or not any(call.f in WRITES and call.ended == "ok" for call in record.requests)
