"""RQ, as it comes: a process for each job."""

from typing import Any

from redis import Redis
from rq import Queue

from bench.queues import post


def enqueue(bodies: list[dict[str, Any]]) -> None:
    """Enqueue a job for each body."""
    queue = Queue(connection=Redis.from_url(post.REDIS_URL))
    queue.enqueue_many([Queue.prepare_data(post.post, (body,)) for body in bodies])
