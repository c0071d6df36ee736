"""The tablet of a group (2.1): the state that its log makes, the same at every replica.

Read `tablet.py` first: it applies the entries. What it is made of: `versions.py` (rows with their history),
`prepared.py` (what is
undecided: t_TM_safe), `outcomes.py`, `ownership.py` (which keys, and when), `staging.py` (moves),
`served.py` (reads that later entries are held against), `snapshot.py` (a tablet in pieces). `errors.py`:
what must never happen is detected, and stops the replica.
"""

from services.spanner.tablet.errors import Contradiction
from services.spanner.tablet.outcomes import RETENTION, Decision
from services.spanner.tablet.ownership import Tenure
from services.spanner.tablet.tablet import Tablet
from services.spanner.tablet.versions import FOREVER

__all__ = ["FOREVER", "RETENTION", "Contradiction", "Decision", "Tablet", "Tenure"]
