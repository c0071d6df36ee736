"""Transactional isolation: which anomalies does a history show, and which level do they break?

`history.py` reads transactions; `lists.py` and `registers.py` find out in which order the versions of
each key came and who depends on whom; `graph.py` holds that graph, `cycles.py` finds what in it cannot
be, `orders.py` looks for orders of versions of which nothing is known, `levels.py` says which level
forbids what; `check.py` puts it together. `timestamps.py` is another kind
of check: of a store that tells the timestamps at which its transactions took place.

The rules are those of the literature: A. Adya, "Weak consistency" (MIT, 1999); A. Cerone and A. Gotsman,
"Analysing snapshot isolation" (J. ACM, 2018); K. Kingsbury and P. Alvaro, "Elle" (VLDB, 2020).
"""

from sim.check.transactions.check import Isolation, Verdict, check
from sim.check.transactions.levels import LEVELS
from sim.check.transactions.timestamps import ExternalConsistency, TimestampReplay

__all__ = ["LEVELS", "ExternalConsistency", "Isolation", "TimestampReplay", "Verdict", "check"]
