"""The spanserver (2.1): one process that hosts replicas of many groups.

| module | what it holds |
| --- | --- |
| `program.py` | `serve`: all of it on one host |
| `server.py` | the groups that are here: opened, created, dropped |
| `calls.py`, `checks.py` | what clients and other leaders ask, and what a request must be |
| `door.py`, `pipeline.py` | the gRPC door; many calls on one stream |
| `administration.py` | what placement asks |
| `coordinators.py` | what leaders here ask leaders elsewhere |
| `genesis.py` | the first entry of a group that there is from the beginning |
| `settings.py` | what an operator may set |

Groups have neither tasks nor streams of their own: one log, one timer, one stream to each other server. So a
server with ten thousand groups that nobody asks for anything does nothing.
"""

from services.spanner.spanserver.program import serve
from services.spanner.spanserver.settings import Founding, Settings

__all__ = ["Founding", "Settings", "serve"]
