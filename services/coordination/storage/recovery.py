"""What a server finds on its disk when it starts: the newest whole snapshot, and the log since.

Whatever a crash may have left is put in order here: remains of files that were being written go, and the torn
end of the log is cut off. Everything else that is not as it was written is refused, with what is wrong.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from services.coordination.storage.errors import CURE
from services.coordination.storage.format import SegmentHeader, SnapshotEnd
from services.coordination.storage.log import FOLDER as LOG
from services.coordination.storage.log import Log, segment_path
from services.coordination.storage.scan import Scan
from services.coordination.storage.snapshots import FOLDER as DATA
from services.coordination.storage.snapshots import Snapshot, snapshots, verify
from services.durable import values
from services.durable.errors import StorageRefused
from services.durable.headers import FORMAT, begun

if TYPE_CHECKING:
    import random

    from services.host import Disk

IDENTITY = "identity"
ACCEPTED_EPOCH = f"{DATA}/acceptedEpoch"
CURRENT_EPOCH = f"{DATA}/currentEpoch"
CONFIGURATION = f"{DATA}/configuration"
_RESTORE = "restore it from a copy, or remove this server from the ensemble"
_SEGMENT = re.compile(r"segment-(\d{8,})")

log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
    """What was found.

    Attributes:
        accepted_epoch, current_epoch: f.p and f.a.
        configuration: as last saved, "" when it never was.
        snapshot: the newest whole one, None when there is none yet.
        members: the configuration as of it, "" when there is none.
        epochs: the last zxid of each epoch, from the snapshot on.
        reconfigurations: what makes a configuration, after the snapshot, by zxid.
        snapshots: all of the same history, the newest last.
        since: the number of the first segment of this history.
        log: the log.
        repaired: what had to be put in order, for people.
    """

    accepted_epoch: int
    current_epoch: int
    configuration: str
    snapshot: Snapshot | None
    members: str
    epochs: dict[int, int]
    reconfigurations: dict[int, str]
    snapshots: list[Snapshot]
    since: int
    log: Log
    repaired: list[str]


async def recover(disk: Disk, rng: random.Random, ensemble: str, server: int) -> Recovered:
    """Reads what is there, and makes the folders where there is nothing.

    Raises:
        StorageRefused: what is there is damaged, or another server's.
        OSError: the disk fails.
    """
    try:
        return await _recover(disk, rng, ensemble, server)
    except IsADirectoryError as exc:
        raise StorageRefused(f"{exc.filename or 'a file'} is a folder where a file belongs: {CURE}") from None


async def _recover(disk: Disk, rng: random.Random, ensemble: str, server: int) -> Recovered:
    repaired: list[str] = []
    await _tidy(disk, repaired)
    await _identify(disk, ensemble, server)
    accepted = await _epoch(disk, ACCEPTED_EPOCH)
    current = await _epoch(disk, CURRENT_EPOCH)
    if current > accepted:
        raise StorageRefused(f"{CURRENT_EPOCH} is {current}, above {ACCEPTED_EPOCH} with {accepted}")
    configuration = await values.load(disk, CONFIGURATION, _RESTORE) or ""
    found = snapshots(await disk.list(DATA))
    since = found[-1].since if found else 0
    whose = (ensemble, server)
    headers = await _headers(disk, whose, since, repaired)
    base, end = await _choose(disk, [one for one in found if one.since == since], headers, whose, repaired)
    scan = Scan(base.zxid if base is not None else 0)
    await scan.read(disk, headers, end.upto, repaired)
    number = headers[-1].number + 1 if headers else since
    await disk.sync(DATA)  # names that a failed sync left in the cache
    await disk.sync(LOG)
    for line in repaired:
        log.warning("server %d: %s", server, line)
    return Recovered(
        accepted,
        current,
        configuration,
        base,
        end.members,
        scan.epochs,
        scan.reconfigurations,
        [one for one in found if base is not None and one.since == since and one <= base],
        since,
        Log(disk, rng, ensemble, server, scan.segments, scan.last, number),
        repaired,
    )


async def _tidy(disk: Disk, repaired: list[str]) -> None:
    """Removes what was being written."""
    for folder in (DATA, LOG):
        for name in await disk.list(folder):
            if name.endswith(values.PART):
                await disk.remove(f"{folder}/{name}")
                repaired.append(f"{folder}/{name} was not finished: removed")


async def _identify(disk: Disk, ensemble: str, server: int) -> None:
    """Makes sure that the folders are this server's; new ones become so.

    The identity of `data` is written last: with it everything else must be there.
    """
    mine = json.dumps({"format": FORMAT, "ensemble": ensemble, "server": server})
    known = {folder: await values.load(disk, f"{folder}/{IDENTITY}", _RESTORE) for folder in (LOG, DATA)}
    for folder, text in known.items():
        if text is not None and text != mine:
            raise StorageRefused(_stranger(folder, text, ensemble, server))
    if known[DATA] is not None:
        if known[LOG] is None:
            raise StorageRefused(f"{DATA} is this server's and {LOG} is empty: is its disk there?")
        return
    used = [name for name in await disk.list(DATA) if name.startswith("snapshot-")]
    used += [name for name in await disk.list(LOG) if name.startswith("segment-")]
    if used:
        raise StorageRefused(
            f"{DATA}/{IDENTITY} is missing, yet there is {used[0]}: is the disk of {DATA} there?"
        )
    await values.save(disk, f"{LOG}/{IDENTITY}", mine)
    await values.save(disk, ACCEPTED_EPOCH, "0")
    await values.save(disk, CURRENT_EPOCH, "0")
    await values.save(disk, f"{DATA}/{IDENTITY}", mine)


def _stranger(folder: str, text: str, ensemble: str, server: int) -> str:
    try:
        said = json.loads(text)
        version, theirs, number = int(said["format"]), str(said["ensemble"]), int(said["server"])
    except (ValueError, KeyError, TypeError):
        return f"{folder}/{IDENTITY} is not readable"
    if version > FORMAT:
        return f"{folder} has format {version}, this program knows those up to {FORMAT}: start the newer one"
    return (
        f'{folder} belongs to server {number} of ensemble "{theirs}", '
        f'this is server {server} of ensemble "{ensemble}": check the configuration, or use another folder'
    )


async def _epoch(disk: Disk, path: str) -> int:
    text = await values.load(disk, path, _RESTORE)
    if text is None:
        raise StorageRefused(
            f"{path} is missing: what this server promised is not known, and it must not vote"
        )
    try:
        return int(text)
    except ValueError:
        raise StorageRefused(f"{path} holds no number") from None


async def _headers(
    disk: Disk, whose: tuple[str, int], since: int, repaired: list[str]
) -> list[SegmentHeader]:
    """Returns the headers of the segments of this history that follow each other up to the last."""
    found = [match for match in map(_SEGMENT.fullmatch, await disk.list(LOG)) if match is not None]
    numbers = sorted(int(match[1]) for match in found)
    headers: list[SegmentHeader] = []
    for number in reversed(numbers):
        path = segment_path(number)
        if number < since:
            await disk.remove(path)
            continue
        if headers and headers[-1].number != number + 1:
            break  # what is before the gap has been purged, or is missed by `_choose`
        file = await disk.open(path)
        try:
            header, unfinished = await begun(file, SegmentHeader, path)
        finally:
            await file.close()
        if header is None:
            if number == numbers[-1] and unfinished:
                await disk.remove(path)
                repaired.append(f"{path} was only being begun: removed")
                continue
            raise StorageRefused(f"{path} is damaged in its header")
        if (header.ensemble, header.server, header.number) != (*whose, number):
            raise StorageRefused(
                f'{path} is segment {header.number} of server {header.server} of ensemble "{header.ensemble}"'
            )
        headers.append(header)
    return headers[::-1]


async def _choose(
    disk: Disk,
    history: list[Snapshot],
    headers: list[SegmentHeader],
    whose: tuple[str, int],
    repaired: list[str],
) -> tuple[Snapshot | None, SnapshotEnd]:
    """Returns the newest whole snapshot to which the log reaches back, and its end."""
    damage: list[str] = []
    for base in reversed(history):
        try:
            header, end = await verify(disk, base)
        except StorageRefused as exc:
            damage.append(str(exc))
            continue
        if (header.ensemble, header.server) != whose:
            raise StorageRefused(f'{base.path} is of server {header.server} of ensemble "{header.ensemble}"')
        if _reaches(headers, base.zxid) or not (headers or damage or end.upto > base.zxid):
            repaired += [f"{line}: an older snapshot and the log take its place" for line in damage]
            return base, end
        if not damage:
            raise StorageRefused(f"the log does not reach back to {base.path}: segments are missing; {CURE}")
    if damage and not (history[0].since == 0 and _reaches(headers, 0)):
        raise StorageRefused(f"{damage[0]}, and the log does not reach back far enough to do without; {CURE}")
    if headers and not _reaches(headers, 0):
        raise StorageRefused(f"the log begins after {headers[0].after:x}, and there is no snapshot; {CURE}")
    repaired += [f"{line}: the log, which is whole, takes its place" for line in damage]
    return None, SnapshotEnd(0, 0, "")


def _reaches(headers: list[SegmentHeader], zxid: int) -> bool:
    return any(header.after <= zxid for header in headers)
