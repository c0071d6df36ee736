"""Apache's `zoo.cfg`: taken over, warned of, refused."""

from __future__ import annotations

import pytest

from services.coordination.wire.four_letter import NAMES
from services.coordination.zoo_cfg import ConfigurationError, ZooCfg, parse, properties

ALONE = "dataDir=/d\nclientPort=2181\n"
THREE = (
    "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\nclientPort=2181\n"
    "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:participant\n"
)


def read(text: str, overrides: dict[str, str] | None = None, **files: str) -> ZooCfg:
    found = {"/d/myid": "2\n", **{name.replace("_", "/"): value for name, value in files.items()}}

    def look(path: str) -> str:
        if path not in found:
            raise FileNotFoundError(2, "No such file or directory", path)
        return found[path]

    return parse(text, look, overrides)


def test_properties_are_javas() -> None:
    text = "# no\n! no\n\n a = 1 \nb:2\nc 3\nd=x \\\n  y\ne=\nf\\=g=h\\\\i\nk = l = m\r\n"
    expected = {"a": "1", "b": "2", "c": "3", "d": "x y", "e": "", "f=g": "h\\i", "k": "l = m"}
    assert properties(text) == expected


def test_a_server_on_its_own_has_apaches_defaults() -> None:
    cfg = read(ALONE)
    assert (cfg.data_dir, cfg.data_log_dir, cfg.client_port, cfg.client_address) == ("/d", "/d", 2181, None)
    assert cfg.ensemble is None and cfg.server == 0 and cfg.warnings == ()
    assert cfg.settings.tick == 3.0 and cfg.settings.session_timeouts == (6000, 60000)
    assert cfg.settings.connections_per_address == 60 and cfg.settings.max_buffer == 0xFFFFF
    assert not cfg.settings.reconfigure and not cfg.settings.extended_types and not cfg.settings.read_only
    assert cfg.words == {"srvr"} and cfg.admin == ("0.0.0.0", 8080, "/commands") and cfg.metrics is None
    assert (cfg.snap_count, cfg.snapshots_kept) == (100_000, 3)


def test_an_ensemble_and_who_this_server_is() -> None:
    cfg = read(THREE)
    assert cfg.server == 2 and cfg.ensemble is not None and cfg.warnings == ()
    assert cfg.ensemble.participants == (1, 2, 3)
    assert (cfg.init_limit, cfg.sync_limit) == (10, 5)
    assert cfg.told()["server.3"] == "c:2888:3888:participant"
    assert cfg.told()["initLimit"] == 10 and cfg.told()["serverId"] == 2


def test_two_servers_at_one_address_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"server\.1 and server\.3 are both at a:2888"):
        read(THREE.replace("server.3=c:", "server.3=a:"))
    assert read(THREE.replace("server.3=c:2888", "server.3=a:2889")).ensemble is not None


def test_everything_that_can_be_set() -> None:
    cfg = read(
        ALONE + "dataLogDir=/l\nclientPortAddress=127.0.0.1\ntickTime=100\nminSessionTimeout=500\n"
        "maxSessionTimeout=9000\nmaxClientCnxns=7\nmaxCnxns=70\nglobalOutstandingLimit=9\nsnapCount=50\n"
        "jute.maxbuffer=5000\nreadonlymode.enabled=true\nreconfigEnabled=true\nextendedTypesEnabled=true\n"
        "enforceQuota=true\n"
        "skipACL=yes\nDigestAuthenticationProvider.superDigest=super:xyz\nautopurge.snapRetainCount=5\n"
        "4lw.commands.whitelist=stat, ruok\nadmin.serverPort=0\nadmin.serverAddress=::1\n"
        "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
        "metricsProvider.httpPort=7001\nclientPortListenBacklog=9\nquorum.token=sesame\n"
    )
    settings = cfg.settings
    assert cfg.warnings == ()
    assert (cfg.data_log_dir, cfg.client_address, cfg.backlog) == ("/l", "127.0.0.1", 9)
    assert (settings.tick, settings.session_timeouts) == (0.1, (500, 9000))
    assert (settings.connections_per_address, settings.connections, settings.outstanding) == (7, 70, 9)
    assert (settings.max_buffer, settings.super_digest, settings.skip_acl) == (5000, "super:xyz", True)
    assert settings.read_only and settings.reconfigure and settings.extended_types
    assert settings.enforce_quota and not read(ALONE).settings.enforce_quota
    assert (cfg.snap_count, cfg.snapshots_kept, cfg.token) == (50, 5, "sesame")
    assert cfg.words == {"stat", "ruok", "srvr", "isro"}  # isro comes with read-only mode
    assert cfg.admin == ("::1", 0, "/commands") and cfg.metrics == ("0.0.0.0", 7001)


def test_all_words_and_no_pages() -> None:
    cfg = read(ALONE + "4lw.commands.whitelist=*\nadmin.enableServer=false\n")
    assert cfg.words == NAMES and cfg.admin is None


def test_the_command_line_goes_before_the_file() -> None:
    assert read(ALONE, {"readonlymode.enabled": "true", "tickTime": "7"}).settings.tick == 0.007


def test_a_servers_own_line_says_where_it_serves_clients() -> None:
    text = THREE.replace("clientPort=2181\n", "").replace("b:2888:3888", "b:2888:3888;10.0.0.1:999")
    assert (read(text).client_address, read(text).client_port) == ("10.0.0.1", 999)
    text = THREE.replace("b:2888:3888", "b:2888:3888;0.0.0.0:2181")
    assert (read(text).client_address, read(text).client_port) == (None, 2181)


def test_a_dynamic_configuration_is_read() -> None:
    head = THREE[: THREE.index("server.1")]
    lines = THREE[THREE.index("server.1") :] + "version=100000003\n"
    cfg = read(head + "dynamicConfigFile=/d/dyn\n", _d_dyn=lines)
    assert cfg.ensemble is not None and len(cfg.ensemble.members) == 3


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            ALONE + "foo.bar=1\nbaz=2\n",
            ["unknown setting foo.bar is ignored", "unknown setting baz is ignored"],
        ),
        (ALONE + "preAllocSize=1\n", ["setting preAllocSize has no meaning here and is ignored"]),
        (ALONE + "secureClientPort=false\n", []),
        (ALONE + "autopurge.snapRetainCount=1\n", ["autopurge.snapRetainCount is 1: 3 are kept"]),
        (ALONE + "4lw.commands.whitelist=stat,what\n", ["4lw.commands.whitelist: there is no what"]),
        (
            ALONE + "server.1=a:1:2\n",
            ["there is only one server: it runs on its own, and the line is ignored"],
        ),
        (
            THREE.replace("server.3=c:2888:3888:participant\n", ""),
            ["with two servers the failure of one ends the service: use at least three"],
        ),
        (THREE + "server.4=d:1:2\n", ["4 servers survive no more failures than 3"]),
        (
            THREE + "peerType=observer\n",
            ["peerType is observer, and server.2 a participant: the latter holds"],
        ),
    ],
)
def test_what_one_should_know_is_said_once(text: str, warnings: list[str]) -> None:
    assert list(read(text).warnings) == warnings


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("clientPort=2181\n", "dataDir is not set"),
        ("dataDir=/d\n", "clientPort is not set"),
        ("dataDir=/d\nclientPortAddress=a\n", "clientPortAddress is set but clientPort is not set"),
        (ALONE.replace("2181", "x"), 'clientPort is "x", must be a whole number from 0 to 65535'),
        (ALONE.replace("2181", "70000"), 'clientPort is "70000", must be a whole number from 0 to 65535'),
        (ALONE + "tickTime=0\n", 'tickTime is "0", must be a whole number from 1 to 2147483647'),
        (ALONE + "tickTime=1e3\n", 'tickTime is "1e3", must be a whole number from 1 to 2147483647'),
        (
            ALONE + "minSessionTimeout=9\nmaxSessionTimeout=8\n",
            "minSessionTimeout must not be larger than maxSessionTimeout",
        ),
        (ALONE + "minSessionTimeout=99999\n", "minSessionTimeout must not be larger than maxSessionTimeout"),
        (ALONE + "reconfigEnabled=maybe\n", 'reconfigEnabled is "maybe", must be "true" or "false"'),
        (ALONE + "electionAlg=1\n", "electionAlg must be 3, fast leader election: there is no other"),
        (ALONE + "secureClientPort=2281\n", "secureClientPort: TLS is not supported"),
        (ALONE + "sslQuorum=true\n", "sslQuorum: TLS is not supported"),
        (ALONE + "ssl.keyStore.location=/k\n", "ssl.keyStore.location: this is not supported"),
        (ALONE + "quorum.auth.enableSasl=true\n", "quorum.auth.enableSasl: SASL is not supported"),
        (ALONE + "authProvider.1=x.SASL\n", "authProvider.1: this is not supported"),
        (THREE + "group.1=1:2:3\n", "group.1: only majorities can be quorums"),
        (THREE + "weight.1=2\n", "weight.1: only majorities can be quorums"),
        (THREE.replace("initLimit=10\n", ""), "initLimit is not set"),
        (THREE.replace("syncLimit=5", "syncLimit=0"), "syncLimit is not set"),
        (
            THREE.replace("server.2", "server.4"),
            "/d/myid says that this is server 2; the servers are 1, 3, 4",
        ),
        (
            THREE.replace("server.1=a", "server.x=a"),
            '"server.x=a:2888:3888" is not a member such as "server.1=host:2888:3888:participant;2181" '
            "(with an id from 1 to 255)",
        ),
        (THREE.replace("c:2888", "c:99999"), '"server.3=c:99999:3888:participant": ports go up to 65535'),
        (
            THREE.replace(":3888\n", ":3888:observer\n").replace(":participant", ":observer"),
            "an ensemble needs a participant",
        ),
        (THREE + "peerType=king\n", 'peerType is "king", must be "participant" or "observer"'),
        (
            THREE.replace("b:2888:3888", "b:2888:3888;2182"),
            "clientPort is 2181, and server.2 says 2182: remove one",
        ),
        (
            THREE + "dynamicConfigFile=/d/dyn\n",
            "server.1 must be in the file that dynamicConfigFile names",
        ),
        (
            ALONE + "dynamicConfigFile=/d/none\n",
            "dynamicConfigFile /d/none cannot be read: No such file or directory",
        ),
        (ALONE + "standaloneEnabled=false\n", "standaloneEnabled is false, and there are no servers"),
        (
            ALONE + "DigestAuthenticationProvider.superDigest=x\n",
            "DigestAuthenticationProvider.superDigest must be super:<base64 of the SHA-1 of super:password>",
        ),
        (
            ALONE + "metricsProvider.className=a.B\n",
            "metricsProvider.className a.B is not known; there is "
            "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
        ),
    ],
)
def test_nonsense_is_refused_with_one_clear_line(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    assert str(refused.value) == wrong


@pytest.mark.parametrize(
    ("myid", "wrong"),
    [
        ("two", '/d/myid holds "two", must be the number of a server'),
        ("", '/d/myid holds "", must be the number of a server'),
        ("9", "/d/myid says that this is server 9; the servers are 1, 2, 3"),
    ],
)
def test_a_wrong_myid_is_refused(myid: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(THREE, _d_myid=myid)
    assert str(refused.value) == wrong


def test_a_missing_myid_is_refused() -> None:
    def nothing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    with pytest.raises(ConfigurationError) as refused:
        parse(THREE, nothing)
    assert str(refused.value) == "/d/myid, which says who this server is: No such file or directory"
