"""What can be set about transactions."""

from __future__ import annotations

from msgspec import Struct


class TransactionSettings(Struct, frozen=True):
    """Times of transactions, in seconds.

    Attributes:
        idle_transaction_s: one that was not heard of for so long is aborted, unless it is prepared
            (4.2.1: clients send keepalives).
        prepare_s: so long a coordinator waits for the votes of the participants, and a commit or a prepare
            for its locks, before the transaction is aborted (4.2.1: "or abort on time-out").
        undecided_s: so long a coordinator that a participant asks waits for the client's commit before it
            logs `Abort`: the vote may have been faster than the commit.
        ask_again_s: so long a participant waits for the outcome before it asks again, and the pause between
            two attempts to reach the coordinator at the most.
        remembered_s: so long a leader remembers that it has ended a transaction whose outcome is in no log.
        retry_s: what ABORTED advises clients to wait.
        keep_s: so long versions are kept that others have followed (Cloud Spanner: an hour). Reads further
            back are refused.
        commit_wait: False: the commit wait is left out. Wrong, unless the clocks are perfect; for
            experiments (Table 3's "1D", and to see what breaks).
        wound_wait: False: who asks for a lock waits, and nobody is wounded: those that wait for each other do
            so until their time is over. For experiments.
        outcomes: False: who asks for a commit again is not told of the first one, but taken for somebody
            whose locks are lost. For experiments.
    """

    idle_transaction_s: float = 10.0
    prepare_s: float = 10.0
    undecided_s: float = 2.0
    ask_again_s: float = 2.0
    remembered_s: float = 60.0
    retry_s: float = 0.01
    keep_s: float = 3600.0
    commit_wait: bool = True
    wound_wait: bool = True
    outcomes: bool = True
