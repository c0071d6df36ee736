"""`dsim up`, `status`, `fault`, `heal`, `down`, each as a command of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cluster import Cluster
from sim import InvalidInput
from sim.cli.faults import parse, said
from sim.faults import AnyFault, Crash, Cut, Delay, LoseReply, Partition, Slow

from .conftest import Dsim


def states(dsim: Dsim) -> dict[str, tuple[str, int]]:
    nodes = json.loads(dsim("status", "--json").out)["nodes"]
    return {one["name"]: (one["state"], one["incarnation"]) for one in nodes}


def test_a_cluster_is_brought_up_hurt_healed_and_taken_down_from_separate_commands(dsim: Dsim) -> None:
    up = dsim("up", "echo", "--nodes", "2")
    try:
        assert up.status == 0, up.err
        assert up.out.endswith("echo is up in runs/cluster; take it down with: dsim down\n")
        assert states(dsim) == {"echo1": ("running", 0), "echo2": ("running", 0)}
        assert dsim("fault", "crash", "echo1").out == "fault 1: crash echo1\n"
        assert dsim("fault", "pause", "echo2").out == "fault 2: pause echo2\n"
        assert states(dsim) == {"echo1": ("dead", 0), "echo2": ("paused", 0)}
        assert dsim("status").out.endswith("\n\nfault 1: crash echo1\nfault 2: pause echo2\n")
        assert json.loads(dsim("status", "--json").out)["faults"] == {
            "1": {"kind": "crash", "host": "echo1"},
            "2": {"kind": "pause", "host": "echo2"},
        }
        assert dsim("heal").out == "fault 2: pause echo2 ended\nfault 1: crash echo1 ended\n"
        assert dsim("heal").out == "nothing to heal\n"
        assert states(dsim) == {"echo1": ("running", 1), "echo2": ("running", 0)}
        assert dsim("fault", "partition", "echo1", "echo2", "--for", "0.1").out == (
            "fault 3: partition echo1 echo2\nover\n"
        )
        wrong = dsim("fault", "crash", "ehco1")
        assert (wrong.status, wrong.out) == (2, "")
        assert wrong.err.startswith("dsim: crash: there is no host 'ehco1'; did you mean echo1")
        half = dsim("fault", "crash", "echo1", "echo9")
        assert (half.status, half.out, states(dsim)["echo1"]) == (2, "", ("running", 1))
        for seconds in ("0", "nan", "inf"):
            assert dsim("fault", "pause", "echo1", "--for", seconds).status == 2
        faults = Path("runs/cluster/faults.jsonl")
        faults.rename("faults.jsonl")
        faults.mkdir()  # as good as a full disk
        refused = dsim("fault", "isolate", "echo1")
        assert (refused.status, refused.err) == (2, f"dsim: {faults.resolve()}: Is a directory\n")
        faults.rmdir()
        again = dsim("up", "echo")
        assert again.status == 2
        assert "a cluster is running" in again.err
    finally:
        down = dsim("down")
    assert down.status == 0
    assert {state for state, _ in states(dsim).values()} == {"dead"}
    assert dsim("up", "echo", "--nodes", "1").status == 0, "the folder is used again"
    assert dsim("down").out == "down: echo1\n"


def test_a_program_of_ones_own_is_a_system(dsim: Dsim) -> None:
    up = dsim("up", "services.echo:serve", "--nodes", "1", "--dir", "mine")
    try:
        assert up.status == 0, up.err
        assert states(dsim) == {"n1": ("running", 0)}
    finally:
        assert dsim("down", "--dir", "mine").out == "down: n1\n"


def test_what_is_down_stays_down(dsim: Dsim) -> None:
    try:
        assert dsim("up", "echo", "--nodes", "2").status == 0
        assert dsim("fault", "crash", "echo1").status == 0
        assert dsim("down").out == "down: echo2\n"
        assert dsim("heal").out == "nothing to heal\n"
        assert states(dsim) == {"echo1": ("dead", 0), "echo2": ("dead", 0)}

        assert dsim("up", "echo", "--nodes", "1").status == 0
        words = ("fault", "crash", "echo1", "--for", "1")
        begun = subprocess.Popen(
            [sys.executable, "-c", "from sim.cli import main; main()", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert begun.stdout is not None and begun.stdout.readline() == "fault 1: crash echo1\n"
        assert dsim("down").status == 0
        assert begun.communicate(timeout=30) == ("over\n", "")
        assert states(dsim) == {"echo1": ("dead", 0)}
    finally:
        dsim("down")


def test_healing_tells_what_has_ended_before_what_could_not(dsim: Dsim) -> None:
    try:
        assert dsim("up", "echo", "--nodes", "2").status == 0
        assert dsim("fault", "delay", "echo1", "echo2", "--set", "seconds=0.1").status == 0
        assert dsim("fault", "pause", "echo2").status == 0
        control = Cluster.open("runs/cluster").folder.node("echo1").control
        address = control.read_text()
        control.write_text("127.0.0.1:1")
        healed = dsim("heal")
        assert (healed.status, healed.out) == (2, "fault 2: pause echo2 ended\n")
        assert healed.err.startswith("dsim: echo1 does not answer its control service")
        assert healed.err.count("\n") == 1
        control.write_text(address)
        assert dsim("heal").out.startswith("fault 1: delay echo1")
    finally:
        dsim("down")


def test_healing_restarts_and_resumes_what_no_fault_had_ended(dsim: Dsim) -> None:
    try:
        assert dsim("up", "echo", "--nodes", "3").status == 0
        pids = {one["name"]: one["pid"] for one in json.loads(dsim("status", "--json").out)["nodes"]}
        os.kill(pids["echo1"], signal.SIGKILL)
        os.kill(pids["echo2"], signal.SIGSTOP)
        asyncio.run(Cluster.open("runs/cluster").stop("echo3"))
        until = time.monotonic() + 10
        hurt = {"echo1": ("dead", 0), "echo2": ("paused", 0), "echo3": ("dead", 0)}
        while states(dsim) != hurt and time.monotonic() < until:
            time.sleep(0.05)
        healed = dsim("heal")
        assert healed.out == (
            "echo1 was dead, by no fault: restarted\necho2 was paused, by no fault: resumed\n"
        )
        assert states(dsim) == {"echo1": ("running", 1), "echo2": ("running", 0), "echo3": ("dead", 0)}
    finally:
        dsim("down")
    assert dsim("heal").out == "nothing to heal\n"


def test_a_cluster_that_cannot_be_remembered_is_up_all_the_same(dsim: Dsim) -> None:
    Path("state").write_text("not a folder")
    up = dsim("up", "echo", "--nodes", "1", "--dir", "my cluster")
    try:
        assert up.status == 0, up.err
        assert up.out.endswith("echo is up in my cluster; take it down with: dsim down --dir 'my cluster'\n")
    finally:
        assert dsim("down", "--dir", "my cluster").out == "down: echo1\n"


def test_a_program_that_does_not_start_leaves_nothing(dsim: Dsim) -> None:
    up = dsim("up", "services.echo:serv", "--nodes", "1")
    assert up.status == 2
    assert up.err.startswith('dsim: n1 did not start: program "services.echo:serv": ')
    assert not Path("state/dsim/cluster").exists()


@pytest.mark.parametrize(
    ("words", "faults"),
    [
        ("crash a b", [Crash(host="a"), Crash(host="b")]),
        ("slow a cpu=3", [Slow(host="a", cpu=3.0)]),
        ("partition a,b c", [Partition(groups=[["a", "b"], ["c"]])]),
        ("cut a b both=false", [Cut(source="a", target="b", both=False)]),
        ("delay any b seconds=0.5", [Delay(target="b", seconds=0.5)]),
    ],
)
def test_faults_are_read_as_they_are_said(words: str, faults: list[object]) -> None:
    kind, *rest = words.split()
    settings = dict(word.split("=") for word in rest if "=" in word)
    assert parse(kind, [word for word in rest if "=" not in word], settings) == faults


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Partition(groups=[["a", "b"], ["c"]]), "partition a,b c"),
        (Cut(source="a", target="b"), "cut a b both=true"),
        (Delay(target="b"), "delay any b seconds=0.1 jitter=0.0"),
        (LoseReply(host="a"), "lose-reply a count=1"),
    ],
)
def test_a_fault_is_told_whole(fault: AnyFault, words: str) -> None:
    assert said(fault) == words


def test_a_setting_that_is_missing_is_named_as_it_is_given() -> None:
    with pytest.raises(InvalidInput, match=r"^clock-jump needs --set seconds=\.\.\.$"):
        parse("clock-jump", ["a"], {})


def test_a_link_needs_two_ends() -> None:
    with pytest.raises(InvalidInput, match="cut needs two hosts: dsim fault cut FROM TO"):
        parse("cut", ["a"], {})
