"""Celery with threads, which acknowledge a task when it is done."""

from typing import Any

from celery import Celery

from bench.queues import post

app = Celery("bench", broker=post.REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,  # its default
    broker_connection_retry_on_startup=True,
)


@app.task(name="post")
def deliver(body: dict[str, Any]) -> None:
    """Post one body."""
    post.post(body)


def enqueue(bodies: list[dict[str, Any]]) -> None:
    """Enqueue a task for each body."""
    for body in bodies:
        deliver.delay(body)
