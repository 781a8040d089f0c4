"""REDIS_URL: the address of one Redis, or of the sentinels that know which Redis is the master.

No message of this module quotes the URL: in a wrong URL, a password may be anywhere.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

SENTINEL = "sentinel://"
SENTINEL_PORT = 26379
REDIS_PORT = 6379
SENTINEL_LOGIN = frozenset({"sentinel_user", "sentinel_password"})
SENTINEL_FORM = (
    "must be of the form "
    "sentinel://[user:password@]host:26379,host2:26379/<name of the service>/<database>"
)
ADDRESS = "must be an address that starts with redis://, rediss://, unix:// or sentinel://"
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
            addresses=tuple(_address(host) for host in hosts.split(",")),
            service=unquote(service),
            database=int(database or 0),
            user=unquote(user) or None,
            password=unquote(password) or None,
            **{name: values[0] for name, values in given.items()},
        )


def problem_of(url: str) -> str | None:
    """Return what is wrong with a REDIS_URL, as the rest of a sentence; None: nothing."""
    try:
        return None if Sentinels.of(url) else _problem_of_one(url)
    except ValueError as error:
        return str(error)


def verified(url: str, *, verify: bool) -> str:
    """Return a REDIS_URL that also says whether the certificate of a rediss:// server is verified.

    If the URL itself says so already, `verify` changes nothing.
    """
    parts = urlsplit(url)
    if verify or parts.scheme != "rediss" or "ssl_cert_reqs" in parse_qs(parts.query):
        return url
    query = "&".join(filter(None, (parts.query, "ssl_cert_reqs=none")))
    return urlunsplit(parts._replace(query=query))


def is_unproved(url: str) -> bool:
    """Return whether a REDIS_URL encrypts without verifying the server's certificate."""
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    any_name = given.get("ssl_check_hostname", ["true"])[0].lower() in ("false", "no", "0")
    return parts.scheme == "rediss" and (given.get("ssl_cert_reqs") == ["none"] or any_name)


def shown_address(url: str) -> str | None:
    """Return the address of a REDIS_URL for messages: host and port, never a login.

    None: the URL is not one that is surely understood, so that nothing of it may be shown.
    """
    try:
        if sentinels := Sentinels.of(url):
            return ", ".join(f"{host}:{port}" for host, port in sentinels.addresses)
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


def _address(host: str) -> tuple[str, int]:
    """Return the name and port of one sentinel."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or SENTINEL_PORT
    except ValueError:  # an open bracket, a port that is not a number
        raise ValueError(SENTINEL_FORM) from None
    if not parts.hostname:
        raise ValueError(SENTINEL_FORM)
    return parts.hostname, port


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
