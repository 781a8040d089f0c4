"""Clients of Redis, for our data and for RQ, and why they fail."""

import re
import socket
import ssl
from collections.abc import Iterator
from copy import copy
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ClusterCrossSlotError, ClusterDownError, NoPermissionError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from config.redis_url import Cluster, Sentinels
from store.prefix import KEY_PREFIX, check_prefix
from store.slot_owner import ClusterProblem, SlotMoved, client_of_owner

CONNECT_S = 2.0
CLUSTERED = (
    "This Redis is in cluster mode, and its address does not start with cluster://: RQ's keys and "
    "ours would lie on several shards, and nothing would be called. Use a Redis that is not in "
    "cluster mode, or name the cluster's hosts in a cluster:// address."
)
NO_SCRIPTS = (
    "Redis lets this user run no Lua scripts (EVALSHA, SCRIPT LOAD) on the bridge's keys: give the "
    "user the rights that docs/operating.md lists, or use a Redis that has scripts."
)
OTHER_SERVER = (
    "This server can't run the bridge's Lua scripts: use Redis 6.2 or later, or Valkey, and no "
    "proxy that changes what it answers."
)
NO_DATABASE = (
    "Redis has no database of the number that its address ends with: use a lower one, such as 0."
)
# A connection that only waits notices within a minute that its Redis is gone without a word. On a
# system without these options, it notices later.
KEEPALIVE = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
}
CLUSTER_ERRORS = (ClusterCrossSlotError, ClusterDownError)  # CROSSSLOT even from a single shard
SENTINEL_S = 0.5  # for one sentinel: HubSpot waits 5 s, three may hang, and each is asked twice


def make_client(
    url: str,
    *,
    is_text: bool,
    timeout_s: float | None,
    connect_s: float = CONNECT_S,
    retries: int,
    prefix: str | None = None,
) -> "redis.Redis":
    """Return a client that gives up soon; it connects when it is first used.

    redis-py's own default retries with a backoff of up to 10 s, much longer than a webhook's
    sender waits. One immediate retry is enough for a connection that a restarted Redis closed.
    is_text: answers are text, not bytes. timeout_s None: answers may take any time.
    prefix: of all keys that the client uses; None: this process's own.

    Raises SettingsError: the keys at this URL need another prefix than this process has.
    """
    if prefix is None:
        check_prefix(url)
    options: dict[str, Any] = {
        "decode_responses": is_text,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_s,
        "retry": Retry(NoBackoff(), retries),
        "health_check_interval": 0,
        "driver_info": _driver(),
    }
    if not url.startswith("unix:"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    cluster = Cluster.of(url)
    if cluster is not None:
        return client_of_owner(cluster, prefix or KEY_PREFIX, options)
    sentinels = Sentinels.of(url)
    if sentinels is None:
        return redis.Redis.from_url(url, **options)
    found: redis.Redis = _ask(sentinels).master_for(  # type: ignore[no-untyped-call]
        sentinels.service,
        db=sentinels.database,
        username=sentinels.user,
        password=sentinels.password,
        **options,
    )
    return found


@cache
def _driver() -> DriverInfo:
    """Return what a new connection tells Redis of redis-py.

    Without it, redis-py reads its own version from a file at each new connection, for 1 to 2 ms.
    """
    return DriverInfo()


def leave_demoted(client: "redis.Redis", error: "redis.RedisError") -> None:
    """Close our connections if this error says that the master has become a replica.

    A managed Redis keeps its host name, and so our connections to the former master stay open.
    (redis-py itself closes those that it opened through a sentinel.)
    """
    if is_demoted(error):
        client.connection_pool.disconnect(inuse_connections=False)


def is_demoted(error: "redis.RedisError") -> bool:
    """Say whether a replica refused a write; Redis 6.2 wraps a script's refusal into an ERR."""
    return isinstance(error, redis.ReadOnlyError) or "-READONLY" in str(error)


# How a command is refused that our user may not run, or a managed Redis does not have. In scripts,
# newer servers tell of an "ACL failure", and Redis 6.2 and 7.0 have sentences of their own.
_FORBIDDEN = (
    "unknown command",
    "acl failure",
    "can't run this command",
    "can't access at least one of the keys",
)
_WRAPPED = re.compile(r"user_script: ?\d+: -?([A-Z]{2,}) ")


def is_forbidden(error: "redis.RedisError") -> bool:
    """Say whether our user may not run a command, or a managed Redis does not have it."""
    text = str(error).lower()
    return isinstance(error, NoPermissionError) or any(one in text for one in _FORBIDDEN)


def code_of(error: "redis.RedisError") -> str:
    """Return the code of a refusal, such as OOM or NOPERM; ERR: a script of ours may be wrong.

    Redis 6.2 wraps what a script's command was refused with into an ERR.
    """
    code = error.status_code or str(error).partition(" ")[0]
    if code != "ERR":
        return code
    if is_forbidden(error):
        return "NOPERM"
    wrapped = _WRAPPED.search(str(error))
    return wrapped[1] if wrapped else code


def why_unfit(error: "redis.ResponseError", *, is_tagged: bool) -> str | None:
    """Return why a server that answered fits.lua like this can't be the store, as a sentence.

    None: it only can't at the moment, such as while it loads its data.
    is_tagged: our keys have a hash tag, so that a cluster can be the store.
    """
    text = str(error).lower()
    is_of_cluster = type(error) in CLUSTER_ERRORS or "not allowed in cluster mode" in text
    if is_of_cluster and not is_tagged:
        return CLUSTERED
    if is_forbidden(error):
        return NO_SCRIPTS
    # How a connection is refused, which may be the first answer to the script.
    if "max number of clients" in text:
        return None
    if "db index is out of range" in text:
        return NO_DATABASE
    return OTHER_SERVER if code_of(error) == "ERR" else None


def why_away(error: "redis.RedisError") -> str:
    """Return what is wrong, as a sentence without a full stop, a name, an address or a secret."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            # "Hostname mismatch, certificate is not valid for …": the first half is enough.
            what = cause.verify_message.partition(",")[0]
            return (
                f"Redis' certificate can't be verified ({what}): name its CA's file in REDIS_URL "
                "(?ssl_ca_certs=…), or set REDIS_TLS_VERIFY=false, as Heroku's needs"
            )
        if isinstance(cause, ssl.SSLError):
            return f"Redis does not answer over TLS ({cause.reason or type(cause).__name__})"
        if isinstance(cause, SlotMoved):
            return f"Redis refuses ({cause})"
        if isinstance(cause, ClusterProblem):
            return f"Redis does not answer ({cause})"
        if isinstance(cause, MasterNotFoundError):
            return "Redis does not answer (no sentinel that answers knows a master of that name)"
    return f"Redis does not answer ({type(error).__name__})"


class _Sentinel(Sentinel):
    """redis-py's Sentinel for many threads: each thread sorts its own copy of the list."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the master's host and port. The next look asks the sentinel that knew it first."""
        own = copy(self)
        own.sentinels = list(self.sentinels)
        host, port = Sentinel.discover_master(own, service_name)  # type: ignore[no-untyped-call]
        self.sentinels = own.sentinels
        return host, port


def _ask(sentinels: Sentinels) -> Sentinel:
    """Return a client of the sentinels. It asks at each connection, and so notices a failover."""
    return _Sentinel(  # type: ignore[no-untyped-call]
        list(sentinels.addresses),
        sentinel_kwargs={
            "username": sentinels.sentinel_user,
            "password": sentinels.sentinel_password,
            "socket_timeout": SENTINEL_S,
            "socket_connect_timeout": SENTINEL_S,
            # Retry once if the connection was closed, but not after a time-out.
            "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        },
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
