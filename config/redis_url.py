"""REDIS_URL: the address of one Redis, of sentinels that know the master, or of a cluster's nodes.

No message of this module quotes the URL: in a wrong URL, a password may be anywhere.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from config.key_prefix import is_cluster

SENTINEL = "sentinel://"
SENTINEL_PORT = 26379
REDIS_PORT = 6379
SENTINEL_LOGIN = frozenset({"sentinel_user", "sentinel_password"})
SENTINEL_FORM = (
    "must be of the form "
    "sentinel://[user:password@]host:26379,host2:26379/<name of the service>/<database>"
)
CLUSTER_FORM = (
    "must be of the form cluster://[user:password@]host:6379,host2:6379 (clusters:// for TLS); a "
    "cluster has only database 0"
)
ADDRESS = (
    "must be an address that starts with redis://, rediss://, unix://, sentinel://, cluster:// or "
    "clusters://"
)
TLS_SCHEMES = ("rediss", "clusters")
# The useful ones of redis-py's parameters. redis-py crashes over a parameter that it does not know.
PARAMETERS = frozenset(
    {
        *("db", "username", "password", "client_name", "protocol", "max_connections"),
        *("health_check_interval", "retry_on_timeout"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive"),
        *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"),
        *("ssl_password", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)
VERIFY_MODES = ("none", "optional", "required")  # redis-py's words


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The sentinels that know the master, and the logins."""

    addresses: tuple[tuple[str, int], ...]
    service: str  # the master's name at the sentinels
    database: int = 0
    user: str | None = field(default=None, repr=False)  # of the master
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Return what a sentinel:// URL says; None: another kind of URL. Raises ValueError."""
        if not url.startswith(SENTINEL):
            return None
        rest, _, query = url.removeprefix(SENTINEL).partition("?")
        place, _, path = rest.partition("/")
        login, _, hosts = place.rpartition("@")
        user, _, password = login.partition(":")
        service, _, database = path.rstrip("/").partition("/")
        given = parse_qs(query)
        if not given.keys() <= SENTINEL_LOGIN:
            raise ValueError("sentinel:// takes sentinel_user and sentinel_password, nothing else")
        if not service or "#" in url or not (database or "0").isdecimal():
            raise ValueError(SENTINEL_FORM)
        return cls(
            addresses=_addresses(hosts, SENTINEL_PORT, SENTINEL_FORM),
            service=unquote(service),
            database=int(database or 0),
            user=unquote(user) or None,
            password=unquote(password) or None,
            **{name: values[0] for name, values in given.items()},
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of a cluster, of which each knows all the others, and how to connect to a node."""

    addresses: tuple[tuple[str, int], ...]
    is_tls: bool
    login: str = field(default="", repr=False)  # as in the URL, with its @; "": none
    query: str = field(default="", repr=False)  # redis-py's parameters

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Return what a cluster:// URL says; None: another kind of URL. Raises ValueError."""
        if not is_cluster(url):
            return None
        scheme, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        place, _, database = rest.partition("/")
        login, at, hosts = place.rpartition("@")
        if database not in ("", "0") or "#" in url or "@" in query or "db" in parse_qs(query):
            raise ValueError(CLUSTER_FORM)
        return cls(
            addresses=_addresses(hosts, REDIS_PORT, CLUSTER_FORM),
            is_tls=scheme in TLS_SCHEMES,
            login=f"{login}{at}",
            query=query,
        )

    def url_of(self, address: tuple[str, int]) -> str:
        """Return the URL of a node, as redis-py takes it."""
        host, port = address
        scheme, name = "rediss" if self.is_tls else "redis", f"[{host}]" if ":" in host else host
        return f"{scheme}://{self.login}{name}:{port}/0" + (f"?{self.query}" if self.query else "")


def problem_of(url: str) -> str | None:
    """Return what is wrong with a REDIS_URL, as the rest of a sentence; None: nothing."""
    try:
        if cluster := Cluster.of(url):
            return _problem_of_one(cluster.url_of(cluster.addresses[0]))
        return None if Sentinels.of(url) else _problem_of_one(url)
    except ValueError as error:
        return str(error)


def verified(url: str, *, verify: bool) -> str:
    """Return a REDIS_URL that also says whether the certificate of a TLS server is verified.

    If the URL itself says so already, `verify` changes nothing.
    """
    address, _, query = url.partition("#")[0].partition("?")
    if verify or not _is_tls(url) or "ssl_cert_reqs" in parse_qs(query):
        return url
    return f"{address}?" + "&".join(filter(None, (query, "ssl_cert_reqs=none")))


def is_unproved(url: str) -> bool:
    """Return whether a REDIS_URL encrypts without verifying the server's certificate."""
    given = parse_qs(url.partition("?")[2])
    any_name = given.get("ssl_check_hostname", ["true"])[0].lower() in ("false", "no", "0")
    return _is_tls(url) and (given.get("ssl_cert_reqs") == ["none"] or any_name)


def shown_address(url: str) -> str | None:
    """Return the address of a REDIS_URL for messages: host and port, never a login.

    None: the URL is not one that is surely understood, so that nothing of it may be shown.
    """
    try:
        if several := Cluster.of(url) or Sentinels.of(url):
            return ", ".join(f"{host}:{port}" for host, port in several.addresses)
        parts = urlsplit(url)
        port = parts.port or REDIS_PORT
    except ValueError:
        return None
    # A password with a / or ? in it ends the host early: then the @ comes later, or no host.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return None
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname}:{port}" if parts.hostname else None


def _is_tls(url: str) -> bool:
    return url.partition("://")[0] in TLS_SCHEMES


def _addresses(hosts: str, default_port: int, form: str) -> tuple[tuple[str, int], ...]:
    """Return the names and ports of `host:port,host:port`. Raises ValueError with `form`."""
    found: list[tuple[str, int]] = []
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host}")
            port = parts.port or default_port
        except ValueError:  # an open bracket, a port that is not a number
            raise ValueError(form) from None
        if not parts.hostname:
            raise ValueError(form)
        found.append((parts.hostname, port))
    return tuple(found)


def _problem_of_one(url: str) -> str | None:
    """Return what is wrong with the address of one Redis."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return ADDRESS
    if parts.scheme not in ("redis", "rediss", "unix"):
        return ADDRESS
    if not parts.netloc and parts.scheme != "unix":
        return ADDRESS
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if unknown := given.keys() - PARAMETERS:
        return f"has a parameter that is not known here: {', '.join(sorted(unknown))}"
    if parts.scheme != "rediss" and any(name.startswith("ssl_") for name in given):
        return "has parameters of TLS (ssl_…), but only rediss:// uses TLS"
    if given.get("ssl_cert_reqs", "required") not in VERIFY_MODES:
        return f"ssl_cert_reqs must be one of {', '.join(VERIFY_MODES)}"
    if "ssl_ca_certs" in given and not _is_readable(Path(given["ssl_ca_certs"])):
        return "the file that ssl_ca_certs names can't be read"
    return None


def _is_readable(file: Path) -> bool:
    try:
        with file.open("rb"):
            return True
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return False
