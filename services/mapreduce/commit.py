"""The commit of an execution's output files (3.3, 4.5): each gets its final name, unless that is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.files.api import FileSystem


async def commit(files: FileSystem, output: str, names: Iterable[tuple[str, str]]) -> None:
    """Gives files their final names. Of two executions, the first one's bytes stand.

    Args:
        files: the shared file system.
        output: the job's output folder. Side files (4.5) may lie in folders below it, which are made.
        names: (temporary, final).
    """
    for temporary, final in names:
        folder = final.rpartition("/")[0]
        if folder != output:
            await files.create(folder)
        if not await files.commit(temporary, final):
            await files.remove(temporary)
