"""A process apart, for code that is not ours: `Host.child`.

User code may loop forever, eat memory, or take its process with it; a service that runs such code gives it
a child of its host. The child runs one call at a time, and calls are plain synchronous Python: inside, a
function sees the host's disk through `Storage`, and can tell its parent how far it is.

In the real world a child is an operating-system process, forked from a template that has the imports
behind it. In the simulated world the function runs at the instant of the call, its results and messages come
out when its processor and disk time has been paid, and what would end a process (`os.kill` of itself,
`os.abort`, `os._exit`, `sys.exit`) ends the child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import BinaryIO, Concatenate, ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


class ChildDied(Exception):
    """The process ended in the middle of a call.

    Attributes:
        how: in words: "killed by SIGSEGV", "exit status 3", "killed: no progress for 60 s".
        mark: the last number given to `Inside.mark` in this call, or -1.
    """

    def __init__(self, how: str, mark: int = -1) -> None:
        super().__init__(how)
        self.how = how
        self.mark = mark


class Storage(Protocol):
    """Files as synchronous code sees them. Paths are relative to its root, with "/" between the parts."""

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Opens a file as the builtin does; modes "rb", "wb", "ab", "xb", "r+b". Makes parent folders.

        Raises:
            OSError: as the builtin.
        """
        ...

    def rename(self, source: str, target: str) -> None:
        """Renames a file, replacing `target` atomically."""
        ...

    def remove(self, path: str) -> None:
        """Removes a file."""
        ...

    def list(self, folder: str = "") -> list[str]:
        """Returns the sorted names in a folder ([] when there is none)."""
        ...

    def exists(self, path: str) -> bool:
        """Says whether there is such a file or folder."""
        ...

    def size(self, path: str) -> int:
        """Returns a file's size in bytes."""
        ...


class Inside(Protocol):
    """What a function sees of the child it runs in."""

    @property
    def disk(self) -> Storage:
        """The host's disk, faults included."""
        ...

    def log(self, path: str) -> None:
        """From here on stdout and stderr (of C code and of programs started here too) go to this file."""
        ...

    def mark(self, number: int) -> None:
        """Says how far this call is. Costs next to nothing; the parent can read it after death."""
        ...

    def tell(self, message: Any) -> None:
        """Sends the parent a picklable object, in order, before the call's result."""
        ...

    def clock(self) -> float:
        """Returns seconds, to tell things now and then; in the simulated world it stands still in a call."""
        ...


class Child(Protocol):
    """The parent's side of a child."""

    def run(
        self,
        fn: Callable[Concatenate[Inside, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaitable[T]:
        """Runs `fn(inside, *args)` in the child; one call at a time.

        Args:
            fn: an importable function.
            args: picklable.

        Cancelling it ends the process: nothing else would end the call.

        Raises:
            ChildDied: the process ended before the call did. The next `run` gets a new process.
            Exception: what `fn` raised, with the child's traceback in its notes.
        """
        ...

    @property
    def mark(self) -> int:
        """The last number that the call under way has marked, or -1."""
        ...

    def kill(self, why: str = "killed") -> None:
        """Ends the process (SIGKILL); the call under way raises `ChildDied(why)`."""
        ...

    async def close(self) -> None:
        """Ends the process in order."""
        ...
