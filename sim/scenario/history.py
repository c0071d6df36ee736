"""The history of a run: what clients asked for, and what they were told, in Jepsen's vocabulary."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from protos.history import Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from protos.history import OperationType
    from services.recorder import Recorder


class OpenOperation:
    """An operation between its invocation and its completion."""

    def __init__(self, history: History, client: int | str, f: str, value: Any, key: Any) -> None:
        self._history = history
        self._client = client
        self._f = f
        self._value = value
        self._key = key
        self.done = False

    def ok(self, value: Any = None, *, timestamp: int | None = None) -> None:
        """It took effect; `value` is what it returned (the invoked value when None).

        Args:
            timestamp: of a transaction: at which it took place, if the store tells it.
        """
        self._complete("ok", self._value if value is None else value, "", timestamp)

    def fail(self, error: str = "") -> None:
        """It certainly had no effect."""
        self._complete("fail", self._value, error)

    def info(self, error: str = "") -> None:
        """Nobody knows whether it had an effect."""
        self._complete("info", self._value, error)

    def _complete(self, kind: OperationType, value: Any, error: str, timestamp: int | None = None) -> None:
        if self.done:
            raise RuntimeError(f"operation {self._f} of client {self._client} was completed before")
        msgspec.json.encode(value)  # what cannot be written fails here, not later
        self.done = True
        self._history.complete(self._client, kind, self._f, value, self._key, error, timestamp)


class History:
    """The operations of a run, as they are invoked and completed.

    Args:
        recorder: where they are written.
        now: returns ns since the start of the run.
    """

    def __init__(self, recorder: Recorder, now: Callable[[], int]) -> None:
        self._recorder = recorder
        self._now = now
        self._index = 0
        self._processes: dict[int | str, int | str] = {}
        self._lives: dict[int | str, int] = {}
        self._open: dict[int | str, OpenOperation] = {}
        self.invoked = 0

    @asynccontextmanager
    async def operation(
        self, client: int | str, f: str, value: Any = None, *, key: Any = None
    ) -> AsyncIterator[OpenOperation]:
        """Records an operation; left without a word, or by an exception, it is `info`.

        After an `info` the operation may still take effect at any time, so the same client goes
        on as a new process ("c1", then "c1.2").

        Raises:
            RuntimeError: the client has an operation open.
        """
        if client in self._open:
            raise RuntimeError(f"client {client} has an operation open already: one at a time")
        msgspec.json.encode((key, value))
        operation = OpenOperation(self, client, f, value, key)
        self._open[client] = operation
        self.invoked += 1
        self._write(client, "invoke", f, value, key, "")
        try:
            yield operation
        except BaseException as exc:
            if not operation.done:
                operation.info(f"{type(exc).__name__}: {exc}".rstrip(": "))
            raise
        if not operation.done:
            operation.info("left without a word")

    def complete(
        self,
        client: int | str,
        kind: OperationType,
        f: str,
        value: Any,
        key: Any,
        error: str,
        timestamp: int | None = None,
    ) -> None:
        """Writes the end of the client's open operation."""
        del self._open[client]
        self._write(client, kind, f, value, key, error, timestamp)
        if kind == "info":
            life = self._lives[client] = self._lives.get(client, 1) + 1
            self._processes[client] = f"{client}.{life}"

    def close(self) -> None:
        """Completes what is still open as `info`: the run has ended and nobody knows."""
        for operation in list(self._open.values()):
            operation.info("the run ended")

    def _write(
        self,
        client: int | str,
        kind: OperationType,
        f: str,
        value: Any,
        key: Any,
        error: str,
        timestamp: int | None = None,
    ) -> None:
        process = self._processes.get(client, client)
        self._recorder.write(
            Operation(
                process,
                kind,
                f,
                value,
                self._now(),
                self._index,
                UNSET if key is None else key,
                error,
                UNSET if timestamp is None else timestamp,
            )
        )
        self._index += 1
