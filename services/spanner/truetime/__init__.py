"""TrueTime (section 3): clocks that know how wrong they may be."""

from services.spanner.truetime.interval import Interval, TrueTime

__all__ = ["Interval", "TrueTime"]
