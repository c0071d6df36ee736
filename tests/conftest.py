"""Property tests try the same examples every time, and none fails because the machine is slow."""

from __future__ import annotations

import contextlib

# The other Pythons do without: nothing that they test draws examples.
with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "tests", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("tests")
