"""The queue: RQ, through its public interface. It only ever says "there is work".

Beside RQ's queue there is a bell: what waits for work hears it at once, without asking Redis again
and again. It is one of Redis' pub/sub channels, so it knows whether anybody hears it, also after a
listener was killed.

Only this module imports RQ: store/prefix.py says why.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis
from rq import Queue, Worker
from rq.defaults import RQ_KEY_PREFIX
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker

from schemas.errors import StoreUnavailable
from store.client import leave_demoted, make_client, why_away

__all__ = ["Bell", "Ear", "Wakeup", "Worker", "connect_queue", "open_queue"]

QUEUE = "callkaro-bridge"  # one queue: with two queues, RQ keeps no safety copy of what it pops
DRAIN = "workers.jobs.drain"  # by name, because bridge never imports workers
DRAIN_TIMEOUT_S = 3600  # RQ's hard stop; a drain ends by itself after 60 s
# A worker that nobody reported for this time runs no more. RQ itself only reports a worker each
# few minutes, so its supervisor does it: see Wakeup.report().
ALIVE_S = 60
SUBSCRIBED_S = 1.0  # how long Redis may take to confirm a subscription


class Ear(StrEnum):
    """Who hears the bell."""

    DRAIN = "drain"  # one that has nothing to do
    TICKER = "ticker"


def connect_queue(url: str, *, timeout_s: float | None = 3.0) -> "redis.Redis":
    """Return a client for RQ; its answers are bytes. timeout_s None: the worker's client waits."""
    return make_client(url, is_text=False, timeout_s=timeout_s, retries=1)


def open_queue(client: "redis.Redis") -> Queue:
    """Return our queue. JSON, not pickle: write access to Redis must not be enough to run code."""
    return Queue(QUEUE, connection=client, serializer=JSONSerializer)


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Asks for a drain, once while none is queued."""

    queue: Queue

    def request_drain(self, *, is_late: bool = False) -> bool:
        """Wake a drain that waits; without one, enqueue a drain unless one is queued already.

        Each of them will see everything that is due. is_late: what is due waits for a while
        already, so a drain is enqueued in any case.

        Raises StoreUnavailable when Redis is away; the worker's tick asks again.
        """
        with self._reached():
            if self._ring(*Ear) and not is_late:
                return True
            if self.queue.count:
                return False
            self.queue.enqueue(
                DRAIN, job_timeout=DRAIN_TIMEOUT_S, result_ttl=0, failure_ttl=3600, ttl=None
            )
        return True

    def tell_tickers(self) -> None:
        """Let the tickers look again soon. Raises StoreUnavailable when Redis is away."""
        with self._reached():
            self._ring(Ear.TICKER)

    def is_suspended(self) -> bool:
        """Say whether `rq suspend` stopped the workers. It stops those of the whole database.

        Raises StoreUnavailable when Redis is away.
        """
        with self._reached():
            return bool(self.queue.connection.exists(WORKERS_SUSPENDED))

    def workers(self) -> list[BaseWorker]:
        """Return the workers that run. Raises StoreUnavailable when Redis is away."""
        with self._reached():
            return Worker.all(queue=self.queue)

    def report(self, worker: str) -> None:
        """Report that the RQ worker of this name runs. Raises StoreUnavailable if Redis is away."""
        with self._reached():
            self.queue.connection.expire(f"{Worker.redis_worker_namespace_prefix}{worker}", ALIVE_S)

    def _ring(self, *ears: Ear) -> int:
        """Ring the bell. Returns how many of the first ones heard it."""
        with self.queue.connection.pipeline(transaction=False) as pipe:
            for ear in ears:
                pipe.publish(_channel(self.queue.connection, ear), b"")
            heard = pipe.execute(raise_on_error=False)[0]
        # Our user may lack the right to it: then a drain is enqueued.
        return heard if isinstance(heard, int) else 0

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            leave_demoted(self.queue.connection, error)
            raise StoreUnavailable(why_away(error)) from error


class Bell:
    """Hears the bell, over a connection of its own. select() can wait for it."""

    def __init__(self, client: "redis.Redis", ear: Ear) -> None:
        self._client = client
        self._channel = _channel(client, ear)
        self._pubsub: Any = None

    @property
    def is_open(self) -> bool:
        """Say whether the bell is heard."""
        return self._pubsub is not None

    def open(self) -> bool:
        """Begin to hear. False: Redis is away, or our user lacks the right."""
        self.close()
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._pubsub.subscribe(self._channel)
            confirmed = self._pubsub.get_message(timeout=SUBSCRIBED_S)
        except redis.RedisError:
            confirmed = None
        if confirmed is None:
            self.close()
        return self.is_open

    def fileno(self) -> int:
        """Return the file descriptor that is readable when the bell rang, or its Redis is gone."""
        return int(self._pubsub.connection._sock.fileno())

    def was_rung(self) -> bool:
        """Take in what was heard. Returns whether anything was; after an error it is closed."""
        was_rung = False
        try:
            while self._pubsub.get_message(timeout=0) is not None:
                was_rung = True
        except (redis.RedisError, OSError):
            self.close()
        return was_rung

    def close(self) -> None:
        """Hear no longer: from now on, who rings learns that this one does not hear."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()


def _channel(client: "redis.Redis", ear: Ear) -> str:
    """Return the name of a channel. All databases of a Redis have the same channels."""
    database = client.connection_pool.connection_kwargs.get("db") or 0
    return f"{RQ_KEY_PREFIX}:bell:{ear}:{database}"
