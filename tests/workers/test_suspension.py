"""`rq suspend` stops the workers of a whole Redis database; the bridge says so."""

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from rq.suspension import resume, suspend
from rq.worker import WorkerStatus
from support import Bridge, Web, lead, until
from support.draining import MakeSettings

from schemas.settings import Settings
from store import Store
from store.queue import Worker, connect_queue, open_queue
from workers.journal import Journal
from workers.ticker import Ticker

SENTENCE = "the workers are suspended by `rq suspend`: nothing is sent until `rq resume`"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(alert_webhook_url="http://127.0.0.1:9/")


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return connect_queue(redis_url)


def by_command(client: "redis.Redis") -> None:
    options = client.connection_pool.connection_kwargs
    url = f"redis://{options['host']}:{options['port']}/{options['db']}"
    command = [sys.executable, "-m", "rq.cli", "suspend", "--url", url]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def for_a_while(client: "redis.Redis") -> None:
    suspend(client, ttl=600)


@pytest.mark.parametrize("how", [by_command, for_a_while, suspend])
def test_a_suspension_is_on_pages_and_in_figures_until_it_ends(
    web: Web, client: "redis.Redis", how: Callable[["redis.Redis"], None]
) -> None:
    def shown() -> list[bool]:
        return [
            SENTENCE in web.client.get("/readyz").json["warnings"],
            SENTENCE in web.get("/api/status").json["warnings"],
            'scope="workers"' in web.get("/metrics").text,
        ]

    assert shown() == [False] * 3
    how(client)
    assert shown() == [True] * 3
    assert web.client.get("/readyz").status_code == 200
    resume(client)
    assert shown() == [False] * 3


def test_a_suspension_raises_an_alert_and_its_end_is_told(
    settings: Settings,
    store: Store,
    client: "redis.Redis",
    caplog: pytest.LogCaptureFixture,
) -> None:
    def messages() -> list[tuple[str, dict[str, Any]]]:
        ticker._alerts.hurry()
        ticker.tick()
        found = []
        while alert := store.claim_alert(lease_s=60):
            found.append((alert.full_type, alert.facts))
            store.end_alert(alert.id)
        return found

    caplog.set_level(logging.INFO)
    ticker = Ticker(settings, Journal())
    assert messages() == []
    suspend(client)
    store.pause("all", reason="person", message="of Asha")
    began = messages()
    assert {(kind, data["scope"], data["reason"]) for kind, data in began} == {
        ("destination.paused", "workers", "suspended"),
        ("destination.paused", "all", "person"),
    }
    assert messages() == []
    resume(client)
    [(kind, data)] = messages()
    assert (kind, data["scope"]) == ("destination.paused.resolved", "workers")
    logged = [record.getMessage() for record in caplog.records]
    assert sum("worker.suspended" in line for line in logged) == 1
    assert sum("worker.resumed" in line for line in logged) == 1


def test_a_worker_that_waited_for_a_job_when_it_was_suspended_sends_nothing(
    start_bridge: Callable[..., Bridge], client: "redis.Redis"
) -> None:
    bridge = start_bridge()
    queue = open_queue(client)

    def state() -> str:
        return next((one.get_state() for one in Worker.all(queue=queue)), "")

    until(lambda: state() == WorkerStatus.IDLE, what="a worker that waits for a job")
    suspend(client)
    [delivery] = bridge.send("website", lead())
    until(
        lambda: state() == WorkerStatus.SUSPENDED or bridge.status(delivery) != "queued",
        what="the end of the drain",
    )
    assert bridge.status(delivery) == "queued"
    resume(client)
    bridge.await_status(delivery, "delivered")
