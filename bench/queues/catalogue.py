"""Which other queues there are, and how each is started."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions

from bench.processes import ROOT
from bench.setting import THREADS

PACKAGES = ROOT / ".bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """One of the others."""

    name: str
    module: str  # in this package
    package: str  # what has to be installed
    command: Callable[[str], Sequence[str]]  # of the worker, from the URL of Redis
    durability: str  # what a killed worker costs
    rate: float | None = None  # deliveries/s, about; None: as many as the threads permit

    def count(self, deliveries: int) -> int:
        """Return how many deliveries make a round of some seconds: a slow queue gets fewer."""
        return deliveries if self.rate is None else min(deliveries, round(self.rate * 6))


def _python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


_POOL = 8  # processes of `rq worker-pool`: each takes a process a job

QUEUES = (
    Queue(
        name="Celery threads",
        module="on_celery",
        package="celery",
        command=lambda url: _python(
            *("celery", "--app", "bench.queues.on_celery", "worker"),
            *("--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "WARNING"),
        ),
        durability="acks late: done again after an hour",
    ),
    Queue(
        name="Dramatiq",
        module="on_dramatiq",
        package="dramatiq",
        command=lambda url: _python(
            *("dramatiq", "bench.queues.on_dramatiq"),
            *("--processes", "1", "--threads", str(THREADS)),
        ),
        durability="done again a minute later",
    ),
    Queue(
        name="Huey",
        module="on_huey",
        package="huey",
        command=lambda url: _python(
            *("huey.bin.huey_consumer", "bench.queues.on_huey.huey", "--quiet"),
            *("--workers", str(THREADS), "--worker-type", "thread"),
        ),
        durability="lost",
    ),
    Queue(
        name="rq worker-pool",
        module="on_rq",
        package="rq",
        command=lambda url: _python(
            *("rq.cli", "worker-pool", "--num-workers", str(_POOL), "--url", url, "--quiet")
        ),
        durability="failed, for a person",
        rate=10,
    ),
    Queue(
        name="rq worker",
        module="on_rq",
        package="rq",
        command=lambda url: _python("rq.cli", "worker", "--url", url, "--quiet"),
        durability="failed, for a person",
        rate=3,
    ),
)


def installed() -> list[Queue]:
    """Return the queues whose packages are there."""
    found = {one.name.lower() for one in distributions(path=[*sys.path, str(PACKAGES)])}
    return [queue for queue in QUEUES if queue.package in found]


def queue_env(*, redis_url: str, call_url: str) -> Mapping[str, str]:
    """Return the environment of enqueuing and of the workers."""
    # What is also in .venv has the same version there: requirements-bench.in says so.
    return {
        "PYTHONPATH": str(PACKAGES),
        "BENCH_REDIS_URL": redis_url,
        "BENCH_CALL_URL": call_url,
    }
