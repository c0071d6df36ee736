"""Errors by name: `except NoNode` reads better than a comparison of codes.

Each is a `CoordinationError` with one code; a code that has no class of its own is raised as the base class.
"""

from __future__ import annotations

from services.coordination.api import Code, CoordinationError


class ConnectionLoss(CoordinationError):
    """The connection broke before the answer came: nobody knows whether the request took effect."""


class SessionExpired(CoordinationError):
    """The session is over, and its ephemerals with it. Also what a closed client answers."""


class SessionMoved(CoordinationError):
    """The session has moved to another server; this one did not carry the request out."""


class AuthFailed(CoordinationError):
    """The server did not accept the credentials; the client is of no use any more."""


class Throttled(CoordinationError):
    """Too many calls wait for an answer; this one was not carried out."""


class BadArguments(CoordinationError):
    """The request makes no sense, whatever the state; a path that is none, for example."""


class NoNode(CoordinationError):
    """There is no such znode (of a create: no parent)."""


class NodeExists(CoordinationError):
    """There is such a znode already."""


class NotEmpty(CoordinationError):
    """A znode with children cannot be deleted."""


class BadVersion(CoordinationError):
    """The version is not the expected one (2.2: conditional updates)."""


class NoChildrenForEphemerals(CoordinationError):
    """An ephemeral has no children."""


class NoAuth(CoordinationError):
    """The access control list does not allow it."""


class InvalidAcl(CoordinationError):
    """The access control list is none."""


class NotReadOnly(CoordinationError):
    """The server is cut off from a quorum and only reads."""


class NoWatcher(CoordinationError):
    """There is no such watch."""


class QuotaExceeded(CoordinationError):
    """A hard quota does not allow it."""


_CLASSES: dict[Code, type[CoordinationError]] = {
    Code.CONNECTION_LOSS: ConnectionLoss,
    Code.SESSION_EXPIRED: SessionExpired,
    Code.SESSION_MOVED: SessionMoved,
    Code.AUTH_FAILED: AuthFailed,
    Code.THROTTLED: Throttled,
    Code.BAD_ARGUMENTS: BadArguments,
    Code.NO_NODE: NoNode,
    Code.NODE_EXISTS: NodeExists,
    Code.NOT_EMPTY: NotEmpty,
    Code.BAD_VERSION: BadVersion,
    Code.NO_CHILDREN_FOR_EPHEMERALS: NoChildrenForEphemerals,
    Code.NO_AUTH: NoAuth,
    Code.INVALID_ACL: InvalidAcl,
    Code.NOT_READ_ONLY: NotReadOnly,
    Code.NO_WATCHER: NoWatcher,
    Code.QUOTA_EXCEEDED: QuotaExceeded,
}


def error(code: Code, path: str = "") -> CoordinationError:
    """Returns the error of a code, of the class of that name."""
    return _CLASSES.get(code, CoordinationError)(code, path)
