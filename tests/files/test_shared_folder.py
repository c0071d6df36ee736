"""A folder that all processes share: whole files, exclusive names, of two commits one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from pathlib import Path

import pytest

from services.files import connect
from services.files.api import FileInfo, Range
from services.real import shared_folder
from services.real.shared_folder import SharedFolder


def test_a_written_file_is_read_back_by_parts(tmp_path: Path) -> None:
    async def story():
        files = SharedFolder(str(tmp_path))
        await files.write("a/b", b"0123456789")
        await files.write("a/b", b"0123456789!")
        return await files.read("a/b"), await files.read("a/b", 3, 4), await files.read("a/b", 20)

    assert asyncio.run(story()) == (b"0123456789!", b"3456", b"")
    assert os.listdir(tmp_path / "a") == ["b"], "no draft stays behind"


def test_the_machines_own_paths_and_those_below_a_root(tmp_path: Path) -> None:
    async def story():
        whole, part = SharedFolder(), connect(None, f"folder:{tmp_path}")
        await part.write("in/x", b"x")
        return await whole.list(f"{tmp_path}/in"), await part.list("in"), await part.list("")

    whole, part, root = asyncio.run(story())
    assert whole == [FileInfo(f"{tmp_path}/in/x", 1)]
    assert part == root == [FileInfo("in/x", 1)]


def test_listing_leaves_out_hidden_names_and_follows_links(tmp_path: Path) -> None:
    for name in ("in/b", "in/a/c", "in/_SUCCESS", "in/.hidden/x", "elsewhere/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/round").symlink_to(tmp_path / "in")
    files = SharedFolder(str(tmp_path))
    listed = asyncio.run(files.list("in/"))
    assert [info.path for info in listed] == ["in/a/c", "in/b", "in/link/d"]
    assert asyncio.run(files.list("in/.hidden")) == [FileInfo("in/.hidden/x", 12)], "asked for by name"


def test_what_is_missing_or_cannot_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    files = SharedFolder(str(tmp_path))
    with pytest.raises(FileNotFoundError) as missing:
        asyncio.run(files.list("gone"))
    assert str(tmp_path / "gone") in str(missing.value)
    (tmp_path / "dead").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="dead"):
        asyncio.run(files.list(""))
    (tmp_path / "dead").unlink()
    (tmp_path / "secret").write_text("x")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "secret")  # root may read all
    with pytest.raises(PermissionError, match="secret"):
        asyncio.run(files.list(""))
    with pytest.raises(PermissionError):
        asyncio.run(files.read("../../etc/passwd"))
    with pytest.raises(PermissionError):
        asyncio.run(files.remove(""))


def test_a_name_is_claimed_once_and_a_removal_leaves_nothing(tmp_path: Path) -> None:
    async def story():
        files = SharedFolder(str(tmp_path))
        claims = await asyncio.gather(
            *(files.create("deep/out", exclusive=True) for _ in range(20)), return_exceptions=True
        )
        await files.create("deep/out")
        await files.write("deep/out/x", b"x")
        await files.remove("deep")
        await files.remove("deep")
        return claims

    claims = asyncio.run(story())
    assert sum(claim is None for claim in claims) == 1
    assert sum(isinstance(claim, FileExistsError) for claim in claims) == 19
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_of_many_commits_one_wins_and_hears_so_again(tmp_path: Path, monkeypatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(shared_folder.os, "link", refused)

    async def story():
        files = SharedFolder(str(tmp_path))
        for n in range(20):
            await files.write(f"t/{n}", b"%d" % n)
        won = await asyncio.gather(*(files.commit(f"t/{n}", "part") for n in range(20)))
        winner = won.index(True)
        assert await files.commit(f"t/{winner}", "part"), "its answer was lost, say"
        assert not await files.commit(f"t/{(winner + 1) % 20}", "part")
        return won.count(True), await files.read("part") == b"%d" % winner, len(await files.list("t"))

    assert asyncio.run(story()) == (1, True, 19)


def refused(source, target):
    raise PermissionError(1, "Operation not permitted", str(source))


def test_a_commit_that_was_killed_between_its_two_steps_is_completed(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x")
    os.link(tmp_path / "source", tmp_path / "target")
    files = SharedFolder(str(tmp_path))
    assert asyncio.run(files.commit("source", "target"))
    assert os.listdir(tmp_path) == ["target"]


def test_a_commit_brings_no_folder_back_to_life(tmp_path: Path) -> None:
    files = SharedFolder(str(tmp_path))
    asyncio.run(files.write("source", b"x"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(files.commit("source", "removed/part"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(files.commit("gone", "part"))
    assert os.listdir(tmp_path) == ["source"]


def commit(root: str, source: str, start, answers) -> None:
    start.wait()
    answers.put(asyncio.run(SharedFolder(root).commit(source, "part")))


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_of_two_processes_one_wins(tmp_path: Path, monkeypatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(shared_folder.os, "link", refused)
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Event(), fork.Queue()
    for n in range(4):
        (tmp_path / f"{n}").write_text(f"{n}")
    racers = [
        fork.Process(target=commit, args=(str(tmp_path), f"{n}", start, answers), daemon=True)
        for n in range(4)
    ]
    for racer in racers:
        racer.start()
    start.set()
    won = [answers.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join(30)
    assert won.count(True) == 1
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 4
    assert (tmp_path / "part").read_text() not in left


def test_every_host_is_as_near(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    files = SharedFolder(str(tmp_path))
    assert asyncio.run(files.locate([Range("x", 0, -1)] * 2)) == [{}, {}]


@pytest.mark.parametrize("address", ["", ":1", "no.such.module:factory", "services.files.api:nothing"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="file system"):
        connect(None, address)
