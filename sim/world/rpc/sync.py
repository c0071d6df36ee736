"""What handlers see that are no coroutines: the context of grpc's synchronous interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc._cython import cygrpc

from sim.world.rpc import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.world.rpc.context import Context


class SyncContext(grpc.ServicerContext):
    """What a handler that is not a coroutine sees: the context of grpc's synchronous interface.

    grpc.aio runs such a handler in a thread; a simulated process has one, and runs it inline.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._callbacks: list[Callable[[], object]] = []

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """Ends the RPC with a status.

        Raises:
            AbortError: always.
        """
        self._context._abort_now(code, details, trailing_metadata)
        assert self._context._abort is not None
        raise self._context._abort

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the RPC with a `grpc.Status`.

        Raises:
            AbortError: always.
        """
        self.abort(status.code, status.details, status.trailing_metadata)

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Sends the initial metadata."""
        context = self._context
        context._check()
        if context._headers_sent:
            raise cygrpc.UsageError("Send initial metadata failed: already sent")
        context._send_headers(initial_metadata)

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Has `callback()` called when the handler has returned."""
        self._callbacks.append(callback)
        return True

    def is_active(self) -> bool:
        """Says whether the RPC goes on."""
        return not self._context._status_sent and not self._context._client_closed

    def cancel(self) -> bool:
        """Ends the RPC."""
        self._context._refuse(status.CANCELLED, "Cancelled on the server side")
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Sets what is sent with the status."""
        self._context.set_trailing_metadata(trailing_metadata)

    def invocation_metadata(self) -> Any:
        """Returns the client's metadata."""
        return self._context.invocation_metadata()

    def set_code(self, code: Any) -> None:
        """Sets the code that the RPC ends with."""
        self._context.set_code(code)

    def set_details(self, details: str) -> None:
        """Sets the details that the RPC ends with."""
        self._context.set_details(details)

    def peer(self) -> str:
        """Returns the client's address."""
        return self._context.peer()

    def peer_identities(self) -> None:
        """Returns None: nobody is authenticated."""

    def peer_identity_key(self) -> None:
        """Returns None: nobody is authenticated."""

    def auth_context(self) -> Any:
        """Returns what an insecure connection has."""
        return self._context.auth_context()

    def time_remaining(self) -> Any:
        """Returns the seconds until the deadline; None without one."""
        return self._context.time_remaining()
