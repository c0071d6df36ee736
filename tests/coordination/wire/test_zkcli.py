"""Apache's own client, `zkCli`, against our server and against Apache's: it says the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.coordination.wire.servers import APACHE, JAR, MISSING, OURS, Servers

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

COMMANDS = """
create /j data
create -s /j/s- x
create -e /j/e y
create -c /j/c z
create -t 100000 /j/t z
create -s -t 100000 /j/ts z
get /j
ls /j
ls -R /j
stat /j/e
set /j new
set -v 0 /j wrong
set -v 1 /j right
getAcl /j
addauth digest a:b
setAcl /j auth::cdrwa
getAcl /j
getEphemerals /j
getEphemerals
getAllChildrenNumber /j
setquota -n 20 /j
setquota -N 7 /j
listquota /j
create /j/q1 x
create /j/q2 x
create /j/q3 x
delquota /j
listquota /j
sync /j
addWatch -m PERSISTENT /j
set /j w1
set /j w2
removewatches /j
addWatch /j
set /j w3
create /j/n x
removewatches /j
delete /j
deleteall /j
ls /
create /a//b
create a
get /none
ls -w /
create /zz x
get -w /zz
delete /zz
quit
"""


def said(folder: Path, command: tuple[str, ...]) -> list[str]:
    with Servers(folder, 1, command) as servers:
        servers.start()
        servers.serving()
        done = subprocess.run(
            ["java", "-cp", str(JAR), "org.apache.zookeeper.ZooKeeperMain", "-server", servers.hosts],
            input=COMMANDS,
            capture_output=True,
            text=True,
            timeout=180,
        )
    words = re.sub(r"0x[0-9a-f]+", "0x", done.stdout + done.stderr)
    words = re.sub(r"(ctime|mtime) = .*", r"\1", words)
    return re.sub(r"127.0.0.1:\d+", "the server", words).splitlines()


def test_apaches_client_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "apache").mkdir()
    (tmp_path / "ours").mkdir()
    expected = said(tmp_path / "apache", APACHE)
    assert "[c, e, s-0000000000, t, ts0000000004]" in expected
    assert said(tmp_path / "ours", OURS) == expected
