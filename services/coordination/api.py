"""The vocabulary of the service: requests, results, events, errors. Both doors and the client speak it.

Names and numbers are Apache ZooKeeper's (`KeeperException.Code`, `CreateMode`, `ZooDefs`), so that a reader
with its documentation open finds everything, and the wire door has nothing to translate but the encoding.
Everything here is a value; nothing here does anything. In MessagePack each is a list, its kind first where
there are several: ["Create", "/a", ...]. Of what a server says, `Reply | Event` is the type.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeAlias

from msgspec import Struct

ANY_VERSION = -1  # an expected version that matches every version (2.2)


class Code(IntEnum):
    """How a request ended."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    DATA_INCONSISTENCY = -3
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    UNKNOWN_SESSION = -12
    NEW_CONFIG_NO_QUORUM = -13
    RECONFIG_IN_PROGRESS = -14
    API_ERROR = -100
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_CALLBACK = -113
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    EPHEMERAL_ON_LOCAL_SESSION = -120
    NO_WATCHER = -121
    REQUEST_TIMEOUT = -122
    RECONFIG_DISABLED = -123
    QUOTA_EXCEEDED = -125
    THROTTLED = -127


class CoordinationError(Exception):
    """A request that did not succeed.

    Attributes:
        code: why.
        path: of the znode that it was about ("" where there is none).
    """

    def __init__(self, code: Code, path: str = "") -> None:
        super().__init__(f"{code.name}{f' at {path}' if path else ''}")
        self.code = code
        self.path = path


class CreateMode(IntEnum):
    """What kind of znode `create` makes (2.1; containers and time-to-live are Apache's)."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_TTL = 5
    PERSISTENT_SEQUENTIAL_TTL = 6

    @property
    def ephemeral(self) -> bool:
        """Whether the system deletes it when the creating session ends."""
        return self in (CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL)

    @property
    def sequential(self) -> bool:
        """Whether its name gets a counter."""
        return self in (
            CreateMode.PERSISTENT_SEQUENTIAL,
            CreateMode.EPHEMERAL_SEQUENTIAL,
            CreateMode.PERSISTENT_SEQUENTIAL_TTL,
        )

    @property
    def has_ttl(self) -> bool:
        """Whether it goes when it was not modified for its time to live and has no children."""
        return self in (CreateMode.PERSISTENT_TTL, CreateMode.PERSISTENT_SEQUENTIAL_TTL)


class Permission(IntFlag):
    """What an ACL entry allows."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class Acl(Struct, frozen=True, array_like=True):
    """One entry of an access control list: who (scheme and id) may do what."""

    permissions: int
    scheme: str
    id: str


OPEN_ACL = (Acl(Permission.ALL, "world", "anyone"),)


class Identity(Struct, frozen=True, array_like=True):
    """Who a session is, after authentication: ("ip", "10.0.0.1"), ("digest", "user:hash"), ("super", "")."""

    scheme: str
    id: str


class Stat(Struct, frozen=True, array_like=True):
    """What is known of a znode besides its data. Times are ms since the Unix epoch by the leader's clock."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


# Requests


class Request(Struct, frozen=True, tag=True, array_like=True):
    """What a session may ask. `path` is absolute; versions are expected ones, -1 for any."""


class Create(Request, frozen=True):
    """Creates a znode; the answer is its name, which a sequential one learns only so. `ttl` in ms."""

    path: str
    data: bytes | None = b""
    acl: tuple[Acl, ...] = OPEN_ACL
    mode: CreateMode = CreateMode.PERSISTENT
    ttl: int = 0


class Delete(Request, frozen=True):
    """Deletes a znode without children."""

    path: str
    version: int = ANY_VERSION


class SetData(Request, frozen=True):
    """Puts new data in the place of the old."""

    path: str
    data: bytes | None
    version: int = ANY_VERSION


class SetAcl(Request, frozen=True):
    """Puts another access control list in place; `version` is of the list (`aversion`)."""

    path: str
    acl: tuple[Acl, ...]
    version: int = ANY_VERSION


class Check(Request, frozen=True):
    """Succeeds if the version is the expected one; changes nothing. Inside `Multi`."""

    path: str
    version: int = ANY_VERSION


class Multi(Request, frozen=True):
    """All or nothing: creates, deletes, writes and checks as one transaction."""

    operations: tuple[Create | Delete | SetData | Check, ...]


class CreateSession(Request, frozen=True):
    """Opens a session (by the server to itself, for a client that connects)."""

    timeout: int  # ms, negotiated
    password: bytes


class CloseSession(Request, frozen=True):
    """Ends the session: its ephemerals go with it, in one transaction."""


class Reconfigure(Request, frozen=True):
    """Changes the ensemble, by changes (joining, leaving) or whole (members), if it is at `version`."""

    joining: tuple[str, ...] = ()  # "server.4=host:2888:3888:participant;2181"
    leaving: tuple[int, ...] = ()
    members: tuple[str, ...] = ()
    version: int = ANY_VERSION


Update: TypeAlias = (
    Create | Delete | SetData | SetAcl | Check | Multi | CreateSession | CloseSession | Reconfigure
)
"""What becomes a transaction: forwarded to the leader, ordered by Zab, answered when delivered here."""


class GetData(Request, frozen=True):
    """Reads data and stat; leaves no watch where there is no znode."""

    path: str
    watch: bool = False


class Exists(Request, frozen=True):
    """Reads the stat; the watch stays where there is no znode, and sees its creation."""

    path: str
    watch: bool = False


class GetChildren(Request, frozen=True):
    """Lists the names of the children, and the stat."""

    path: str
    watch: bool = False


class GetAcl(Request, frozen=True):
    """Reads the access control list and the stat."""

    path: str


class MultiRead(Request, frozen=True):
    """Several reads at one instant; each has its own result or error."""

    operations: tuple[GetData | GetChildren, ...]


class GetEphemerals(Request, frozen=True):
    """Lists this session's ephemerals whose path begins with `prefix`."""

    prefix: str = "/"


class GetAllChildrenNumber(Request, frozen=True):
    """Counts all descendants."""

    path: str


class WhoAmI(Request, frozen=True):
    """Lists the identities of this session."""


class Authenticate(Request, frozen=True):
    """Adds an identity to this session, e.g. scheme "digest", b"user:password"."""

    scheme: str
    credentials: bytes


class Sync(Request, frozen=True):
    """Answered when this server has all that was pending at the leader when the leader saw it (4.4)."""

    path: str = "/"


class WatchKind(IntEnum):
    """What a watch looks at (`WatcherType`)."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


class AddWatch(Request, frozen=True):
    """Sets a persistent watch, recursive or not (3.6)."""

    path: str
    recursive: bool = False


class RemoveWatches(Request, frozen=True):
    """Takes watches of this session back; NO_WATCHER when there are none."""

    path: str
    kind: WatchKind = WatchKind.ANY


class CheckWatches(Request, frozen=True):
    """Says, without taking it back, whether there is such a watch (NO_WATCHER when not)."""

    path: str
    kind: WatchKind = WatchKind.ANY


class SetWatches(Request, frozen=True):
    """Registers watches again after a reconnection; what changed since `relative_zxid` fires at once."""

    relative_zxid: int
    data: tuple[str, ...] = ()
    exist: tuple[str, ...] = ()
    child: tuple[str, ...] = ()
    persistent: tuple[str, ...] = ()
    persistent_recursive: tuple[str, ...] = ()


class Ping(Request, frozen=True):
    """Keeps the session alive; the answer carries the server's last zxid."""


Read: TypeAlias = (
    GetData
    | Exists
    | GetChildren
    | GetAcl
    | MultiRead
    | GetEphemerals
    | GetAllChildrenNumber
    | WhoAmI
    | AddWatch
    | RemoveWatches
    | CheckWatches
    | SetWatches
)
"""What a server answers from its own replica."""

AnyRequest: TypeAlias = Update | Read | Authenticate | Sync | Ping

# Results


class Result(Struct, frozen=True, tag=True, array_like=True):
    """What an answered request returns."""


class Nothing(Result, frozen=True):
    """It is done; there is nothing to say (delete, check, sync, close, ping, ...)."""


class Created(Result, frozen=True):
    """The znode's name, with its counter when it is sequential."""

    path: str
    stat: Stat


class Written(Result, frozen=True):
    """The stat after `SetData` or `SetAcl`, or of `Exists`."""

    stat: Stat


class Data(Result, frozen=True):
    """A znode's data (also the new configuration, after `Reconfigure`)."""

    data: bytes | None
    stat: Stat


class Children(Result, frozen=True):
    """Names (not paths) of the children, sorted."""

    names: tuple[str, ...]
    stat: Stat


class AclOf(Result, frozen=True):
    """An access control list."""

    acl: tuple[Acl, ...]
    stat: Stat


class Paths(Result, frozen=True):
    """Paths of ephemerals."""

    paths: tuple[str, ...]


class Count(Result, frozen=True):
    """A number of znodes."""

    count: int


class Identities(Result, frozen=True):
    """Who the session is."""

    identities: tuple[Identity, ...]


class Failed(Result, frozen=True):
    """One operation of several that did not succeed (RUNTIME_INCONSISTENCY: because another did not)."""

    code: Code


class Several(Result, frozen=True):
    """Results of `Multi` or `MultiRead`, operation by operation."""

    results: tuple[AnyResult, ...]


AnyResult: TypeAlias = (
    Nothing | Created | Written | Data | Children | AclOf | Paths | Count | Identities | Failed | Several
)


class Reply(Struct, frozen=True, tag=True, tag_field="kind", array_like=True):
    """The answer to one request of a session. Replies come in the order of the requests (2.3).

    Attributes:
        xid: the client's number of the request.
        zxid: the last transaction that the server had delivered when it answered (4.4).
        code: OK, or why not; `result` is then None, except for a `Multi`, whose parts say why.
    """

    xid: int
    zxid: int
    code: Code
    result: AnyResult | None = None


class EventType(IntEnum):
    """What a watch saw."""

    NONE = -1  # the session's state changed
    CREATED = 1
    DELETED = 2
    DATA_CHANGED = 3
    CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7


class SessionState(IntEnum):
    """What a client knows of its session (`KeeperState`)."""

    DISCONNECTED = 0
    CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    EXPIRED = -112
    CLOSED = 7


class Event(Struct, frozen=True, tag=True, tag_field="kind", array_like=True):
    """Says *that* something changed, not what (2.1); it precedes any reply that shows the change (2.3)."""

    type: EventType
    path: str
    zxid: int
    state: SessionState = SessionState.CONNECTED
