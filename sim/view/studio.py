"""A process of its own that loads matplotlib while a simulation runs, and then draws.

Loading matplotlib takes half a second, more than a small simulation: started first, it is done by
the time the trace is. `with Studio() as studio:` starts it, `studio.draw(...)` draws as
`sim.view.draw` does. The process ends when the studio is closed, and when its owner is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sim.view import ViewError, draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import BinaryIO, Self


PROGRAM = (
    "import gc; gc.disable(); import sys; from sim.view.studio import serve; "
    "serve(sys.stdin.buffer, sys.stdout.buffer)"
)
"""Without the collector, which finds no garbage among modules, loading takes a tenth less time."""


class Order(Struct):
    """What `draw` is to be called with."""

    run_dir: str
    kinds: list[str] | None
    start_s: float | None
    end_s: float | None
    formats: list[str]


class Delivery(Struct):
    """What came of it: the files, or why there are none."""

    files: list[str] = []
    error: str = ""


class Studio:
    """A drawing process, started at once."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the owner, also before `serve` can say so
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads that nobody needs take long to start
        )

    def draw(
        self,
        run_dir: Path,
        kinds: Sequence[str] | None = None,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        formats: Sequence[str] = ("png",),
    ) -> list[Path]:
        """Draws as `sim.view.draw` does.

        Raises:
            ViewError: as `sim.view.draw` does; or the process is gone.
        """
        order = Order(str(run_dir), None if kinds is None else list(kinds), start_s, end_s, list(formats))
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(msgspec.json.encode(order) + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise ViewError(f"the drawing process ended (status {self._child.wait()})")
        delivery = msgspec.json.decode(line, type=Delivery)
        if delivery.error:
            raise ViewError(delivery.error)
        return [Path(file) for file in delivery.files]

    def close(self) -> None:
        """Ends the process; a second call does nothing."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.kill()  # it holds nothing that is worth a farewell
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):  # what it did not read any more
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(orders: BinaryIO, deliveries: BinaryIO) -> None:
    """Loads matplotlib, then carries out one order a line until there are no more."""
    import gc
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes
    from sim.view import spacetime  # noqa: F401  # loads what every picture needs

    gc.freeze()
    gc.enable()
    for line in orders:
        order = msgspec.json.decode(line, type=Order)
        try:
            files = draw(
                Path(order.run_dir),
                order.kinds,
                start_s=order.start_s,
                end_s=order.end_s,
                formats=order.formats,
            )
            delivery = Delivery([str(file) for file in files])
        except ViewError as error:
            delivery = Delivery(error=str(error))
        try:
            deliveries.write(msgspec.json.encode(delivery) + b"\n")
            deliveries.flush()
        except BrokenPipeError:  # nobody is there any more to take it
            os._exit(1)
