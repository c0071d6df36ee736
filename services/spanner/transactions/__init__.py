"""Transactions of a group (4.2): locks, two-phase commit, reads.

Read `transactions.py` first: the doors.
"""

from services.spanner.transactions.coordinators import Coordinators
from services.spanner.transactions.settings import TransactionSettings
from services.spanner.transactions.transactions import Transactions

__all__ = ["Coordinators", "TransactionSettings", "Transactions"]
