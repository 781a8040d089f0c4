"""A client for a cluster: it connects to the one node that owns the slot of all our keys.

All our keys have one hash tag (config/key_prefix.py), so they are in one slot, and a plain client
of the node that owns the slot does everything. At each new connection, the client asks the cluster
which node that is. It makes new connections when a node answers that another one owns the slot.

While a slot moves key by key, its old owner has only a part of the keys. No script then does half
of its work: a script declares one key, the prefix itself, and no key has that name. So Redis
refuses the script (ASK) before the first command in it.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from config.redis_url import Cluster
from store.prefix import KEY_PREFIX

Address = tuple[str, int]  # host and port

NODE_S = 0.5  # for the answer of one node
LOOK_S = 1.5  # after this time, no further node is asked: HubSpot waits 5 s for an answer
UNKNOWN_HOSTS = (None, "", "?")  # a node that does not know its own address
UNNAMED = "?"  # the cluster announces names, and this node has none
NOT_EXECUTED = (MovedError, AskError, ClusterDownError, TryAgainError, ReadOnlyError)


class SlotMoved(redis.ConnectionError):
    """The node does not serve our slot, or not now. It did not execute the command.

    Its text is the code of Redis' error. The next try asks the cluster again.
    """


class ClusterProblem(redis.ConnectionError):
    """The cluster answered, but our keys have no owner there. Its text is safe to show."""


class SlotOwner:
    """Asks the cluster which node owns the slot of our keys. Threads may share it."""

    def __init__(self, cluster: Cluster, prefix: str = KEY_PREFIX) -> None:
        self._cluster = cluster
        self._slot = key_slot(prefix.encode())
        self._nodes = cluster.addresses  # first: the node that gave the latest answer
        self.losses = 0  # how often the owner was lost; a connection from before is too old

    def find(self) -> Address:
        """Return the address of the owner. Raises redis.RedisError."""
        ends = time.monotonic() + LOOK_S
        failure: redis.RedisError = ClusterProblem("no node of the cluster was asked")
        for node in self._nodes:
            if time.monotonic() > ends:
                break
            try:
                return self._owner_as_seen_by(node)
            except redis.RedisError as error:
                failure = error
                self._ask_last(node)
        raise failure

    def lose(self, losses: int) -> None:
        """Note that the owner may be another node now; losses: those when it was found."""
        if losses == self.losses:
            self.losses += 1
            self._ask_last(self._nodes[0])  # it may be cut off from the others

    def _owner_as_seen_by(self, node: Address) -> Address:
        """Return the owner; remember the other nodes, which may outlive those of REDIS_URL."""
        with redis.Redis.from_url(
            self._cluster.url_of(node),
            decode_responses=True,
            socket_timeout=NODE_S,
            socket_connect_timeout=NODE_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            try:
                shards = client.execute_command("CLUSTER SLOTS")
            except NoPermissionError as error:
                raise ClusterProblem("its user lacks the right +cluster|slots") from error
            except ResponseError as error:
                if "cluster support disabled" not in str(error):
                    raise
                raise ClusterProblem("it is no cluster: use redis:// or rediss://") from error
        self._learn(announced_address(one, node) for _, _, *nodes in shards for one in nodes)
        for first, last, owner, *_ in shards:
            if first <= self._slot <= last:
                return announced_address(owner, node)
        raise ClusterProblem("no node of the cluster owns the slot of our keys")

    def _learn(self, found: Iterable[Address]) -> None:
        found = tuple(dict.fromkeys(found))
        known = (*self._cluster.addresses, *found)
        kept = [one for one in self._nodes if one in known]
        self._nodes = (*kept, *(one for one in found if one not in kept))

    def _ask_last(self, node: Address) -> None:
        self._nodes = (*(one for one in self._nodes if one != node), node)


def announced_address(node: Sequence[Any], asked: Address) -> Address:
    """Return the address that a node announces, as CLUSTER SLOTS has it; asked: who says so."""
    host, port, *more = node
    if host == UNNAMED and len(more) > 1:
        host = _metadata(more[1]).get("ip")
    return (asked[0] if host in UNKNOWN_HOSTS else str(host), int(port))


def _metadata(told: Any) -> dict[Any, Any]:
    """Return what is told of a node besides; before RESP3, it is a list of names and values."""
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=False))


class _ToOwner(Connection):
    """A connection to the node that owns our slot."""

    def __init__(self, *, slot_owner: SlotOwner, **options: Any) -> None:
        self._slot_owner = slot_owner
        self._losses = slot_owner.losses
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, unless we are connected to the owner. Raises redis.RedisError."""
        if self._losses != self._slot_owner.losses:
            self.disconnect()  # type: ignore[no-untyped-call]
        if self.is_connected:
            return
        self._losses = self._slot_owner.losses
        self.host, self.port = self._slot_owner.find()
        try:
            super().connect_check_health(*args, **options)
        except (redis.ConnectionError, redis.TimeoutError):
            self._slot_owner.lose(self._losses)
            raise

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return an answer. Raises SlotMoved if this node is not the one to ask."""
        try:
            return super().read_response(*args, **options)
        except NOT_EXECUTED as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            self._slot_owner.lose(self._losses)
            raise SlotMoved(error.status_code) from error


class _ToOwnerOverTls(_ToOwner, SSLConnection):
    """The same, encrypted."""


def client_of_owner(cluster: Cluster, prefix: str, options: dict[str, Any]) -> "redis.Redis":
    """Return a client of the node that owns the slot of the keys with this prefix.

    options: redis-py's, of a connection.
    """
    pool = ConnectionPool.from_url(
        cluster.url_of(cluster.addresses[0]),  # only its login and its parameters count
        connection_class=_ToOwnerOverTls if cluster.is_tls else _ToOwner,
        slot_owner=SlotOwner(cluster, prefix),
        **options,
    )
    return redis.Redis.from_pool(pool)
