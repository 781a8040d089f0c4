"""Huey, with its defaults but for the threads, and without results that nobody reads."""

from typing import Any

from huey import RedisHuey

from bench.queues import post

huey = RedisHuey("bench", url=post.REDIS_URL, results=False)


@huey.task()
def deliver(body: dict[str, Any]) -> None:
    """Post one body."""
    post.post(body)


def enqueue(bodies: list[dict[str, Any]]) -> None:
    """Enqueue a task for each body."""
    for body in bodies:
        deliver(body)
