"""Dramatiq, with its defaults but for the threads."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.queues import post

dramatiq.set_broker(RedisBroker(url=post.REDIS_URL))


@dramatiq.actor
def deliver(body: dict[str, Any]) -> None:
    """Post one body."""
    post.post(body)


def enqueue(bodies: list[dict[str, Any]]) -> None:
    """Enqueue a message for each body."""
    for body in bodies:
        deliver.send(body)
