"""The queue: RQ, through its public interface. It only ever says "there is work".

Only this module imports RQ: store/prefix.py says why.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker

from schemas.errors import StoreUnavailable
from store.bell import Ear, ring
from store.client import leave_demoted, make_client, why_away
from store.prefix import KEY_PREFIX

__all__ = ["Wakeup", "Worker", "connect_queue", "open_queue"]

QUEUE = "callkaro-bridge"  # one queue: with two queues, RQ keeps no safety copy of what it pops
DRAIN = "workers.jobs.drain"  # by name, because bridge never imports workers
DRAIN_TIMEOUT_S = 3600  # RQ's hard stop; a drain ends by itself after 60 s
# A worker that nobody reported for this time runs no more. RQ itself only reports a worker each
# few minutes, so its supervisor does it: see Wakeup.report().
ALIVE_S = 60


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
            if ring(self.queue.connection, Ear.STANDBY, Ear.REST) and not is_late:
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
            ring(self.queue.connection, Ear.REST)

    def is_suspended(self) -> bool:
        """Say whether `rq suspend` stopped the workers. It stops those of the whole database.

        Raises StoreUnavailable when Redis is away.
        """
        with self._reached():
            return bool(self.queue.connection.exists(WORKERS_SUSPENDED))

    def take_up(self) -> bool:
        """Clear the wake-up, so that the next one rings again. Returns whether work may begin.

        False: `rq suspend` stopped the workers. Raises StoreUnavailable when Redis is away.
        """
        with self._reached(), self.queue.connection.pipeline(transaction=False) as pipe:
            pipe.delete(f"{KEY_PREFIX}wakeup")
            pipe.exists(WORKERS_SUSPENDED)
            return not pipe.execute()[1]

    def workers(self) -> list[BaseWorker]:
        """Return the workers that run. Raises StoreUnavailable when Redis is away."""
        with self._reached():
            return Worker.all(queue=self.queue)

    def report(self, worker: str) -> bool:
        """Report that the RQ worker of this name runs. False: RQ does not know it (any more).

        Raises StoreUnavailable when Redis is away.
        """
        key = f"{Worker.redis_worker_namespace_prefix}{worker}"
        with self._reached():
            return bool(self.queue.connection.expire(key, ALIVE_S))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            leave_demoted(self.queue.connection, error)
            raise StoreUnavailable(why_away(error)) from error
