"""Apache's `zoo.cfg`, and what it means here.

A file of Java properties. Settings that this server has are taken over with Apache's names, defaults and
checks; some that Apache knows have no meaning here and are said to be ignored, as are unknown ones; and what
would make a server less safe than its operator believes (TLS, SASL, other quorums) is refused. Whoever reads
files is given as a function, so that this module touches none.

Beyond Apache's there is `quorum.token`: a secret that the servers of an ensemble share. Without it anybody
who reaches their quorum ports may speak as a server, as with Apache's default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from msgspec import Struct

from services.coordination.configuration import Configuration
from services.coordination.server.settings import Settings
from services.coordination.wire.four_letter import NAMES

ReadFile: TypeAlias = Callable[[str], str]
"""Returns the text of a file. OSError: it cannot be read."""

_PROPERTY = re.compile(r"(?P<key>(?:\\.|[^\\=:\s])+)\s*[=:\s]?\s*(?P<value>.*)", re.DOTALL)
_REFUSED = {
    "secureClientPort": "TLS is not supported",
    "secureClientPortAddress": "TLS is not supported",
    "sslQuorum": "TLS is not supported",
    "quorum.auth.enableSasl": "SASL is not supported",
    "quorum.auth.serverRequireSasl": "SASL is not supported",
    "quorum.auth.learnerRequireSasl": "SASL is not supported",
    "sessionRequireClientSASLAuth": "SASL is not supported",
    "enforce.auth.enabled": "this is not supported",
    "oraclePath": "only majorities can be quorums",
}
"""What a server is refused for that it would have to be without, unless it is switched off."""

_IGNORED = (
    "admin.idleTimeout",
    "admin.maxThreads",
    "admin.forceHttps",
    "autopurge.purgeInterval",
    "cnxTimeout",
    "commitProcessor.numWorkerThreads",
    "connectToLearnerMasterLimit",
    "electionPortBindRetry",
    "forceSync",
    "fsync.warningthresholdms",
    "leaderServes",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "metricsProvider.exportJvmInfo",
    "multiAddress.enabled",
    "multiAddress.reachabilityCheckEnabled",
    "multiAddress.reachabilityCheckTimeoutMs",
    "nio.numSelectorThreads",
    "nio.numWorkerThreads",
    "observerMasterPort",
    "preAllocSize",
    "quorum.cnxn.threads.size",
    "serverCnxnFactory",
    "snapshot.trust.empty",
    "syncEnabled",
    "warningThresholdMs",
)
"""What Apache knows, and has no meaning here."""


class ConfigurationError(ValueError):
    """The configuration makes no sense; says in one line what to change."""


class ZooCfg(Struct, frozen=True, kw_only=True):
    """What a `zoo.cfg` says.

    Attributes:
        text: the file.
        data_dir, data_log_dir: folders for snapshots, and for the log.
        client_address, client_port: where clients are served; None for all addresses, and for nowhere.
        backlog: connections that may wait to be accepted; -1 for the default.
        server: this server's id; 0 on its own.
        ensemble: of servers; None for a server on its own.
        settings: limits of the server.
        init_limit, sync_limit: ticks in which a learner must be in step, and may fall silent.
        snap_count: transactions between two snapshots.
        snapshots_kept: how many snapshots stay.
        token: proves that a peer is of the ensemble.
        words: four-letter words that are answered.
        admin: address, port and path of `/commands`; None for none.
        metrics: address and port of `/metrics`; None for none.
        warnings: what its author should know.
    """

    text: str
    data_dir: str
    data_log_dir: str
    client_address: str | None
    client_port: int | None
    backlog: int
    server: int
    ensemble: Configuration | None
    settings: Settings
    init_limit: int
    sync_limit: int
    snap_count: int
    snapshots_kept: int
    token: str
    words: frozenset[str]
    admin: tuple[str, int, str] | None
    metrics: tuple[str, int] | None
    warnings: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """Returns what `conf` tells."""
        least, most = self.settings.session_timeouts
        told: dict[str, Any] = {
            "clientPort": self.client_port or -1,
            "secureClientPort": -1,
            "dataDir": self.data_dir,
            "dataLogDir": self.data_log_dir,
            "tickTime": round(self.settings.tick * 1000),
            "maxClientCnxns": self.settings.connections_per_address,
            "minSessionTimeout": least,
            "maxSessionTimeout": most,
            "clientPortListenBacklog": self.backlog,
            "serverId": self.server,
        }
        if self.ensemble is not None:
            told |= {"initLimit": self.init_limit, "syncLimit": self.sync_limit}
            for line in str(self.ensemble).splitlines()[:-1]:
                name, _, value = line.partition("=")
                told[name] = value
        return told


def properties(text: str) -> dict[str, str]:
    """Reads Java properties: `key=value`, also with `:` or a blank; a backslash escapes, or continues."""
    found = {}
    for line in re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t\f]*", r"\1", text).splitlines():
        line = line.strip()
        match = _PROPERTY.fullmatch(line)
        if match and line[0] not in "#!":
            key, value = (re.sub(r"\\(.)", r"\1", match[part]) for part in ("key", "value"))
            found[key] = value.strip()
    return found


def parse(text: str, read: ReadFile, overrides: Mapping[str, str] | None = None) -> ZooCfg:
    """Reads a configuration.

    Args:
        text: of `zoo.cfg`.
        read: reads `myid` in the data folder, and the file of the dynamic configuration.
        overrides: settings from the command line (Java's system properties, without "zookeeper.").

    Raises:
        ConfigurationError: it cannot be.
    """
    given = _Given({**properties(text), **(overrides or {})})
    if given.number("electionAlg", 3) != 3:
        raise ConfigurationError("electionAlg must be 3, fast leader election: there is no other")
    data_dir = given.text("dataDir")
    if not data_dir:
        raise ConfigurationError("dataDir is not set")
    port, address = given.number("clientPort", 0, 0, 65535), given.text("clientPortAddress")
    if address and not port:
        raise ConfigurationError("clientPortAddress is set but clientPort is not set")
    ensemble = _ensemble(given, read)
    server = 0
    init_limit, sync_limit = given.number("initLimit", 0), given.number("syncLimit", 0)
    if ensemble is not None:
        server = _own_id(ensemble, f"{data_dir}/myid", read)
        address, port = _client(ensemble, server, address, port)
        for name, limit in (("initLimit", init_limit), ("syncLimit", sync_limit)):
            if not limit:
                raise ConfigurationError(f"{name} is not set")
        _warn(given, ensemble, server)
    elif not port:
        raise ConfigurationError("clientPort is not set")
    return ZooCfg(
        text=text,
        data_dir=data_dir,
        data_log_dir=given.text("dataLogDir") or data_dir,
        client_address=address or None,
        client_port=port or None,
        backlog=given.number("clientPortListenBacklog", -1, -1),
        server=server,
        ensemble=ensemble,
        settings=_settings(given),
        init_limit=init_limit or 10,
        sync_limit=sync_limit or 5,
        snap_count=given.number("snapCount", 100_000, 2),
        snapshots_kept=_snapshots_kept(given),
        token=given.text("quorum.token") or "zookeeper",
        words=_words(given),
        admin=_admin(given),
        metrics=_metrics(given),
        warnings=given.warnings(),
    )


class _Given:
    """Settings that were given; remembers which were looked at."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._seen: dict[str, None] = {}
        self.told: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        self._seen[name] = None
        return self._values.get(name, default)

    def number(self, name: str, default: int, least: int = 0, most: int = (1 << 31) - 1) -> int:
        value = self.text(name)
        if not value:
            return default
        if not re.fullmatch(r"-?\d+", value) or not least <= int(value) <= most:
            raise ConfigurationError(f'{name} is "{value}", must be a whole number from {least} to {most}')
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name)
        if value.lower() not in ("", "true", "false"):
            raise ConfigurationError(f'{name} is "{value}", must be "true" or "false"')
        return value.lower() == "true" if value else default

    def beginning(self, *beginnings: str) -> dict[str, str]:
        found = {name: value for name, value in self._values.items() if name.startswith(beginnings)}
        self._seen.update(dict.fromkeys(found))
        return found

    def warnings(self) -> tuple[str, ...]:
        """Returns what to warn of, once all settings have been looked at.

        Raises:
            ConfigurationError: there is one that cannot be ignored.
        """
        for name, value in self._values.items():
            if name in self._seen:
                continue
            if name in _REFUSED or name.startswith(("authProvider", "ssl.")):
                if value.lower() != "false":
                    raise ConfigurationError(f"{name}: {_REFUSED.get(name, 'this is not supported')}")
            elif name in _IGNORED:
                self.told.append(f"setting {name} has no meaning here and is ignored")
            else:
                self.told.append(f"unknown setting {name} is ignored")
        return tuple(self.told)


def _settings(given: _Given) -> Settings:
    tick = given.number("tickTime", 3000, 1)
    least, most = given.number("minSessionTimeout", 0, -1), given.number("maxSessionTimeout", 0, -1)
    if (least if least > 0 else 2 * tick) > (most if most > 0 else 20 * tick):
        raise ConfigurationError("minSessionTimeout must not be larger than maxSessionTimeout")
    digest = given.text("DigestAuthenticationProvider.superDigest")
    if digest and not digest.startswith("super:"):
        raise ConfigurationError(
            "DigestAuthenticationProvider.superDigest must be super:<base64 of the SHA-1 of super:password>"
        )
    return Settings(
        tick=tick / 1000,
        min_session_timeout=max(0, least),
        max_session_timeout=max(0, most),
        outstanding=given.number("globalOutstandingLimit", 1000, 1),
        connections=given.number("maxCnxns", 0),
        connections_per_address=given.number("maxClientCnxns", 60),
        max_buffer=given.number("jute.maxbuffer", 0xFFFFF, 1),
        read_only=given.flag("readonlymode.enabled", False),
        reconfigure=given.flag("reconfigEnabled", False),
        extended_types=given.flag("extendedTypesEnabled", False),
        enforce_quota=given.flag("enforceQuota", False),
        super_digest=digest,
        skip_acl=given.text("skipACL") == "yes",
        container_interval=given.number("znode.container.checkIntervalMs", 60_000, 1) / 1000,
    )


def _ensemble(given: _Given, read: ReadFile) -> Configuration | None:
    lines, dynamic = given.beginning("server."), given.text("dynamicConfigFile")
    if dynamic:
        if lines:
            raise ConfigurationError(f"{next(iter(lines))} must be in the file that dynamicConfigFile names")
        try:
            found = properties(read(dynamic))
        except OSError as exc:
            raise ConfigurationError(f"dynamicConfigFile {dynamic} cannot be read: {exc.strerror}") from None
        except ValueError as exc:  # no text, or a path with a NUL
            raise ConfigurationError(f"dynamicConfigFile {dynamic} cannot be read: {exc}") from None
        lines = {name: value for name, value in found.items() if name != "version"}
    for name in (*given.beginning("group", "weight"), *lines):
        if not name.startswith("server."):
            raise ConfigurationError(f"{name}: only majorities can be quorums")
    alone = given.flag("standaloneEnabled", True)
    try:
        members = Configuration.parse("\n".join(f"{name}={value}" for name, value in lines.items()))
    except ValueError as exc:
        if lines:
            raise ConfigurationError(str(exc)) from None
        if not alone:
            raise ConfigurationError("standaloneEnabled is false, and there are no servers") from None
        return None
    if len(members.members) == 1 and alone:
        given.told.append("there is only one server: it runs on its own, and the line is ignored")
        return None
    return members


def _own_id(ensemble: Configuration, path: str, read: ReadFile) -> int:
    try:
        value = read(path).strip()
    except OSError as exc:
        raise ConfigurationError(f"{path}, which says who this server is: {exc.strerror}") from None
    except ValueError as exc:  # no text, or a path with a NUL
        raise ConfigurationError(f"{path}, which says who this server is, cannot be read: {exc}") from None
    if not value.isdecimal():
        raise ConfigurationError(f'{path} holds "{value[:40]}", must be the number of a server')
    if ensemble.member(int(value)) is None:
        known = ", ".join(str(member.id) for member in ensemble.members)
        raise ConfigurationError(f"{path} says that this is server {value}; the servers are {known}")
    return int(value)


def _client(ensemble: Configuration, server: int, address: str, port: int) -> tuple[str, int]:
    """Returns where clients are served: what the server's own line says goes before `clientPort`."""
    member = ensemble.member(server)
    assert member is not None
    if not member.client:
        return address, port
    host, _, number = member.client.rpartition(":")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise ConfigurationError(f'server.{server} serves clients at "{member.client}", which is no port')
    if port and port != int(number):
        raise ConfigurationError(f"clientPort is {port}, and server.{server} says {number}: remove one")
    return ("" if host in ("", "0.0.0.0", "[::]") else host.strip("[]")) or address, int(number)


def _warn(given: _Given, ensemble: Configuration, server: int) -> None:
    voting = len(ensemble.participants)
    if voting == 2:
        given.told.append("with two servers the failure of one ends the service: use at least three")
    elif voting % 2 == 0:
        given.told.append(f"{voting} servers survive no more failures than {voting - 1}")
    member, role = ensemble.member(server), given.text("peerType").lower()
    assert member is not None
    if role not in ("", "participant", "observer"):
        raise ConfigurationError(f'peerType is "{role}", must be "participant" or "observer"')
    if role and role != member.role:
        given.told.append(f"peerType is {role}, and server.{server} a {member.role}: the latter holds")


def _snapshots_kept(given: _Given) -> int:
    kept: int = given.number("autopurge.snapRetainCount", 3)
    if kept < 3:
        given.told.append(f"autopurge.snapRetainCount is {kept}: 3 are kept")
    return max(3, kept)


def _words(given: _Given) -> frozenset[str]:
    asked = {word.strip() for word in given.text("4lw.commands.whitelist").split(",") if word.strip()}
    if "*" in asked:
        return NAMES
    for word in sorted(asked - NAMES):
        given.told.append(f"4lw.commands.whitelist: there is no {word}")
    always = {"srvr", "isro"} if given.flag("readonlymode.enabled", False) else {"srvr"}
    return frozenset(asked & NAMES) | always


_PROMETHEUS: Final = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"


def _admin(given: _Given) -> tuple[str, int, str] | None:
    address = given.text("admin.serverAddress", "0.0.0.0")
    port = given.number("admin.serverPort", 8080, 0, 65535)
    path = given.text("admin.commandURL", "/commands")
    return (address, port, path) if given.flag("admin.enableServer", True) else None


def _metrics(given: _Given) -> tuple[str, int] | None:
    name = given.text("metricsProvider.className")
    where = given.text("metricsProvider.httpHost", "0.0.0.0")
    port = given.number("metricsProvider.httpPort", 7000, 0, 65535)
    if name not in ("", _PROMETHEUS, "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"):
        raise ConfigurationError(f"metricsProvider.className {name} is not known; there is {_PROMETHEUS}")
    return (where, port) if name == _PROMETHEUS else None
