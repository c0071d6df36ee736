"""TrueTime (section 3): clocks that know how wrong they may be.

Read `interval.py` first, then `timeslave.py`; `marzullo.py` is what a timeslave makes of its masters'
answers, `master.py` the masters' program, `fixed.py` a TrueTime without masters.
"""

from services.spanner.truetime.fixed import FixedTrueTime
from services.spanner.truetime.interval import Interval, TrueTime, Unsynchronized
from services.spanner.truetime.settings import Master, MasterSettings, Settings, masters_of
from services.spanner.truetime.timeslave import Timeslave

__all__ = [
    "FixedTrueTime",
    "Interval",
    "Master",
    "MasterSettings",
    "Settings",
    "Timeslave",
    "TrueTime",
    "Unsynchronized",
    "masters_of",
]
