"""The real implementation of the door: `Host` on real gRPC, files, clocks and processes.

Start with `host.py`; `door.py` holds what faults do to it. `standalone.py` is a host outside of any cluster,
whose calls may do without gRPC (`plain.py`).
"""

import os

# Where nodes come and go, what gRPC's core has to say of it on stderr is no news. (Read when it starts.)
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
