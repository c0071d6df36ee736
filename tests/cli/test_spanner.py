"""`dsim spanner`: the database of a running cluster from the command line."""

import asyncio
import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cluster import Cluster
from services.systems import SYSTEMS, bring_up, take_down

from .conftest import Dsim, Result


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster with two tables."""
    folder = tmp_path_factory.mktemp("spanner") / "cluster"
    asyncio.run(bring_up(folder, SYSTEMS["spanner"], 3))
    try:
        yield folder
    finally:
        asyncio.run(take_down(folder))


Words = str | Path


@pytest.fixture
def spanner(dsim: Dsim, cluster: Path) -> Dsim:
    """Runs `dsim spanner`, on that cluster, once its tables are there."""

    def run(command: Words, *rest: Words) -> Result:
        return dsim("spanner", command, "--dir", cluster, *rest)

    if not json.loads(run("tables", "--json").out)["tables"]:
        columns = ("Id INT64", "Owner STRING(MAX)", "Data BYTES(MAX)", "Ok BOOL", "Born TIMESTAMP")
        assert run("create", "Accounts", *columns).out == "Accounts: schema version 2\n"
        history = run(
            "create", "History", "Id INT64", "At INT64", "--key", "Id,-At", "--in", "Accounts", "--cascade"
        )
        assert history.out == "History: schema version 3\n"
    return run


def test_a_row_is_written_read_changed_and_deleted(spanner: Dsim) -> None:
    assert spanner("put", "Accounts", "Id=1", "Owner=ann").out.startswith("committed at 20")
    first = json.loads(spanner("put", "accounts", "Id=1", "ok=true", "--json").out)["commit_timestamp"]
    assert spanner("get", "Accounts", "1", "--columns", "Id,Owner,Ok").out == (
        "Id  Owner  Ok\n1   ann    true\n"
    )
    spanner("put", "Accounts", "Id=1", "Owner=NULL")
    rows = json.loads(spanner("get", "Accounts", "1", "--columns", "Owner", "--json").out)["rows"]
    assert rows == [{"Owner": None}]
    then = spanner("get", "Accounts", "1", "--columns", "Owner", "--at", str(first))
    assert then.out == "Owner\nann\n"
    assert spanner("get", "Accounts", "1", "--max-staleness", "600").status == 0
    spanner("put", "History", "Id=1", "At=7")
    spanner("put", "History", "Id=1", "At=8")
    assert spanner("scan", "History", "1").out == "Id  At\n1   8\n1   7\n"
    assert spanner("delete", "Accounts", "1").out.startswith("committed at 20")
    assert spanner("delete", "Accounts", "1").status == 0
    assert spanner("scan", "History").out == "Id  At\n"
    gone = spanner("get", "Accounts", "1")
    assert (gone.status, gone.out, gone.err) == (2, "", "dsim: Accounts has no row (1)\n")
    versions = json.loads(spanner("versions", "Accounts", "1", "--json").out)
    assert [one["row"] and one["row"]["Owner"] for one in versions] == [None, None, "ann", "ann"]
    assert versions[0]["row"] is None and versions[1]["row"] is not None  # deleted, and before that NULL
    assert "  deleted\n" in spanner("versions", "Accounts", "1").out
    nothing = spanner("versions", "Accounts", "404")
    assert nothing.out == "nothing has stood in Accounts 404, as far as versions are kept\n"


def test_zones_are_shown_and_the_page_shows_all_of_it(spanner: Dsim) -> None:
    deadline = time.monotonic() + 30  # zonemasters tell the universe master of themselves now and then
    while True:
        told = json.loads(spanner("zones", "--json").out)
        heard = all(one["answers"] and not one["silent"] for one in told["zones"])
        if heard or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert [one["zonemaster"] for one in told["zones"]] == ["zone-z1", "zone-z2", "zone-z3"]
    assert heard
    assert told["page"] in spanner("zones").out
    with urllib.request.urlopen(told["page"] + "api", timeout=10) as answer:
        about = json.load(answer)
    assert [one["server"] for one in about["spanservers"]] == ["s1", "s2", "s3"]
    assert all(one["synchronized"] for one in about["spanservers"])
    assert about["groups"][0]["leader"]
    with urllib.request.urlopen(told["page"], timeout=10) as answer:
        assert b"zone-z3" in answer.read()


def test_a_time_that_was_shown_can_be_typed(spanner: Dsim) -> None:
    committed = spanner("put", "Accounts", "Id=6", "Owner=ann").out.removeprefix("committed at ").strip()
    at = spanner("get", "Accounts", "6", "--columns", "Owner", "--at", committed)
    assert at.out == "Owner\nann\n"  # to the nanosecond: the row was not there before
    spanner("put", "Accounts", "Id=6", f"Born={committed}")
    assert spanner("get", "Accounts", "6", "--columns", "Born").out == f"Born\n{committed}\n"
    tables = spanner("tables").out
    assert "History in Accounts, on delete cascade\n" in tables and "At INT64 NOT NULL KEY DESC\n" in tables


def test_versions_are_told_the_newest_first(spanner: Dsim) -> None:
    for owner in ("ann", "bob", "cid"):
        spanner("put", "Accounts", "Id=2", f"Owner={owner}")
    found = json.loads(spanner("versions", "Accounts", "2", "--json").out)
    assert [one["row"]["Owner"] for one in found] == ["cid", "bob", "ann"]
    assert found[0]["timestamp"] > found[1]["timestamp"] > found[2]["timestamp"]
    assert len(spanner("versions", "Accounts", "2", "--limit", "2").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("plain", "plain"),
        ('"NULL"', '"NULL"'),  # the text, not NULL
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("", ""),
        ("x" * 4096, "x" * 4096),
        ("mañana 🦊", "mañana 🦊"),
        ("a=b", "a=b"),
    ],
)
def test_odd_texts_come_back_as_they_were_typed(spanner: Dsim, typed: str, shown: str) -> None:
    assert spanner("put", "Accounts", "Id=-5", f"Owner={typed}").status == 0
    assert spanner("get", "Accounts", "--columns", "Owner", "--", "-5").out == f"Owner\n{shown}\n"
    row = json.loads(spanner("get", "Accounts", "--json", "--", "-5").out)["rows"][0]
    assert row["Owner"] == ("NULL" if typed == '"NULL"' else typed)


def test_bytes_are_base64(spanner: Dsim) -> None:
    for data in (b"", b"\0\xff\n", bytes(range(256)) * 16):
        text = base64.b64encode(data).decode()
        assert spanner("put", "Accounts", "Id=3", f"Data={text}").status == 0
        assert spanner("get", "Accounts", "3", "--columns", "Data").out == f"Data\n{text}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("create", 'name a table and its columns: dsim spanner create T "Id INT64", or --file'),
        ("create T", 'name a table and its columns: dsim spanner create T "Id INT64", or --file'),
        ("create T Id", "column 'Id': expected \"NAME TYPE\""),
        ("create Accounts Id~INT64", "FAILED_PRECONDITION: Duplicate name in schema: Accounts."),
        ("create T Id~INT65", "INVALID_ARGUMENT: INT65 is no type; there are INT64, "),
        ("create T~4 Id~INT64", "INVALID_ARGUMENT: Table name not valid: 'T 4'"),
        ("create T Id~INT64 --key No", "INVALID_ARGUMENT: Table T: its key names no column: No"),
        ("create T Id~INT64 --in No", "NOT_FOUND: Table not found: No"),
        ("create T Id~INT64 --file x.json", "--file says all of the tables"),
        ("create T Id~INT64 --cascade", "--cascade: rows go with those of which table? --in names it"),
        ("create --file x.json", "x.json: No such file or directory"),
        ("put No Id=1", "NOT_FOUND: Table not found: No"),
        ("put Accounts Id", "'Id': expected COLUMN=VALUE"),
        ("put Accounts Id=1 No=2", "Column not found in table Accounts: No (there are: Id, Owner, "),
        ("put Accounts Id=1 Id=2", "INVALID_ARGUMENT: Multiple values for column Id of table Accounts"),
        ("put Accounts Id=x", "Id: 'x' is no INT64"),
        ("put Accounts Id=99999999999999999999", "FAILED_PRECONDITION: Wrong type for column Id in table "),
        ("put Accounts Id=NULL", "FAILED_PRECONDITION: Cannot specify a null value for column: Id in table"),
        ("put Accounts Owner=x", "FAILED_PRECONDITION: A row of table Accounts is written without a part "),
        ("put Accounts Id=1 Data=~", "Data: ' ' is no BYTES(MAX)"),
        ("put Accounts Id=1 Ok=maybe", "Ok: 'maybe' is no BOOL"),
        ("put Accounts Id=1 Owner=\udcff", "FAILED_PRECONDITION: Wrong type for column Owner in table Acc"),
        ("put History Id=404 At=1", "NOT_FOUND: Insert failed because key was not found in parent table: "),
        ("get No 1", "NOT_FOUND: Table not found: No"),
        ("get Accounts", "Missing argument 'KEY...'"),
        ("get Accounts 1 2", "the key of Accounts is (Id INT64): 2 values do not fit"),
        ("get Accounts -5", "No such option: -5"),
        ("get Accounts 1 --columns Id,No", "NOT_FOUND: Column not found in table Accounts: No"),
        ("get History 1", "the key of History is (Id INT64, At INT64): 1 value does not fit"),
        ("get Accounts 1 --at 2026-01-01T00:00:00.0123456789Z", "--at 2026-01-01T00:00:00.0123456789Z: "),
        ("get Accounts 1 --at then", "--at then: expected nanoseconds, or a time such as "),
        ("get Accounts 1 --at 2026-01-01T00:00:00", "--at 2026-01-01T00:00:00: expected nanoseconds, or"),
        ("get Accounts 1 --at 2099-01-01T00:00:00Z", "--at 2099-01-01T00:00:00Z: has not come yet"),
        ("get Accounts 1 --at 0", "INVALID_ARGUMENT: read_timestamp is 0 ns, must be from 1 to "),
        ("get Accounts 1 --at 1", "NOT_FOUND: Table not found: Accounts"),  # it was not there then
        ("get Accounts 1 --at 5 --max-staleness 1", "--at and --max-staleness: only one of them"),
        ("get Accounts 1 --max-staleness -1", "--max-staleness -1: must be from 0 to 1e9 seconds"),
        ("get Accounts 1 --max-staleness nan", "--max-staleness nan: must be from 0 to 1e9 seconds"),
        ("get Accounts 1 --max-staleness inf", "--max-staleness inf: must be from 0 to 1e9 seconds"),
        ("scan Accounts --limit 0", "Invalid value for '--limit'"),
        ("scan Accounts 1 2", "the key of Accounts is (Id INT64): 2 values do not fit"),
        ("versions Accounts", "Missing argument 'KEY...'"),
        ("delete Accounts x", "Id: 'x' is no INT64"),
        ("move Accounts 1", "Missing option '--to'"),
        ("move No --to 1", "NOT_FOUND: Table not found: No"),
    ],
)
def test_one_line_says_what_is_wrong(spanner: Dsim, words: str, said: str) -> None:
    result = spanner(*(word.replace("~", " ") for word in words.split(" ")))
    assert result.err.startswith(f"dsim: {said}")
    assert len(result.err.splitlines()) == 1
    assert (result.status, result.out) == (2, "")


def test_tables_come_from_a_file(spanner: Dsim) -> None:
    Path("wrong.json").write_text("{")
    Path("empty.json").write_text("[]")
    Path("typo.json").write_text('[{"name": "F", "colums": []}]')
    for name in ("wrong", "empty", "typo"):
        refused = spanner("create", "--file", f"{name}.json")
        assert refused.status == 2 and refused.err.startswith(f"dsim: {name}.json: ")
        assert refused.err.count("\n") == 1
    Path("good.json").write_text(
        '[{"name": "FromFile", "columns": [{"name": "A", "type": "INT64"}], "primary_key": ["A"]}]'
    )
    assert spanner("create", "--file", "good.json").out.startswith("FromFile: schema version ")
    assert "FromFile\n  A INT64 NOT NULL KEY\n" in spanner("tables").out


def test_groups_and_clocks_are_told(spanner: Dsim) -> None:
    spanner("put", "Accounts", "Id=6")
    group = json.loads(spanner("groups", "--json").out)["groups"][0]
    assert [one["server"] for one in group["members"]] == ["s1", "s2", "s3"]
    assert group["leader"] in ("s1", "s2", "s3") and 0 < group["lease_s"] <= 10
    lines = spanner("groups").out.splitlines()
    assert lines[0].split()[:3] == ["group", "replicas", "leader"]
    clocks = json.loads(spanner("now", "--json").out)["servers"]
    assert [one["server"] for one in clocks] == ["s1", "s2", "s3"]
    now = time.time_ns()
    assert all(abs(one["earliest"] - now) < 60e9 and 0 < one["epsilon_ms"] < 1000 for one in clocks)


def test_the_database_goes_on_while_a_server_is_down_or_cut_off(dsim: Dsim, cluster: Path) -> None:
    def spanner(*words: str) -> Result:
        return dsim("spanner", words[0], "--dir", cluster, *words[1:])

    if not json.loads(spanner("tables", "--json").out)["tables"]:
        spanner("create", "Accounts", "Id INT64", "Owner STRING(MAX)")
    spanner("put", "Accounts", "Id=10", "Owner=before")
    leader = json.loads(spanner("groups", "--json").out)["groups"][0]["leader"]
    other = next(name for name in ("s1", "s2", "s3") if name != leader)
    try:
        assert dsim("fault", "crash", other, "--dir", cluster).status == 0
        assert spanner("put", "Accounts", "Id=11", "Owner=crash").status == 0
        assert spanner("now").out.endswith(f"{other} does not answer\n")
        assert f"{other}" in dsim("status", "--dir", cluster).out
        assert dsim("heal", "--dir", cluster).out.endswith(f"crash {other} ended\n")
        rest = ",".join(name for name in ("s1", "s2", "s3") if name != other)
        assert dsim("fault", "partition", other, rest, "--dir", cluster).status == 0
        assert spanner("put", "Accounts", "Id=12", "Owner=partition").status == 0
    finally:
        assert dsim("heal", "--dir", cluster).status == 0
    found = spanner("scan", "Accounts", "--columns", "Id,Owner", "--json")
    rows = {row["Id"]: row["Owner"] for row in json.loads(found.out)["rows"]}
    assert (rows[10], rows[11], rows[12]) == ("before", "crash", "partition")


def test_what_is_no_spanner_or_not_up_is_named(dsim: Dsim, cluster: Path) -> None:
    none = dsim("spanner", "tables")
    assert (none.status, none.out) == (2, "")
    assert none.err == "dsim: no cluster was started: dsim up SYSTEM (or name its folder: --dir)\n"
    missing = dsim("spanner", "groups", "--dir", "nowhere")
    assert missing.status == 2 and missing.err.startswith("dsim: ") and missing.err.count("\n") == 1
    try:
        assert dsim("up", "echo", "--nodes", "1").status == 0
        wrong = dsim("spanner", "now")
        assert (wrong.status, wrong.err) == (2, "dsim: this cluster is no Spanner: dsim up spanner\n")
    finally:
        dsim("down")
    few = dsim("up", "spanner", "--nodes", "2", "--dir", "few")
    assert (few.status, few.err) == (2, "dsim: spanner needs at least 3 nodes, not 2\n")
    asyncio.run(Cluster.open(cluster).stop("universe"))
    assert dsim("spanner", "tables", "--dir", cluster).status == 0  # who knows where is what is there
    for command in (("groups",), ("now",), ("move", "Accounts", "--to", "2")):
        down = dsim("spanner", command[0], "--dir", cluster, *command[1:])
        assert (down.status, down.out, down.err.count("\n")) == (2, "", 1)
        assert down.err.startswith("dsim: UNAVAILABLE: ")
    proxies = [name for name in Cluster.open(cluster).alive() if name.startswith("zone")]
    for name in proxies:
        asyncio.run(Cluster.open(cluster).stop(name))
    for command in (("tables",), ("get", "Accounts", "1")):
        down = dsim("spanner", command[0], "--dir", cluster, *command[1:])
        assert (down.status, down.out) == (2, "")
        assert down.err == f"dsim: {proxies[0]} is down: dsim heal, or dsim up spanner where all is\n"
