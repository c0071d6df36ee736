"""Numbers of a server since its start, kept cheaply: what `stat`, `mntr` and the metrics tell."""

from __future__ import annotations


class Figures:
    """Counts requests and how long they took.

    Attributes:
        requests: that were answered.
        latency_min, latency_max, latency_sum: seconds from taking a request to answering it.
        received, sent: messages from and to clients.
        opened, expired: sessions.
    """

    __slots__ = (
        "expired",
        "latency_max",
        "latency_min",
        "latency_sum",
        "opened",
        "received",
        "refused",
        "requests",
        "sent",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins anew (`srst`)."""
        self.requests = self.received = self.sent = self.opened = self.expired = self.refused = 0
        self.latency_min = self.latency_max = self.latency_sum = 0.0

    def answered(self, took: float) -> None:
        """Counts an answer that took that many seconds."""
        self.requests += 1
        self.sent += 1
        self.latency_sum += took
        if took > self.latency_max:
            self.latency_max = took
        if took < self.latency_min or self.requests == 1:
            self.latency_min = took
